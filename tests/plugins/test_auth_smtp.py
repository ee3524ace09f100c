"""A submission server that is asked about passwords: what is said to it, and what it answers."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Credentials, Defer, Deny, Password, Site, Token, Verdict
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth.auth_smtp import AuthSmtp
from gatepost.testing import a_session, converse

#: What a server says: its banner, and then something to each line that it hears.
Script: TypeAlias = Sequence[bytes]

BANNER = b"220-mx.example\r\n220 welcome\r\n"
PLAIN = b"250-mx.example\r\n250-SIZE 1000\r\n250 auth login plain\r\n"
LOGIN = b"250-mx.example\r\n250 AUTH CRAM-MD5 LOGIN\r\n"
GO_ON = b"334 \r\n"
YES = b"235 2.7.0 Welcome\r\n"
NO = b"535 5.7.8 Wrong\r\n"
DIALOGUE = """
    S: 220 ...
    C: EHLO client.example
    S: 250 ...
    C: AUTH PLAIN AGFubmVAZXhhbXBsZS5vcmcAczNjcmV0
    S: 235 2.7.0 ...
"""
ANNE = Password("anne@example.org", "s3cret")
ANNE_PLAIN = b64encode(b"\0anne@example.org\0s3cret") + b"\r\n"
EHLO = b"EHLO localhost\r\n"


class Server:
    """A server that says what it was told to, and keeps what it hears.

    Where it has nothing left to say it waits until the client goes; where that is empty, it goes.
    """

    def __init__(self, *said: bytes, context: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self.connections = 0
        self._said = said
        self._context = context
        self._ended: list[asyncio.Event] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self._talk, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
            for end in self._ended:
                await end.wait()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        end = asyncio.Event()
        self._ended.append(end)
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._say_all(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        end.set()

    async def _say_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for octets in self._said:
            if not octets:
                return
            writer.write(octets)
            if self._context and self.heard[-1:] == [b"STARTTLS\r\n"]:
                await writer.start_tls(self._context)
            self.heard.append(await reader.readuntil(b"\r\n"))
        await reader.read()


def asked(
    script: Script, credentials: Credentials = ANNE, **options: Any
) -> tuple[Verdict | None, list[bytes]]:
    """What the plugin says when the server says such things, and what the server hears."""

    async def hold() -> tuple[Verdict | None, list[bytes]]:
        server = Server(*script)
        async with asking(server, **options) as plugin:
            verdict = await plugin.auth(a_session(), credentials)
        return verdict, server.heard

    return asyncio.run(hold())


@asynccontextmanager
async def asking(server: Server, **options: Any) -> AsyncIterator[AuthSmtp]:
    given: dict[str, Any] = {"tls": "off", "wait": 10.0}
    async with server.serving() as port:
        yield AuthSmtp("127.0.0.1", port, **given | options)


# -- What is said ---------------------------------------------------------------------------------


def test_by_plain_where_it_is_offered() -> None:
    verdict, heard = asked([BANNER, PLAIN, GO_ON, YES])
    assert verdict == Accept()
    assert heard == [EHLO, b"AUTH PLAIN\r\n", ANNE_PLAIN, b"QUIT\r\n"]


def test_by_login_elsewhere() -> None:
    verdict, heard = asked([BANNER, LOGIN, b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", YES])
    assert verdict == Accept()
    user, password = b64encode(b"anne@example.org"), b64encode(b"s3cret")
    assert heard == [EHLO, b"AUTH LOGIN\r\n", user + b"\r\n", password + b"\r\n", b"QUIT\r\n"]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50)


@given(TEXT, TEXT, st.sampled_from([PLAIN, LOGIN]))
def test_nothing_in_a_name_or_a_password_ends_a_command(
    user: str, password: str, offer: bytes
) -> None:
    go_on = [GO_ON] * (1 if offer is PLAIN else 2)
    verdict, heard = asked([BANNER, offer, *go_on, YES], Password(user, password))
    assert verdict == Accept()
    said = [b64decode(line) for line in heard[2:-1]]
    expected = [user.encode(), password.encode()]
    assert said == ([b"\0" + b"\0".join(expected)] if offer is PLAIN else expected)


@pytest.mark.parametrize("credentials", [Password("a\0bob", "x"), Password("a", "x\0y")])
def test_a_nul_is_in_no_password(credentials: Password) -> None:
    assert asked([BANNER, PLAIN], credentials) == (Deny(), [])


def test_it_gives_a_name() -> None:
    async def hold(plugin: AuthSmtp) -> None:
        plugin.startup(Site("mx.example"))
        assert await plugin.auth(a_session(), ANNE) == Accept()

    async def scenario(**options: Any) -> bytes:
        server = Server(BANNER, PLAIN, GO_ON, YES)
        async with asking(server, **options) as plugin:
            await hold(plugin)
        return server.heard[0]

    assert asyncio.run(scenario()) == b"EHLO mx.example\r\n"
    assert asyncio.run(scenario(hostname="out.example")) == b"EHLO out.example\r\n"


def test_a_client_authenticates() -> None:
    async def hold() -> None:
        async with asking(Server(BANNER, PLAIN, GO_ON, YES)) as plugin:
            session = await converse([plugin], DIALOGUE, tls=True)
        assert (session.user, session.mechanism) == ("anne@example.org", "PLAIN")

    asyncio.run(hold())


# -- What the answers mean ------------------------------------------------------------------------


# fmt: off
ANSWERS = [
    (b"235 2.7.0 Welcome\r\n",              Accept()),
    (b"235\r\n",                            Accept()),
    (b"235-Welcome\r\n235 home\r\n",        Accept()),
    (b"535 5.7.8 Wrong\r\n",                Deny()),
    (b"535-5.7.8 Wrong\r\n535 again\r\n",   Deny()),
    (b"525 5.7.13 Disabled\r\n",            Deny()),
    (b"534 5.7.9 Not this way\r\n",         Deny()),
    (b"501 5.5.2 No such letters\r\n",      Deny()),
    (b"550 5.7.1 Go away\r\n",              Deny()),
    (b"454 4.7.0 Not now\r\n",              Defer()),
    (b"421 4.7.0 Too many\r\n",             Defer()),
    (b"432 4.7.12 Change it\r\n",           Defer()),
    (b"250 2.0.0 Fine\r\n",                 Defer()),
    (b"334 More\r\n",                       Defer()),
    (b"235-Welcome\r\n535 home\r\n",        Defer()),
    (b"* OK\r\n",                           Defer()),
    (b"23\r\n",                             Defer()),
    (b"235_Welcome\r\n",                    Defer()),
    (b"999 What?\r\n",                      Defer()),
    (b"\r\n",                               Defer()),
    (b"\xff\x00\r\n",                       Defer()),
]
# fmt: on


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_an_answer_has_a_meaning(answer: bytes, expected: Verdict) -> None:
    assert asked([BANNER, PLAIN, GO_ON, answer])[0] == expected
    assert asked([BANNER, LOGIN, GO_ON, GO_ON, answer])[0] == expected


#: What would follow if the banner did not matter.
ALL_YES = [PLAIN, GO_ON, YES]
# fmt: off
TROUBLE: dict[str, Script] = {
    "it hangs up at once":              [b""],
    "it hangs up on EHLO":              [BANNER, b""],
    "it hangs up on AUTH":              [BANNER, PLAIN, b""],
    "it hangs up on the password":      [BANNER, PLAIN, GO_ON, b""],
    "it is full":                       [b"421 4.3.2 Too many connections\r\n", *ALL_YES],
    "it does not want us":              [b"554 5.7.1 No\r\n", *ALL_YES],
    "it speaks another protocol":       [b"* OK IMAP\r\n", *ALL_YES],
    "it knows no EHLO":                 [BANNER, PLAIN.replace(b"250", b"502"), GO_ON, YES],
    "it offers no AUTH":                [BANNER, b"250 mx.example\r\n"],
    "it offers nothing that we know":   [BANNER, b"250-mx.example\r\n250 AUTH GSSAPI\r\n"],
    "AUTH stands in its name":          [BANNER, b"250 AUTH PLAIN\r\n", GO_ON, YES],
    "it wants TLS":                     [BANNER, PLAIN, b"538 5.7.11 TLS first\r\n", YES],
    "it wants something else first":    [BANNER, PLAIN, b"530 5.7.0 STARTTLS first\r\n"],
    "it refuses everybody":             [BANNER, PLAIN, NO],
    "235 to nothing":                   [BANNER, PLAIN, YES, YES],
    "235 to a name":                    [BANNER, LOGIN, GO_ON, YES, YES],
    "a line without end":               [b"220 " + b"x" * 100_000],
    "lines without end":                [b"220-welcome\r\n" * 10_000],
}
# fmt: on


@pytest.mark.parametrize("script", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_is_neither_yes_nor_no(script: Script) -> None:
    verdict, heard = asked(script)
    assert verdict == Defer()
    assert ANNE_PLAIN not in heard[:2]


def test_a_name_may_be_refused_before_the_password() -> None:
    verdict, heard = asked([BANNER, LOGIN, GO_ON, NO])
    assert verdict == Deny()
    assert heard[2:] == [b64encode(b"anne@example.org") + b"\r\n", b"QUIT\r\n"]


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        plugin = AuthSmtp("127.0.0.1", taken.getsockname()[1], tls="off")
        assert asyncio.run(plugin.auth(a_session(), ANNE)) == Defer()


def test_a_server_that_does_not_answer() -> None:
    assert asked([BANNER, PLAIN, b"334-\r\n"], wait=0.2)[0] == Defer()


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert asked([BANNER, PLAIN, GO_ON, b"454 4.7.0 s3cret " + ANNE_PLAIN])[0] == Defer()
    assert "it answers AUTH with 454" in caplog.text
    assert "s3cret" not in caplog.text
    assert ANNE_PLAIN.decode().strip() not in caplog.text


# -- TLS ------------------------------------------------------------------------------------------


class Tls(NamedTuple):
    context: ssl.SSLContext  #: of the server
    authorities: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return Tls(context, file)


STARTTLS = b"250-mx.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"


def test_nothing_is_asked_before_starttls(tls: Tls) -> None:
    async def hold() -> None:
        server = Server(BANNER, STARTTLS, b"220 Go\r\n", PLAIN, GO_ON, YES, context=tls.context)
        async with asking(server, tls="starttls", authorities=tls.authorities) as plugin:
            assert await plugin.auth(a_session(), ANNE) == Accept()
        assert server.heard == [EHLO, b"STARTTLS\r\n", EHLO, b"AUTH PLAIN\r\n", ANNE_PLAIN,
                                b"QUIT\r\n"]  # fmt: skip

    asyncio.run(hold())


@pytest.mark.parametrize(
    "answer",
    [
        b"454 4.7.0 Not now\r\n",
        b"501 5.5.4 What?\r\n",
        b"220 Go\r\n" + PLAIN + GO_ON + YES,  # standards.md T7
    ],
)
def test_no_tls_no_password(answer: bytes) -> None:
    script = [BANNER, STARTTLS, answer, PLAIN, GO_ON, YES]
    assert asked(script, tls="starttls") == (Defer(), [EHLO, b"STARTTLS\r\n"])


def test_no_starttls_no_password() -> None:
    script = [BANNER, PLAIN, b"220 Go\r\n", GO_ON, YES]
    assert asked(script, tls="starttls") == (Defer(), [EHLO])


def test_no_tls_at_all_where_it_should_begin_at_once() -> None:
    assert asked([BANNER, PLAIN, GO_ON, YES], tls="implicit", wait=2.0)[0] == Defer()


# -- Who is asked, and how often ------------------------------------------------------------------


def test_a_password_that_was_right_is_remembered() -> None:
    async def hold() -> None:
        server = Server(BANNER, PLAIN, GO_ON, YES)
        async with asking(server) as plugin:
            for _ in range(3):
                assert await plugin.auth(a_session(), ANNE) == Accept()
            assert server.connections == 1
            other = Password(ANNE.user, "another")
            assert await plugin.auth(a_session(), other) == Accept()
            assert server.connections == 2

    asyncio.run(hold())


@pytest.mark.parametrize(("answer", "remember"), [(NO, 60.0), (YES, 0.0)])
def test_nothing_else_is_remembered(answer: bytes, remember: float) -> None:
    async def hold() -> None:
        server = Server(BANNER, PLAIN, GO_ON, answer)
        async with asking(server, remember=remember) as plugin:
            await plugin.auth(a_session(), ANNE)
            await plugin.auth(a_session(), ANNE)
        assert server.connections == 2

    asyncio.run(hold())


@pytest.mark.parametrize(
    ("user", "ours"),
    [
        ("anne@example.org", True),
        ("anne@EXAMPLE.org", True),
        ("anne@sub.example.net", True),
        ("anne@example.com", False),
        ("anne", False),
        ("", False),
        ("anne@[", False),
    ],
)
def test_only_users_of_its_domains(user: str, ours: bool) -> None:
    verdict, heard = asked(
        [BANNER, PLAIN, GO_ON, YES],
        Password(user, "s3cret"),
        domains=["example.org", ".example.net"],
    )
    assert verdict == (Accept() if ours else None)
    assert bool(heard) is ours


def test_only_passwords() -> None:
    assert asked([BANNER], Token("anne@example.org", "token")) == (None, [])


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "port"),
    [({}, 465), ({"tls": "starttls"}, 587), ({"tls": "off"}, 587), ({"port": 10_465}, 10_465)],
)
def test_the_port_follows_from_tls(options: dict[str, Any], port: int) -> None:
    assert AuthSmtp("submission.example", **options)._peer.port == port


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"server": ""}, "server"),
        ({"server": "mx.example", "port": 0}, "port"),
        ({"server": "mx.example", "wait": 0}, "wait"),
        ({"server": "mx.example", "at_once": 0}, "at_once"),
        ({"server": "mx.example", "hostname": "two words"}, "hostname"),
        ({"server": "mx.example", "hostname": "a\r\nMAIL"}, "hostname"),
        ({"server": "mx.example", "authorities": "nowhere.pem"}, "authorities"),
        ({"server": "mx.example", "domains": ["*.example.org"]}, "domains"),
        ({"server": "mx.example", "tls": "may"}, "tls"),
    ],
)
def test_options_that_make_no_sense_are_errors(
    options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    outcome = load({"use": "auth_smtp"} | options, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [complaint.key for complaint in outcome] == [named]


def test_it_loads_from_toml(tmp_path: Path) -> None:
    table = {"use": "auth_smtp", "server": "mx.example", "domains": ["example.org"]}
    assert isinstance(load(table, directory=tmp_path, directories=[]), Loaded)
