"""An IMAP server that is asked about passwords: what is said to it, and what its answers mean."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Credentials, Defer, Deny, Password, Token, Verdict
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth.auth_imap import NOT_NOW, AuthImap
from gatepost.testing import a_session, converse

#: What a server says: its greeting, and then something to each line that it hears.
Script: TypeAlias = Sequence[bytes]

HELLO = b"* OK ready\r\n"
BARE = b"* CAPABILITY IMAP4rev1\r\ng1 OK\r\n"
PLAIN = b"* CAPABILITY IMAP4rev1 Auth=Plain\r\ng1 OK\r\n"
GO_ON = b"+ \r\n"
DIALOGUE = """
    S: 220 ...
    C: EHLO client.example
    S: 250 ...
    C: AUTH PLAIN AGFubmVAZXhhbXBsZS5vcmcAczNjcmV0
    S: 235 2.7.0 ...
"""
ANNE = Password("anne@example.org", "s3cret")


class Server:
    """An IMAP server that says what it was told to, and keeps what it hears.

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
            self.heard.append(await reader.readuntil(b"\r\n"))
            if self.heard[-1].endswith(b"STARTTLS\r\n") and self._context:
                writer.write(b"g1 OK\r\n")
                await writer.start_tls(self._context)
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
async def asking(server: Server, **options: Any) -> AsyncIterator[AuthImap]:
    given: dict[str, Any] = {"tls": "off", "wait": 10.0}
    async with server.serving() as port:
        yield AuthImap("127.0.0.1", port, **given | options)


# -- What is said ---------------------------------------------------------------------------------


def test_by_authenticate_where_it_is_offered() -> None:
    verdict, heard = asked([HELLO, PLAIN, GO_ON, b"g2 OK in\r\n"])
    assert verdict == Accept()
    token = b64encode(b"\0anne@example.org\0s3cret")
    assert heard == [b"g1 CAPABILITY\r\n", b"g2 AUTHENTICATE PLAIN\r\n", token + b"\r\n",
                     b"bye LOGOUT\r\n"]  # fmt: skip


def test_by_login_with_literals_elsewhere() -> None:
    verdict, heard = asked([HELLO, BARE, GO_ON, GO_ON, b"g2 OK in\r\n"])
    assert verdict == Accept()
    assert heard == [b"g1 CAPABILITY\r\n", b"g2 LOGIN {16}\r\n", b"anne@example.org {6}\r\n",
                     b"s3cret\r\n", b"bye LOGOUT\r\n"]  # fmt: skip


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50),
)
def test_nothing_in_a_name_or_a_password_ends_a_command(user: str, password: str) -> None:
    heard: list[bytes] = []
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read commands with literals as RFC 9051, 4.3 has it."""
        writer.write(HELLO)
        await reader.readuntil(b"\r\n")
        writer.write(BARE)
        line = await reader.readuntil(b"\r\n")
        while line.endswith(b"}\r\n"):
            size = int(line.rpartition(b"{")[2][:-3])
            writer.write(GO_ON)
            heard.append(await reader.readexactly(size))
            line = await reader.readuntil(b"\r\n")
        heard.append(line)
        writer.write(b"g2 OK\r\n")
        await reader.readuntil(b"\r\n")
        writer.close()
        closed.set()

    async def hold() -> Verdict | None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            plugin = AuthImap("127.0.0.1", port, tls="off", wait=10.0)
            verdict = await plugin.auth(a_session(), Password(user, password))
            await closed.wait()
            return verdict

    assert asyncio.run(hold()) == Accept()
    assert heard == [user.encode(), password.encode(), b"\r\n"]


@pytest.mark.parametrize("credentials", [Password("a\0bob", "x"), Password("a", "x\0y")])
def test_a_nul_is_in_no_password(credentials: Password) -> None:
    assert asked([HELLO, PLAIN], credentials) == (Deny(), [])


def test_a_password_is_not_said_where_none_is_taken() -> None:
    capability = b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\ng1 OK\r\n"
    assert asked([HELLO, capability]) == (Defer(), [b"g1 CAPABILITY\r\n"])


def test_a_client_authenticates() -> None:
    async def hold() -> None:
        async with asking(Server(HELLO, PLAIN, GO_ON, b"g2 OK in\r\n")) as plugin:
            session = await converse([plugin], DIALOGUE, tls=True)
        assert (session.user, session.mechanism) == ("anne@example.org", "PLAIN")

    asyncio.run(hold())


# -- What the answers mean ------------------------------------------------------------------------


def answered(answer: bytes) -> Verdict | None:
    by_authenticate = asked([HELLO, PLAIN, GO_ON, answer])[0]
    by_login = asked([HELLO, BARE, GO_ON, GO_ON, answer])[0]
    assert by_authenticate == by_login
    return by_login


# fmt: off
ANSWERS = [
    (b"g2 OK\r\n",                                            Accept()),
    (b"g2 ok in\r\n",                                         Accept()),
    (b"* CAPABILITY IMAP4rev2\r\n* OK hm\r\ng2 OK in\r\n",    Accept()),
    (b"g2 NO\r\n",                                            Deny()),
    (b"g2 NO [AUTHENTICATIONFAILED] Wrong\r\n",               Deny()),
    (b"g2 NO [EXPIRED] Too old\r\n",                          Deny()),
    (b"g2 NO That is UNAVAILABLE\r\n",                        Deny()),
    (b"* BYE Too many\r\ng2 NO\r\n",                          Defer()),
    (b"* bye Too many\r\n",                                   Defer()),
    (b"g2 BAD What?\r\n",                                     Defer()),
    (b"g2 no [unavailable] Later\r\n",                        Defer()),
    (b"g2 \r\n",                                              Defer()),
    (b"g2 YES\r\n",                                           Defer()),
    (b"g1 OK\r\n",                                            Defer()),
    (b"+ more?\r\n",                                          Defer()),
    (b"220 mx.example ESMTP\r\n",                             Defer()),
    (b"\r\n",                                                 Defer()),
    (b"\xff\x00\r\n",                                         Defer()),
]
# fmt: on


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_an_answer_has_a_meaning(answer: bytes, expected: Verdict) -> None:
    assert answered(answer) == expected


@pytest.mark.parametrize("code", sorted(NOT_NOW))
def test_no_for_reasons_of_its_own(code: bytes) -> None:
    assert answered(b"g2 NO [" + code + b"] Later\r\n") == Defer()


#: What would follow if the greeting did not matter.
ALL_YES = [PLAIN, GO_ON, b"g2 OK in\r\n"]
# fmt: off
TROUBLE: dict[str, Script] = {
    "it hangs up at once":            [b""],
    "it hangs up on CAPABILITY":      [HELLO, b""],
    "it hangs up on LOGIN":           [HELLO, BARE, b""],
    "it hangs up on the password":    [HELLO, BARE, GO_ON, GO_ON, b""],
    "it is full":                     [b"* BYE Too many connections\r\n", *ALL_YES],
    "it knows us already":            [b"* PREAUTH Welcome\r\n", *ALL_YES],
    "it speaks another protocol":     [b"+OK POP3 ready\r\n", *ALL_YES],
    "it knows no CAPABILITY":         [HELLO, b"g1 BAD What?\r\n"],
    "it refuses literals":            [HELLO, BARE, b"g2 BAD What?\r\n"],
    "OK to a name":                   [HELLO, BARE, GO_ON, b"g2 OK in\r\n"],
    "OK to nothing":                  [HELLO, BARE, b"g2 OK in\r\n"],
    "OK to AUTHENTICATE":             [HELLO, PLAIN, b"g2 OK in\r\n"],
    "an OK that was not asked for":   [HELLO, b"g2 OK in\r\ng1 OK\r\n"],
    "a line without end":             [b"* OK " + b"x" * 100_000],
    "lines without end":              [HELLO, b"* OK still here\r\n" * 10_000],
}
# fmt: on


@pytest.mark.parametrize("script", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_is_neither_yes_nor_no(script: Script) -> None:
    assert asked(script)[0] == Defer()


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        plugin = AuthImap("127.0.0.1", taken.getsockname()[1], tls="off")
        assert asyncio.run(plugin.auth(a_session(), ANNE)) == Defer()


def test_a_server_that_does_not_answer() -> None:
    assert asked([HELLO, PLAIN, b"* OK wait\r\n"], wait=0.2)[0] == Defer()


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = b"g2 BAD s3cret " + b64encode(b"\0anne@example.org\0s3cret") + b"\r\n"
    assert answered(echo) == Defer()
    assert "it answers neither OK nor NO" in caplog.text
    assert "s3cret" not in caplog.text
    assert b64encode(b"\0anne@example.org\0s3cret").decode() not in caplog.text


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


CAPABLE = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\ng2 OK\r\n"


def test_nothing_is_asked_before_starttls(tls: Tls) -> None:
    async def hold() -> None:
        script = [HELLO, b"* OK under TLS from here on\r\n", CAPABLE, GO_ON, b"g3 OK in\r\n"]
        server = Server(*script, context=tls.context)
        options: dict[str, Any] = {"tls": "starttls", "authorities": tls.authorities}
        async with asking(server, **options) as plugin:
            assert await plugin.auth(a_session(), ANNE) == Accept()
        assert server.heard[0] == b"g1 STARTTLS\r\n"

    asyncio.run(hold())


@pytest.mark.parametrize("answer", [b"g1 BAD What?\r\n", b"g1 NO Not now\r\n", b"* BYE\r\n"])
def test_no_starttls_no_password(answer: bytes) -> None:
    assert asked([HELLO, answer, PLAIN, GO_ON], tls="starttls") == (Defer(), [b"g1 STARTTLS\r\n"])


def test_what_is_forged_behind_starttls_is_not_believed() -> None:
    forged = b"g1 OK\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\ng2 OK\r\n"
    assert asked([HELLO, forged, b""], tls="starttls") == (Defer(), [b"g1 STARTTLS\r\n"])


def test_no_tls_at_all_where_it_should_begin_at_once() -> None:
    assert asked([HELLO, PLAIN, GO_ON, b"g2 OK\r\n"], tls="implicit", wait=2.0)[0] == Defer()


# -- Who is asked, and how often ------------------------------------------------------------------


def test_a_password_that_was_right_is_remembered() -> None:
    async def hold() -> None:
        server = Server(HELLO, PLAIN, GO_ON, b"g2 OK in\r\n")
        async with asking(server) as plugin:
            for _ in range(3):
                assert await plugin.auth(a_session(), ANNE) == Accept()
            assert server.connections == 1
            other = Password(ANNE.user, "another")
            assert await plugin.auth(a_session(), other) == Accept()
            assert server.connections == 2

    asyncio.run(hold())


@pytest.mark.parametrize(("answer", "remember"), [(b"g2 NO\r\n", 60.0), (b"g2 OK\r\n", 0.0)])
def test_nothing_else_is_remembered(answer: bytes, remember: float) -> None:
    async def hold() -> None:
        server = Server(HELLO, PLAIN, GO_ON, answer)
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
        ("anne@example.com@example.org", False),
        ("anne@", False),
        ("", False),
        ("anne@[", False),
    ],
)
def test_only_users_of_its_domains(user: str, ours: bool) -> None:
    verdict, heard = asked(
        [HELLO, PLAIN, GO_ON, b"g2 OK\r\n"],
        Password(user, "s3cret"),
        domains=["example.org", ".example.net"],
    )
    assert verdict == (Accept() if ours else None)
    assert bool(heard) is ours


def test_only_passwords() -> None:
    assert asked([HELLO], Token("anne@example.org", "token")) == (None, [])


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "port"),
    [({}, 993), ({"tls": "starttls"}, 143), ({"tls": "off"}, 143), ({"port": 10_993}, 10_993)],
)
def test_the_port_follows_from_tls(options: dict[str, Any], port: int) -> None:
    assert AuthImap("imap.example", **options)._peer.port == port


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"server": ""}, "server"),
        ({"server": "imap.example", "port": 0}, "port"),
        ({"server": "imap.example", "wait": 0}, "wait"),
        ({"server": "imap.example", "at_once": 0}, "at_once"),
        ({"server": "imap.example", "authorities": "nowhere.pem"}, "authorities"),
        ({"server": "imap.example", "domains": ["*.example.org"]}, "domains"),
        ({"server": "imap.example", "tls": "may"}, "tls"),
    ],
)
def test_options_that_make_no_sense_are_errors(
    options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    outcome = load({"use": "auth_imap"} | options, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [complaint.key for complaint in outcome] == [named]


def test_it_loads_from_toml(tmp_path: Path) -> None:
    table = {"use": "auth_imap", "server": "imap.example", "domains": ["example.org"]}
    assert isinstance(load(table, directory=tmp_path, directories=[]), Loaded)
