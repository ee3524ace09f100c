"""Dovecot's protocol: what it is asked, what it answers, and a Dovecot that is not there.

Dovecot is a script of the test here; the real one is asked in tests/live/test_dovecot_passwords.py.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop

from gatepost import (
    Accept,
    Certificate,
    Credentials,
    Defer,
    Deny,
    Endpoint,
    External,
    Password,
    Proven,
    Session,
    Site,
    Tls,
    Token,
    Verdict,
)
from gatepost.plugins.auth import auth_dovecot
from gatepost.plugins.auth.auth_dovecot import LINE_LIMIT, RESPONSE_LIMIT, AuthDovecot
from gatepost.testing import a_session

Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
#: What Dovecot does with a question: the words behind AUTH, and a way to answer.
Answering: TypeAlias = Callable[[list[str], Callable[[str], None]], None]

SITE = Site("mx.example")
ANNE = ("anne", "secret")


def introduction(*mechanisms: str, version: str = "1\t2") -> bytes:
    offered = "".join(f"MECH\t{name}\tplaintext\n" for name in mechanisms or ("PLAIN", "LOGIN"))
    return f"VERSION\t{version}\n{offered}SPID\t77\nCUID\t1\nCOOKIE\t00ff\nDONE\n".encode()


class Script:
    """A Dovecot that says what the test wants, and keeps what it is told."""

    def __init__(self, answering: Answering | None = None, hello: bytes | None = None) -> None:
        self.lines: list[str] = []
        self.connections = 0
        self.greeted = asyncio.Event()  #: somebody has said something
        self.asked = asyncio.Event()  #: there was a question
        self.left = asyncio.Event()  #: somebody has hung up
        self._answering = answering
        self._hello = introduction() if hello is None else hello

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self._hello)

        def answer(text: str) -> None:
            writer.write(text.encode("utf-8", "surrogateescape"))

        try:
            while line := (await reader.readline()).decode().rstrip("\n"):
                self.lines.append(line)
                self.greeted.set()
                word, *words = line.split("\t")
                if word == "AUTH":
                    self.asked.set()
                    if self._answering is None:
                        continue
                    self._answering(words, answer)
                elif word == "CONT":
                    answer(f"FAIL\t{words[0]}\n")
        except ConnectionError:
            pass
        finally:
            self.left.set()
            writer.close()

    @property
    def questions(self) -> list[str]:
        return [line for line in self.lines if line.startswith("AUTH\t")]


@asynccontextmanager
async def listening(path: Path, script: Script) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(script.talk, path)
    try:
        yield
    finally:
        server.close()


def saying(*words: str) -> Answering:
    """Answers every question with `{}` for its number."""

    def answering(question: list[str], answer: Callable[[str], None]) -> None:
        for one in words:
            answer(one.format(question[0]))

    return answering


def at(path: Path, **options: Any) -> AuthDovecot:
    return AuthDovecot(f"unix:{path}", **{"wait": 10} | options)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "dovecot"


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


def judged(
    path: Path,
    script: Script,
    *credentials: Credentials,
    session: Session | None = None,
    run: Runner = asyncio.run,
    **options: Any,
) -> list[Verdict | None]:
    """What becomes of credentials, one behind the other."""

    async def judge() -> list[Verdict | None]:
        plugin = at(path, **options)
        async with listening(path, script):
            try:
                return [await plugin.auth(session or a_session(), one) for one in credentials]
            finally:
                plugin.shutdown(SITE)

    verdicts: list[Verdict | None] = run(judge())
    return verdicts


def response_of(question: str) -> bytes:
    return base64.b64decode(question.partition("\tresp=")[2], validate=True)


# -- What is asked --------------------------------------------------------------------------------


def test_a_password_is_asked_about(path: Path, run: Runner) -> None:
    script = Script(saying("OK\t{}\tuser=anne\n"))
    session = a_session()
    assert judged(path, script, Password("anne", "sécret"), session=session, run=run) == [Accept()]
    version, introduced, question = script.lines
    assert version == "VERSION\t1\t1"
    assert re.fullmatch(r"CPID\t[1-9][0-9]{0,9}", introduced)
    assert int(introduced.partition("\t")[2]) < 2**31
    words = question.split("\t")
    assert words[:-1] == [
        "AUTH", "1", "PLAIN", "service=smtp", "nologin", f"session={session.id}",
        "rip=192.0.2.1", "rport=49152", "lip=198.51.100.1", "lport=25",
    ]  # fmt: skip
    assert response_of(question) == "\0anne\0sécret".encode()


def test_each_connection_has_a_number_of_its_own(path: Path) -> None:
    first, second = Script(saying("OK\t{}\n")), Script(saying("OK\t{}\n"))
    for script in (first, second):
        judged(path, script, Password(*ANNE))
    assert first.lines[1] != second.lines[1]


def test_dovecot_knows_of_tls(path: Path) -> None:
    script = Script(saying("OK\t{}\n"))
    session = a_session("2001:db8::1")
    session.tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    judged(path, script, Password(*ANNE), session=session)
    words = script.questions[0].split("\t")
    assert "secured" in words
    assert "rip=2001:db8::1" in words


def test_who_comes_over_a_unix_socket_has_no_address(path: Path) -> None:
    script = Script(saying("OK\t{}\n"))
    session = Session(Endpoint(""), Endpoint("/run/gatepost"))
    judged(path, script, Password(*ANNE), session=session)
    assert [word.partition("=")[0] for word in script.questions[0].split("\t")[3:]] == [
        "service", "nologin", "session", "resp"
    ]  # fmt: skip


TOKEN = Token("an=ne,x@example.org", "abc.def")
OAUTHBEARER = b"n,a=an=3Dne=2Cx@example.org,\x01auth=Bearer abc.def\x01\x01"
XOAUTH2 = b"user=an=ne,x@example.org\x01auth=Bearer abc.def\x01\x01"


@pytest.mark.parametrize(
    ("offered", "mechanism", "response"),
    [
        (("PLAIN", "XOAUTH2", "OAUTHBEARER"), "OAUTHBEARER", OAUTHBEARER),
        (("OAUTHBEARER",), "OAUTHBEARER", OAUTHBEARER),
        (("XOAUTH2", "PLAIN"), "XOAUTH2", XOAUTH2),
    ],
)
def test_a_token_is_passed_on(
    offered: tuple[str, ...], mechanism: str, response: bytes, path: Path
) -> None:
    script = Script(saying("OK\t{}\tuser=anne\n"), introduction(*offered))
    token = Token(TOKEN.user, TOKEN.token)
    assert judged(path, script, token) == [Accept()]
    assert token.user == "anne"
    assert script.questions[0].split("\t")[2] == mechanism
    assert response_of(script.questions[0]) == response


def test_a_token_may_name_no_user(path: Path) -> None:
    script = Script(saying("OK\t{}\tuser=anne\n"), introduction("OAUTHBEARER"))
    token = Token("", "abc")
    assert judged(path, script, token) == [Accept()]
    assert token.user == "anne"
    assert response_of(script.questions[0]) == b"n,,\x01auth=Bearer abc\x01\x01"


def test_what_is_wrong_with_a_token_is_answered(path: Path) -> None:
    script = Script(saying("CONT\t{}\teyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\n"),
                    introduction("OAUTHBEARER"))  # fmt: skip
    assert judged(path, script, Token("anne", "abc")) == [Deny()]
    assert script.lines[-1] == "CONT\t1\tAQ=="


@pytest.mark.parametrize(
    ("offered", "credentials"),
    [
        (("PLAIN", "LOGIN"), Token(*ANNE)),
        (("OAUTHBEARER", "CRAM-MD5"), Password(*ANNE)),
        (("LOGIN",), Password(*ANNE)),
    ],
)
def test_what_dovecot_has_no_mechanism_for_is_left_to_others(
    offered: tuple[str, ...], credentials: Credentials, path: Path
) -> None:
    script = Script(hello=introduction(*offered))
    assert judged(path, script, credentials) == [None]
    assert script.questions == []


@pytest.mark.parametrize(
    "credentials",
    [
        External("anne", Certificate("CN=anne", (), "00", b"")),
        Proven("anne", "SCRAM-SHA-256"),
    ],
    ids=lambda credentials: type(credentials).__name__,
)
def test_other_credentials_are_left_to_others(credentials: Credentials, path: Path) -> None:
    script = Script()
    assert judged(path, script, credentials) == [None]
    assert script.connections == 0


@pytest.mark.parametrize(
    "credentials",
    [
        Password("an\0ne", "secret"),
        Password("anne", "sec\0ret"),
        Password("anne\nAUTH", "secret"),
        Token("anne\x01auth=Bearer other", "abc"),
        Token("anne", "abc\x01\x01"),
        Password("anne", "x" * RESPONSE_LIMIT),
        Token("=" * (RESPONSE_LIMIT // 3), "abc"),
    ],
)
def test_what_would_mix_up_the_protocol_is_not_asked(credentials: Credentials, path: Path) -> None:
    script = Script()
    assert judged(path, script, credentials) == [Deny()]
    assert script.connections == 0


def test_the_longest_question_fits_into_a_line(path: Path) -> None:
    script = Script(saying("FAIL\t{}\n"))
    end = Endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 65_535)
    session = Session(end, end)
    session.tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    longest = Password("anne", "x" * (RESPONSE_LIMIT - len("\0anne\0")))
    assert judged(path, script, longest, session=session) == [Deny()]
    assert len(response_of(script.questions[0])) == RESPONSE_LIMIT
    assert len(script.questions[0]) < LINE_LIMIT


# -- What is answered -----------------------------------------------------------------------------


# fmt: off
ANSWERS = [
    ("OK\t{}\tuser=anne",                                   Accept()),
    ("OK\t{}",                                              Accept()),
    ("OK\t{}\tuser=anne\t\toriginal_user=Anne\tfoo=bar=1",  Accept()),
    ("OK\t{}\tuser=anne\tnologin\treason=Suspended",        Deny()),
    ("OK\t{}\tuser=anne\tproxy\thost=192.0.2.9",            Defer()),
    ("OK\t{}\tuser=anne\tnologin\tproxy\thost=192.0.2.9",   Defer()),
    ("FAIL\t{}",                                            Deny()),
    ("FAIL\t{}\tuser=anne",                                 Deny()),
    ("FAIL\t{}\tuser=anne\treason=No such user",            Deny()),
    ("FAIL\t{}\tuser=anne\tcode=user_disabled",             Deny()),
    ("FAIL\t{}\tuser=anne\tcode=pass_expired",              Deny()),
    ("FAIL\t{}\tuser=anne\tcode=authz_fail",                Deny()),
    ("FAIL\t{}\tuser=anne\tuser_disabled",                  Deny()),  # Dovecot 2.2
    ("FAIL\t{}\tuser=anne\tcode=temp_fail",                 Defer()),
    ("FAIL\t{}\tuser=anne\ttemp",                           Defer()),  # Dovecot 2.2
    ("FAIL\t{}\tuser=temp",                                 Deny()),
    ("FAIL\t{}\tuser=code=temp_fail",                       Deny()),
    ("FAIL\t{}\tuser=\x01tcode=temp_fail",                  Deny()),
]
# fmt: on


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_the_answer_decides(answer: str, expected: Verdict, path: Path) -> None:
    assert judged(path, Script(saying(f"{answer}\n")), Password(*ANNE)) == [expected]


@pytest.mark.parametrize(
    ("answer", "user"),
    [
        ("OK\t{}\tuser=anne@example.org", "anne@example.org"),
        ("OK\t{}\tuser=a\x01tb\x01\x01n\x011\x01x", "a\tb\x01n\x01x"),
        ("OK\t{}\tuser=ännë", "ännë"),
        ("OK\t{}\tuser=a=b", "a=b"),
        ("OK\t{}\tuser=", "Anne"),
        ("OK\t{}", "Anne"),
        ("FAIL\t{}\tuser=other", "Anne"),
        ("OK\t{}\tuser=other\tnologin", "Anne"),
    ],
)
def test_the_user_is_who_dovecot_says_once_it_accepts(answer: str, user: str, path: Path) -> None:
    password = Password("Anne", "secret")
    judged(path, Script(saying(f"{answer}\n")), password)
    assert password.user == user


def test_refusals_out_of_the_ordinary_are_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for answer, words in (
        ("OK\t{}\tnologin\tpass=secret\n", "refused: nologin"),
        ("FAIL\t{}\tcode=pass_expired\n", "refused: pass_expired"),
        ("OK\t{}\tproxy\tpass=secret\n", "another server would have to be asked (proxy)"),
        ("FAIL\t{}\tcode=temp_fail\n", "it cannot tell now"),
    ):
        judged(path, Script(saying(answer)), Password(*ANNE))
        assert words in caplog.text
    assert "secret" not in caplog.text


def test_a_wrong_password_is_no_news(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    judged(path, Script(saying("FAIL\t{}\tuser=anne\n")), Password(*ANNE))
    assert [record.name for record in caplog.records if "gatepost" in record.name] == []


def test_what_belongs_to_no_question_is_ignored(path: Path) -> None:
    noise = "OK\t99\tuser=eve\nSOMETHING\tnew\n\nMECH\tPLAIN\n"
    script = Script(saying(noise, "FAIL\t{}\n", "OK\t{}\tuser=eve\n"))
    assert judged(path, script, Password(*ANNE), Password(*ANNE)) == [Deny(), Deny()]
    assert script.connections == 1


def test_answers_come_in_pieces(path: Path, run: Runner) -> None:
    async def dribble(writer: asyncio.StreamWriter, text: bytes) -> None:
        for octet in text:
            writer.write(bytes([octet]))
            for _ in range(3):  # that is time enough to read it before the next comes
                await asyncio.sleep(0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dribble(writer, introduction())
        await reader.readuntil(b"resp=")
        await dribble(writer, b"OK\t1\tuser=\xc3\xa4nne\n")
        writer.close()

    async def judge() -> None:
        plugin = at(path)
        password = Password(*ANNE)
        async with await asyncio.start_unix_server(talk, path):
            assert await plugin.auth(a_session(), password) == Accept()
            plugin.shutdown(SITE)
        assert password.user == "änne"

    run(judge())


# -- Many at once ---------------------------------------------------------------------------------


def test_all_share_one_connection_and_get_their_own_answers(path: Path, run: Runner) -> None:
    held: list[tuple[str, bytes]] = []

    def answer_backwards(question: list[str], answer: Callable[[str], None]) -> None:
        held.append((question[0], response_of("\t".join(question))))
        if len(held) == 20:
            for number, response in reversed(held):
                name = response.split(b"\0")[1].decode()
                answer(f"OK\t{number}\tuser={name}!\n")

    async def judge() -> None:
        script, plugin = Script(answer_backwards), at(path)
        passwords = [Password(f"user{number}", "secret") for number in range(20)]
        async with listening(path, script):
            verdicts = await asyncio.gather(*(plugin.auth(a_session(), one) for one in passwords))
            assert (await plugin._line.connection())._answers == {}, "nothing is kept"
            plugin.shutdown(SITE)
        assert verdicts == [Accept()] * 20
        assert [one.user for one in passwords] == [f"user{number}!" for number in range(20)]
        assert script.connections == 1

    run(judge())


def test_so_many_are_asked_at_once(path: Path) -> None:
    under_way: list[int] = []
    most = 0

    def answer_a_moment_later(question: list[str], answer: Callable[[str], None]) -> None:
        nonlocal most

        def now() -> None:
            under_way.pop()
            answer(f"OK\t{question[0]}\n")

        under_way.append(1)
        most = max(most, len(under_way))
        asyncio.get_running_loop().call_later(0.02, now)

    async def judge() -> None:
        script, plugin = Script(answer_a_moment_later), at(path, at_once=3)
        passwords = [Password(*ANNE) for _ in range(10)]
        async with listening(path, script):
            verdicts = await asyncio.gather(*(plugin.auth(a_session(), one) for one in passwords))
            plugin.shutdown(SITE)
        assert verdicts == [Accept()] * 10

    asyncio.run(judge())
    assert most == 3


# -- Time -----------------------------------------------------------------------------------------


def test_one_that_does_not_answer_defers(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert judged(path, Script(), Password("anne", "s3cret"), wait=0.2) == [Defer()]
    assert f"no answer from Dovecot at unix:{path}: TimeoutError()" in caplog.text
    assert "s3cret" not in caplog.text
    assert base64.b64encode(b"\0anne\0s3cret").decode() not in caplog.text


def test_a_question_that_is_given_up_is_cancelled(path: Path, run: Runner) -> None:
    def answer_the_second(question: list[str], answer: Callable[[str], None]) -> None:
        if question[0] == "2":
            answer("OK\t1\tuser=eve\nOK\t2\tuser=anne\n")

    async def judge() -> None:
        script, plugin = Script(answer_the_second), at(path)
        first, second = Password(*ANNE), Password(*ANNE)
        async with listening(path, script):
            asking = asyncio.ensure_future(_auth(plugin, first))
            await script.asked.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert await plugin.auth(a_session(), second) == Accept()
            plugin.shutdown(SITE)
        assert (first.user, second.user) == ("anne", "anne")
        assert [line[:9] for line in script.lines[2:]] == [
            "AUTH\t1\tPL",
            "CANCEL\t1",
            "AUTH\t2\tPL",
        ]
        assert script.connections == 1

    run(judge())


async def _auth(plugin: AuthDovecot, credentials: Credentials) -> Verdict | None:
    return await plugin.auth(a_session(), credentials)


def test_one_that_is_not_introduced_defers(
    path: Path, monkeypatch: pytest.MonkeyPatch, run: Runner
) -> None:
    monkeypatch.setattr(auth_dovecot, "CONNECTING", 0.2)
    script = Script(hello=b"VERSION\t1\t2\nMECH\tPLAIN\n")
    assert judged(path, script, Password(*ANNE), Password(*ANNE), run=run) == [Defer(), Defer()]
    assert script.connections == 1, "the second has not waited"
    assert script.questions == []


def test_when_the_first_gives_up_the_next_is_introduced(path: Path) -> None:
    async def judge() -> None:
        script, plugin = Script(hello=b""), at(path)
        async with listening(path, script):
            asking = asyncio.ensure_future(_auth(plugin, Password(*ANNE)))
            await script.greeted.wait()
            script._hello, script._answering = introduction(), saying("OK\t{}\n")
            following = asyncio.ensure_future(_auth(plugin, Password(*ANNE)))
            asking.cancel()
            assert await following == Accept()
            await script.left.wait()
            plugin.shutdown(SITE)
        assert script.connections == 2

    asyncio.run(judge())


# -- A Dovecot that makes no sense, hangs up, or is not there -------------------------------------


# fmt: off
NONSENSE = [
    ("it speaks another version",   introduction(version="2\t0")),
    ("a version without a number",  b"VERSION\n" + introduction()),
    ("a mechanism without a name",  b"MECH\n" + introduction()),
    ("it speaks another protocol",  b"220 mx.example ESMTP\r\n" * 3 + b"x" * 20_000),
    ("a line without end",          b"MECH\t" + b"x" * (LINE_LIMIT + 1)),
]
ANSWERS_WITHOUT_SENSE = [
    ("no number",                   "OK\n"),
    ("a line without end",          "OK\t{}\t" + "x" * (LINE_LIMIT + 1)),
    ("another version",             "VERSION\t2\t0\n"),
]
# fmt: on


@pytest.mark.parametrize("hello", [row[1] for row in NONSENSE], ids=[row[0] for row in NONSENSE])
def test_an_introduction_without_sense(hello: bytes, path: Path, run: Runner) -> None:
    script = Script(saying("OK\t{}\n"), hello)
    assert judged(path, script, Password(*ANNE), run=run) == [Defer()]
    assert script.questions == []


@pytest.mark.parametrize(
    "answer",
    [row[1] for row in ANSWERS_WITHOUT_SENSE],
    ids=[row[0] for row in ANSWERS_WITHOUT_SENSE],
)
def test_an_answer_without_sense(answer: str, path: Path) -> None:
    script = Script(saying(answer))
    assert judged(path, script, Password(*ANNE)) == [Defer()]
    assert script.connections == 2, "it is asked once more"


def test_octets_that_are_no_text(path: Path) -> None:
    answer = "OK\t{}\tuser=" + b"\xff".decode("utf-8", "surrogateescape") + "\n"
    password = Password(*ANNE)
    assert judged(path, Script(saying(answer)), password) == [Accept()]
    assert password.user == "\N{REPLACEMENT CHARACTER}"


class Restarting(Script):
    """Hangs up on the first question of each of its first `falls` connections."""

    def __init__(self, falls: int) -> None:
        super().__init__(saying("OK\t{}\n"))
        self._falls = falls

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections >= self._falls:
            return await super().talk(reader, writer)
        self.connections += 1
        writer.write(introduction())
        await reader.readuntil(b"resp=")
        writer.transport.abort()
        return None


@pytest.mark.parametrize(("falls", "expected"), [(1, Accept()), (2, Defer())])
def test_a_question_whose_connection_is_lost_is_asked_once_more(
    falls: int, expected: Verdict, path: Path, run: Runner
) -> None:
    script = Restarting(falls)
    assert judged(path, script, Password(*ANNE), run=run) == [expected]
    assert script.connections == 2


def test_one_that_hangs_up_between_questions_is_connected_to_again(path: Path) -> None:
    async def hang_up_behind_the_answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(introduction())
        await reader.readuntil(b"resp=")
        writer.write(b"OK\t1\n")
        writer.close()

    async def judge() -> None:
        plugin = at(path)
        async with await asyncio.start_unix_server(hang_up_behind_the_answer, path):
            for _ in range(3):
                assert await plugin.auth(a_session(), Password(*ANNE)) == Accept()
            plugin.shutdown(SITE)

    asyncio.run(judge())


def test_one_that_is_not_there_defers_and_is_left_alone_for_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth_dovecot, "REST", 60.0)

    async def judge() -> None:
        plugin = at(path)
        assert await plugin.auth(a_session(), Password(*ANNE)) == Defer()
        assert "FileNotFoundError" in caplog.text
        script = Script(saying("OK\t{}\n"))
        async with listening(path, script):
            assert await plugin.auth(a_session(), Password(*ANNE)) == Defer()
            assert script.connections == 0

    asyncio.run(judge())
    assert "it could not be reached a moment ago" in caplog.text


def test_one_that_comes_back_is_asked_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_dovecot, "REST", 0.0)

    async def judge() -> None:
        plugin = at(path)
        await plugin.startup(SITE)
        assert await plugin.auth(a_session(), Password(*ANNE)) == Defer()
        for _ in range(2):
            async with listening(path, Script(saying("OK\t{}\n"))):
                assert await plugin.auth(a_session(), Password(*ANNE)) == Accept()
                plugin.shutdown(SITE)

    asyncio.run(judge())


def test_it_may_listen_on_a_port(path: Path) -> None:
    async def judge() -> None:
        script = Script(saying("OK\t{}\n"))
        async with await asyncio.start_server(script.talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            plugin = AuthDovecot(f"127.0.0.1:{port}")
            assert await plugin.auth(a_session(), Password(*ANNE)) == Accept()
            plugin.shutdown(SITE)

    asyncio.run(judge())


# -- Mechanisms -----------------------------------------------------------------------------------


async def offered(plugin: AuthDovecot) -> tuple[str, ...]:
    mechanisms = plugin.mechanisms(a_session(), ("CRAM-MD5",))
    return await mechanisms if inspect.isawaitable(mechanisms) else mechanisms


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (("PLAIN",), ("PLAIN", "LOGIN")),
        (("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"), ("PLAIN", "LOGIN")),
        (("PLAIN", "XOAUTH2", "OAUTHBEARER"), ("PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")),
        (("XOAUTH2",), ("XOAUTH2",)),
    ],
)
def test_what_dovecot_has_is_offered(
    theirs: tuple[str, ...], expected: tuple[str, ...], path: Path
) -> None:
    async def ask() -> None:
        plugin, script = at(path), Script(hello=introduction(*theirs))
        async with listening(path, script):
            assert await offered(plugin) == ("CRAM-MD5", *expected)
            assert plugin.mechanisms(a_session(), ()) == expected, "now at once"
            plugin.shutdown(SITE)

    asyncio.run(ask())


def test_one_that_was_never_reached_passes_for_one_that_knows_passwords(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth_dovecot, "REST", 0.0)

    async def ask() -> None:
        plugin = at(path)
        await plugin.startup(SITE)
        assert f"Dovecot at unix:{path} cannot be reached yet: FileNotFoundError" in caplog.text
        assert await offered(plugin) == ("CRAM-MD5", "PLAIN", "LOGIN")
        async with listening(path, Script(hello=introduction("PLAIN", "XOAUTH2"))):
            assert await offered(plugin) == ("CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2")
            plugin.shutdown(SITE)

    asyncio.run(ask())


def test_what_it_had_is_offered_while_it_is_gone(path: Path) -> None:
    async def ask() -> None:
        plugin = at(path)
        async with listening(path, Script(hello=introduction("XOAUTH2"))):
            await plugin.startup(SITE)
        plugin.shutdown(SITE)
        assert await offered(plugin) == ("CRAM-MD5", "XOAUTH2")

    asyncio.run(ask())


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "server",
    ["", "unix:", "unix:relative", "/run/dovecot/auth", "localhost", "localhost:", "localhost:0",
     "localhost:65536", "::1:12345", "[::1]", "unix:/a\n"],
)  # fmt: skip
def test_a_server_that_makes_no_sense(server: str) -> None:
    with pytest.raises(ValueError, match="option 'server' must be 'unix:/path' or 'host:port'"):
        AuthDovecot(server)


@pytest.mark.parametrize("server", ["unix:/run/x", "localhost:12345", "[::1]:1", "192.0.2.1:65535"])
def test_a_server_that_makes_sense(server: str) -> None:
    assert AuthDovecot(server).server == server


@pytest.mark.parametrize("options", [{"wait": 0}, {"at_once": 0}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="options 'wait' and 'at_once' must be more than 0"):
        AuthDovecot(**options)
