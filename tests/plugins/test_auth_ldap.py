"""Users of a directory: options, escaping, and servers that misbehave."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Defer, Deny, External, Password, Site, Token, Verdict
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth.auth_ldap import AuthLdap, _filled, escaped
from gatepost.testing import a_session
from gatepost.tls import Certificate

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DN = "uid={user},dc=example"
#: Operations (RFC 4511, 4.2 to 4.14) by the first octets of their requests and answers.
BIND, BOUND, UNBIND, SEARCH, ENTRY, DONE, REFERENCE = 0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x73
EXTENDED, EXTENDED_DONE = 0x77, 0x78
NO_SUCH_USER, INVALID_CREDENTIALS, PROTOCOL_ERROR = 0, 49, 2


# -- A server of a few lines ----------------------------------------------------------------------


def tlv(tag: int, *values: bytes) -> bytes:
    """A tag, a length and a value (X.690, 8.1), of less than 128 octets."""
    value = b"".join(values)
    assert len(value) < 128
    return bytes((tag, len(value))) + value


def result(operation: int, code: int) -> bytes:
    """An LDAPResult (RFC 4511, 4.1.9) without words."""
    return tlv(operation, tlv(0x0A, bytes([code])), tlv(0x04), tlv(0x04))


class Request:
    """What a client asks: the number of the message, the operation, and all octets behind it."""

    def __init__(self, octets: bytes) -> None:
        end = 2 + octets[1]
        self.number, self.operation, self.rest = octets[:end], octets[end], octets[end + 1 :]

    def answered(self, *operations: bytes) -> bytes:
        return b"".join(tlv(0x30, self.number, operation) for operation in operations)


async def request(reader: asyncio.StreamReader) -> Request:
    _, length = await reader.readexactly(2)
    if length > 127:
        length = int.from_bytes(await reader.readexactly(length - 128), "big")
    return Request(await reader.readexactly(length))


class Server:
    """Answers every operation as it is told, and keeps the requests."""

    def __init__(self, answers: dict[int, tuple[bytes, ...]]) -> None:
        self.requests: list[Request] = []
        self._answers = answers

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (asked := await request(reader)).operation != UNBIND:
            self.requests.append(asked)
            writer.write(asked.answered(*self._answers[asked.operation]))

    @property
    def operations(self) -> list[int]:
        return [asked.operation for asked in self.requests]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """The URL of a server that does what it likes with each connection."""

    async def talk_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(talk_and_hang_up, "127.0.0.1", 0) as server:
        yield f"ldap://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def ask(*servers: str, password: str = "s3cret", **options: Any) -> Verdict | None:
    options = {"dn": DN, "tls": "off", **options}
    plugin = AuthLdap(servers, **options)
    try:
        return await plugin.auth(a_session(), Password("bob", password))
    finally:
        plugin.shutdown(Site("mx.example"))


def verdict(talk: Talk, **options: Any) -> Verdict | None:
    """What the plugin says after it has met such a server."""

    async def scenario() -> Verdict | None:
        async with listening(talk) as url:
            return await ask(url, **options)

    return asyncio.run(scenario())


# -- What answers mean ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, Accept()),
        (INVALID_CREDENTIALS, Deny()),
        # operationsError, strongerAuthRequired, referral, confidentialityRequired, noSuchObject,
        # invalidDNSyntax, inappropriateAuthentication, insufficientAccessRights, busy, unavailable,
        # unwillingToPerform, other
        *((code, Defer()) for code in (1, 8, 10, 13, 32, 34, 48, 50, 51, 52, 53, 80)),
    ],
)
def test_a_bind_is_answered(code: int, expected: Verdict) -> None:
    server = Server({BIND: (result(BOUND, code),)})
    assert verdict(server.talk) == expected
    assert server.operations == [BIND]


def test_the_next_server_is_asked_when_one_is_busy() -> None:
    async def scenario() -> Verdict | None:
        busy, good = (Server({BIND: (result(BOUND, code),)}) for code in (51, 0))
        async with listening(busy.talk) as first, listening(good.talk) as second:
            return await ask(first, second)

    assert asyncio.run(scenario()) == Accept()


SEARCHING = {"dn": "", "base": "dc=example"}
ELSEWHERE = tlv(REFERENCE, tlv(0x04, b"ldap://127.0.0.1:1/dc=example"))
BOB = tlv(ENTRY, tlv(0x04, b"uid=bob,dc=example"), tlv(0x30))


def test_references_to_other_servers_are_not_followed() -> None:
    answers = {BIND: (result(BOUND, 0),), SEARCH: (ELSEWHERE, result(DONE, 0))}
    assert verdict(Server(answers).talk, **SEARCHING) is None
    answers[SEARCH] = (ELSEWHERE, BOB, result(DONE, 0))
    assert verdict(Server(answers).talk, **SEARCHING) == Accept()


@pytest.mark.parametrize(
    "answers",
    [(BOB, BOB, result(DONE, 0)), (BOB, BOB, result(DONE, 4)), (BOB, result(DONE, 4))],
    ids=["two", "two and sizeLimitExceeded", "one and sizeLimitExceeded"],
)
def test_several_entries_are_nobody(answers: tuple[bytes, ...]) -> None:
    server = Server({SEARCH: answers})
    assert verdict(server.talk, **SEARCHING) == Defer()
    assert server.operations == [SEARCH]


def test_who_is_not_found_hears_nothing_before_a_bind() -> None:
    server = Server({BIND: (result(BOUND, 0),), SEARCH: (result(DONE, 0),)})
    assert verdict(server.talk, **SEARCHING) is None  # although that bind succeeds here
    assert server.operations == [SEARCH, BIND]
    assert b"bob" not in server.requests[1].rest


@pytest.mark.parametrize("code", [10, 32, 50, 53])
def test_a_search_that_fails_defers(code: int) -> None:
    server = Server({SEARCH: (result(DONE, code),)})
    assert verdict(server.talk, **SEARCHING) == Defer()
    assert server.operations == [SEARCH]


# -- Passwords that must not go out ---------------------------------------------------------------


def test_an_empty_password_never_reaches_a_server() -> None:
    server = Server({BIND: (result(BOUND, 0),), SEARCH: (BOB, result(DONE, 0))})
    assert verdict(server.talk, password="") == Deny()
    assert verdict(server.talk, password="", **SEARCHING) == Deny()
    assert server.operations == []


def test_without_starttls_no_password_goes_out() -> None:
    server = Server({EXTENDED: (result(EXTENDED_DONE, PROTOCOL_ERROR),)})
    assert verdict(server.talk, tls="starttls") == Defer()
    assert server.operations == [EXTENDED]


def test_what_was_said_in_clear_is_no_answer_to_what_goes_over_tls() -> None:
    asked: list[int] = []

    async def inject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = await request(reader)
        asked.append(start.operation)
        number = int.from_bytes(start.number[2:], "big") + 1
        injected = tlv(0x30, tlv(0x02, number.to_bytes(4, "big")), result(BOUND, 0))
        writer.write(start.answered(result(EXTENDED_DONE, 0)) + injected)
        assert await reader.read(5) in (b"", b"\x16\x03\x01")  # a ClientHello, or nothing at all

    assert verdict(inject, tls="starttls", wait=5) == Defer()
    assert asked == [EXTENDED]


def test_other_credentials_are_none_of_its_business() -> None:
    certificate = Certificate("CN=bob", ("bob@example.org",), "00", b"")
    plugin = AuthLdap(("ldap://192.0.2.1",), dn=DN)
    for credentials in Token("bob", "token"), External("bob", certificate):
        assert asyncio.run(plugin.auth(a_session(), credentials)) is None


# -- Servers that misbehave -----------------------------------------------------------------------


def test_a_server_that_says_nothing_is_waited_for_so_long() -> None:
    began = time.monotonic()
    assert verdict(silence, wait=0.2) == Defer()
    assert 0.2 <= time.monotonic() - began < 10


def test_each_server_has_its_share_of_the_time() -> None:
    async def scenario() -> Verdict | None:
        good = Server({BIND: (result(BOUND, 0),)})
        async with listening(silence) as first, listening(good.talk) as second:
            return await ask(first, second, wait=1)

    assert asyncio.run(scenario()) == Accept()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await request(reader)).answered(result(BOUND, 0))[:-3])


async def goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Notice of Disconnection (RFC 4511, 4.4.1)
    name = tlv(0x8A, b"1.3.6.1.4.1.1466.20036")
    notice = tlv(EXTENDED_DONE, tlv(0x0A, b"\x34"), tlv(0x04), tlv(0x04), name)
    await request(reader)
    writer.write(tlv(0x30, tlv(0x02, b"\0"), notice))


async def another_number(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(tlv(0x30, tlv(0x02, b"\x7f\xff\xff\xff"), result(BOUND, 0)))


async def other_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
    await request(reader)


@pytest.mark.parametrize("talk", [hang_up, half, goodbye, another_number, other_protocol])
def test_what_is_no_answer_defers(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    assert verdict(talk, wait=5) == Defer()
    assert "the directory has no answer" in caplog.text
    assert "s3cret" not in caplog.text


def test_too_many_at_once_are_told_to_come_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with listening(silence) as url:
            plugin = AuthLdap((url,), dn=DN, tls="off", wait=0.3, at_once=1)
            shown = [Password(f"user{number}", "s3cret") for number in range(102)]
            verdicts = await asyncio.gather(*(plugin.auth(a_session(), one) for one in shown))
            assert verdicts == [Defer()] * 102
            plugin.shutdown(Site("mx.example"))

    asyncio.run(scenario())
    assert caplog.text.count("PoolBusy") == 1


# -- Escaping -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob.o-neil_2@example.org", "bob.o-neil_2@example.org"),
        # RFC 4515, 4 and RFC 4514, 4 have the same octets in small and in capital letters.
        ("Parens R Us (for all)", r"Parens\20R\20Us\20\28for\20all\29"),
        ("*", r"\2a"),
        ("\0", r"\00"),
        (r"C:\MyFile", r"C\3a\5cMyFile"),
        ("Lučić", r"Lu\c4\8di\c4\87"),
        ('James "Jim" Smith, III', r"James\20\22Jim\22\20Smith\2c\20III"),
        ("#x+y=<z>;", r"\23x\2by\3d\3cz\3e\3b"),
    ],
)
def test_what_could_mean_something_is_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_escaped_stands_for_itself(text: str) -> None:
    result = escaped(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9.@_-]|\\[0-9a-f]{2})*", result)
    octets = re.sub(rb"\\(..)", lambda match: bytes.fromhex(match[1].decode()), result.encode())
    assert octets.decode() == text


@pytest.mark.parametrize(
    ("template", "user", "expected"),
    [
        ("(uid={user})", "bob", "(uid=bob)"),
        ("(|(uid={user})(mail={user}))", "a b", r"(|(uid=a\20b)(mail=a\20b))"),
        ("uid={local},o={domain}", "bob@example.org", "uid=bob,o=example.org"),
        ("uid={local},o={domain}", "bob@a@b", "uid=bob,o=a@b"),
        ("(uid={local})", "bob", "(uid=bob)"),
        ("(uid={user}{x})", "{local}", r"(uid=\7blocal\7d{x})"),
        ("uid={local},o={domain}", "bob", None),
        ("uid={local},o={domain}", "bob@", None),
        ("(uid={local})", "@example.org", None),
        ("(uid={user})", "", None),
    ],
)
def test_the_name_is_put_where_it_belongs(template: str, user: str, expected: str | None) -> None:
    assert _filled(template, user) == expected


# -- Options --------------------------------------------------------------------------------------


def complaint(options: dict[str, Any], directory: Path) -> str:
    outcome = load({"use": "auth_ldap", **options}, directory=directory, directories=[])
    assert isinstance(outcome, list)
    (one,) = outcome
    return one.text.removeprefix("auth_ldap: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "option 'base' is needed, or option 'dn' instead of a search"),
        ({"base": "o=x", "dn": "uid={user}"}, "option 'base' is needed, or option 'dn' instead .*"),
        ({"base": "o=x", "servers": []}, "option 'servers' must name at least one server"),
        ({"base": "o=x", "filter": "(uid=bob)"}, r"option 'filter' must have \{user\} or .*"),
        ({"base": "o=x", "filter": "(o={domain})"}, r"option 'filter' must have \{user\} or .*"),
        ({"dn": "uid=bob"}, r"option 'dn' must have \{user\} or \{local\} in it"),
        ({"base": "o=x", "filter": "uid={user}"}, "option 'filter': invalid filter"),
        ({"base": "o=x", "filter": "(uid={user})(o=y)"}, "option 'filter': missing boolean .*"),
        ({"base": "o=x", "bind_dn": "cn=x"}, "option 'bind_dn' needs 'bind_password', .*"),
        ({"base": "o=x", "bind_password": "hush"}, "option 'bind_dn' needs 'bind_password', .*"),
        ({"dn": "uid={user}", "user_attribute": "uid"}, "option 'user_attribute' is for a .*"),
        ({"base": "o=x", "wait": 0}, "options 'wait' and 'at_once' must be more than 0"),
        ({"base": "o=x", "at_once": 0}, "options 'wait' and 'at_once' must be more than 0"),
        ({"base": "o=x", "authorities": "none.pem"}, "option 'authorities': .*none.pem: .*"),
    ],
)
def test_what_is_wrong_is_said_at_load(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    said = complaint({"servers": ["ldap://127.0.0.1"], **options}, tmp_path)
    assert re.fullmatch(told, said), said
    assert "hush" not in said


def test_what_is_not_installed_is_said_at_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gatepost.plugins.auth.auth_ldap")
    monkeypatch.setitem(sys.modules, "ldap3", None)
    said = complaint({"servers": ["ldap://127.0.0.1"], "base": "o=x"}, tmp_path)
    assert said == "auth_ldap needs ldap3: pip install 'gatepost[ldap]'"


@pytest.mark.parametrize(
    "url",
    [
        "ldap.example",
        "ldap.example:389",
        "http://ldap.example",
        "ldap://",
        "ldap://:389",
        "ldap://ldap.example:99999",
        "ldap://ldap.example:x",
        "ldap://[::1",
        "ldap://cn=admin:hush@ldap.example",
        "ldap://ldap.example/dc=example",
        "ldap://ldap.example?uid",
        "ldap://%2Frun%2Fldapi",
        "ldapi://",
        "ldapi://run/ldapi",
    ],
)
def test_a_server_is_a_url(url: str, tmp_path: Path) -> None:
    said = complaint({"servers": [url], "base": "o=x"}, tmp_path)
    told = url.rpartition("@")[2]
    assert said == f"option 'servers': {told!r} is not of the form ldaps://host or ldapi://%2Fpath"
    assert "hush" not in said


@pytest.mark.parametrize(
    ("url", "host", "port", "starttls"),
    [
        ("ldap://ldap.example", "ldap.example", 389, True),
        ("ldap://ldap.example:3890/", "ldap.example", 3890, True),
        ("ldaps://[2001:db8::1]", "2001:db8::1", 636, False),
        ("LDAPS://ldap.example:1636", "ldap.example", 1636, False),
        ("ldapi://%2Frun%2Fldapi", "/run/ldapi", 0, False),
        ("ldapi:///run/ldapi", "/run/ldapi", 0, False),
    ],
)
def test_a_url_says_where(url: str, host: str, port: int, starttls: bool, tmp_path: Path) -> None:
    options = {"servers": [url], "base": "dc=example", "bind_dn": "cn=x", "bind_password": "hush"}
    loaded = load({"use": "auth_ldap", **options}, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    assert isinstance(loaded.plugin, AuthLdap)
    assert "hush" not in repr(loaded.plugin)
    (server,) = loaded.plugin._servers
    assert (server.host, server.port, server.starttls) == (host, port, starttls)
