"""Passwords that other submission servers know: a Gatepost, and aiosmtpd."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiosmtpd.handlers
import aiosmtpd.smtp
import pytest
import trustme

from gatepost import Accept, Defer, Deny, Password, Verdict
from gatepost.app import Gate, Listen, TlsSettings
from gatepost.plugins.auth.auth_file import AuthFile
from gatepost.plugins.auth.auth_smtp import AuthSmtp
from gatepost.testing import a_session

#: What people may well choose.
PASSWORDS = {
    "anne@example.org": "s3cret",
    "quotes": 'a"b\\c {3}',
    "blanks": " x ",
    "long": "x" * 600,  # aiosmtpd reads no lines of more than 1001 octets
    "grün@example.org": "Grüße, 你好",
}


class Tls(NamedTuple):
    context: ssl.SSLContext  #: of a server
    certificate: Path  #: of a server, with its key
    authorities: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "authority.pem")
    own = authority.issue_cert("127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.configure_cert(context)
    return Tls(context, directory / "server.pem", directory / "authority.pem")


@asynccontextmanager
async def gatepost(tls: Tls, mode: str) -> AsyncIterator[int]:
    """The port of a Gatepost."""
    coded = {user: b64encode(password.encode()) for user, password in PASSWORDS.items()}
    users = [f"{user}:{{PLAIN.b64}}{password.decode()}" for user, password in coded.items()]
    how: dict[str, Any] = {"tls": mode, "auth_without_tls": mode == "off"}
    gate = Gate(
        [AuthFile(users)],
        listen=[Listen("127.0.0.1:0", "submission", **how)],
        tls=TlsSettings(certificate=tls.certificate),
    )
    async with gate:
        yield gate.addresses[0].port


@asynccontextmanager
async def aiosmtpd_peer(tls: Tls, mode: str) -> AsyncIterator[int]:
    """The port of an aiosmtpd."""

    def authenticate(*arguments: Any) -> aiosmtpd.smtp.AuthResult:
        known = arguments[-1]
        right = PASSWORDS.get(known.login.decode()) == known.password.decode()
        return aiosmtpd.smtp.AuthResult(success=right, handled=False)

    def protocol() -> aiosmtpd.smtp.SMTP:
        return aiosmtpd.smtp.SMTP(
            aiosmtpd.handlers.Sink(),
            authenticator=authenticate,
            auth_require_tls=mode == "starttls",
            tls_context=tls.context if mode == "starttls" else None,
        )

    context = tls.context if mode == "implicit" else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


PEERS = {"gatepost": gatepost, "aiosmtpd": aiosmtpd_peer}
EVERY_PEER = pytest.mark.parametrize("peer", PEERS)
EVERY_TLS = pytest.mark.parametrize("mode", ["implicit", "starttls", "off"])


async def asked(peer: str, tls: Tls, mode: str, *passwords: Password) -> list[Verdict | None]:
    """What the plugin says of passwords when it asks a peer, each on a connection of its own."""
    async with asyncio.timeout(60), PEERS[peer](tls, mode) as port:
        options: dict[str, Any] = {"tls": mode, "authorities": tls.authorities}
        plugin = AuthSmtp("127.0.0.1", port, **options)
        return [await plugin.auth(a_session(), password) for password in passwords]


@EVERY_PEER
@EVERY_TLS
def test_right_and_wrong(peer: str, mode: str, tls: Tls) -> None:
    passwords = [
        Password("anne@example.org", "s3cret"),
        Password("anne@example.org", "s3cret "),
        Password("bob@example.org", "s3cret"),
    ]
    verdicts = asyncio.run(asked(peer, tls, mode, *passwords))
    assert verdicts == [Accept(), Deny(), Deny()]


@EVERY_PEER
def test_whatever_people_choose(peer: str, tls: Tls) -> None:
    passwords = [Password(user, password) for user, password in PASSWORDS.items()]
    assert set(asyncio.run(asked(peer, tls, "implicit", *passwords))) == {Accept()}


@EVERY_PEER
def test_no_password_goes_over_the_wire_in_clear(peer: str, tls: Tls) -> None:
    async def hold() -> Verdict | None:
        async with PEERS[peer](tls, "off") as port:
            plugin = AuthSmtp("127.0.0.1", port, tls="starttls", authorities=tls.authorities)
            return await plugin.auth(a_session(), Password("anne@example.org", "s3cret"))

    assert asyncio.run(hold()) == Defer()


def test_a_server_that_wants_tls_is_no_judge_of_passwords(tls: Tls) -> None:
    # It has TLS and is not asked for it: it offers no AUTH, or refuses it with 538.
    async def hold(peer: str) -> Verdict | None:
        async with PEERS[peer](tls, "starttls") as port:
            plugin = AuthSmtp("127.0.0.1", port, tls="off")
            return await plugin.auth(a_session(), Password("anne@example.org", "s3cret"))

    assert [asyncio.run(hold(peer)) for peer in PEERS] == [Defer(), Defer()]
