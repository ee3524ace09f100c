"""What a server can get wrong about TLS: T1 to T6, F12, and the rules of RFC 3207, by octets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from gatepost import (
    Accept,
    Answer,
    AnswerForEach,
    Defer,
    Deny,
    Plugin,
    Recipient,
    Session,
    Transaction,
)
from gatepost.config import Listen, TlsSettings
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.server.certificates import Certificates
from gatepost.server.connection import Connection
from gatepost.server.connections import Connections
from gatepost.server.conversation import Conversation
from gatepost.server.outbox import Outbox
from gatepost.server.tls_channel import TlsChannel
from gatepost.server.waiting_room import WaitingRoom
from gatepost.site import Site
from gatepost.testing import MX

STARTTLS = replace(MX, tls="starttls")
IMPLICIT = replace(MX, tls="implicit")
EHLO = b"EHLO evil.example\r\n"
MESSAGE = (
    b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
    b"Subject: Smuggled\r\n\r\n.\r\n"
)
CLOSE_NOTIFY = b"\x15\x03\x03"


@dataclass
class Keeps(Plugin):
    """Takes everything, and writes down what it hears."""

    starttls_says: Answer = None
    kept: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def starttls(self, session: Session) -> Answer:
        return self.starttls_says

    def secured(self, session: Session) -> None:
        assert session.tls is not None
        self.heard.append(f"secured {session.tls.version}")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        self.kept.append(transaction.message.headers.get("Received") or "")
        return Accept()

    def disconnect(self, session: Session) -> None:
        self.heard.append("disconnect")


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 49152), "sockname": ("198.51.100.1", 25)})
        self.written = b""
        self.closed = self.aborted = self.ended = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol: Any = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def over(self) -> bool:
        return self.closed or self.ended or self.aborted

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written


@dataclass
class Server:
    """A server without sockets, and a clock that the test sets."""

    certificates: Certificates
    plugin: Keeps = field(default_factory=Keeps)
    listen: Listen = STARTTLS
    limits: Limits = field(default_factory=Limits)
    now: float = 0.0

    def __post_init__(self) -> None:
        outbox, room = Outbox(lambda empty: empty()), WaitingRoom(lambda let_in: let_in())
        self.connections = Connections(self.limits, outbox, waiting_room=room)

    def converse(self, session: Session) -> Conversation:
        chain = Chain([(self.plugin, Placement("keeps"))])
        return Conversation(
            session, chain, Site("mx.example", limits=self.limits), listen=self.listen
        )

    def new_channel(self) -> TlsChannel:
        return TlsChannel(self.certificates.context())

    def client(self) -> Client:
        wire = Wire()
        connection = Connection(self, lambda: self.now)
        wire.set_protocol(connection)
        connection.connection_made(wire)
        return Client(wire)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.connections.sweep(self.now)


class Client:
    """A client that says what it likes, in clear and over TLS."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    def clear(self, octets: bytes) -> bytes:
        """What is answered to octets in clear."""
        self.wire.protocol.data_received(octets)
        return self.wire.take()

    def handshake(self, context: ssl.SSLContext) -> None:
        """Carry a handshake through, in the smallest pieces."""
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="mx.example")
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange()
            else:
                self._exchange()
                return

    def say(self, octets: bytes) -> bytes:
        """What is answered to octets over TLS."""
        assert self.tls is not None
        self.tls.write(octets)
        self._exchange()
        return self.hear()

    def hear(self) -> bytes:
        assert self.tls is not None
        heard = b""
        while True:
            try:
                piece = self.tls.read(65_536)
            except ssl.SSLWantReadError:
                return heard
            except ssl.SSLZeroReturnError:
                return heard
            heard += piece
            if not piece:
                return heard

    def goodbye(self) -> None:
        """Send close_notify, and keep the connection."""
        assert self.tls is not None
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._exchange()

    def _exchange(self) -> None:
        for octet in self._outgoing.read():
            self.wire.protocol.data_received(bytes((octet,)))
        self._incoming.write(self.wire.take())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificates(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    path: Path = tmp_path_factory.mktemp("tls") / "mx.pem"
    authority.issue_cert("mx.example").private_key_and_cert_chain_pem.write_to_path(str(path))
    return Certificates(TlsSettings(certificate=path))


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def server(certificates: Certificates) -> Iterator[Server]:
    with asyncio.Runner() as runner:  # for what is done at the end of a turn
        runner.get_loop()
        yield Server(certificates)


def secured(server: Server, context: ssl.SSLContext) -> Client:
    client = server.client()
    client.clear(EHLO)
    assert client.clear(b"STARTTLS\r\n").startswith(b"220 2.0.0")
    client.handshake(context)
    return client


# -- STARTTLS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("injected", [EHLO, MESSAGE, b"R", b"\x16\x03\x01"])
def test_t1_t2_what_stands_behind_starttls_is_never_read(injected: bytes, server: Server) -> None:
    client = server.client()
    client.clear(EHLO)
    answer = client.clear(b"STARTTLS\r\n" + injected)
    assert answer.startswith(b"503 5.5.1")
    assert answer.count(b"\r\n") == 1
    assert client.wire.over
    assert not server.plugin.kept


def test_t1_what_comes_in_clear_while_the_handshake_is_awaited_is_no_command(
    server: Server,
) -> None:
    client = server.client()
    client.clear(EHLO)
    client.clear(b"STARTTLS\r\n")
    answer = client.clear(MESSAGE)
    assert not answer.startswith((b"2", b"3", b"5"))
    assert client.wire.over
    assert not server.plugin.kept


def test_t3_nothing_that_was_said_before_counts_afterwards(
    server: Server, context: ssl.SSLContext
) -> None:
    client = secured(server, context)
    assert client.say(b"RCPT TO:<bob@example.org>\r\n").startswith(b"503 5.5.1")
    assert client.say(b"MAIL FROM:<a@client.example>\r\n").startswith(b"503 5.5.1 Say EHLO first")
    answer = client.say(b"EHLO good.example\r\n")
    assert b"STARTTLS" not in answer
    client.say(MESSAGE)
    [received] = server.plugin.kept
    assert received.startswith("from good.example ([192.0.2.1])")
    assert "with ESMTPS" in received
    assert "(tls TLSv1.3 TLS_" in received
    assert "evil" not in received
    assert server.plugin.heard == ["secured TLSv1.3"]


@pytest.mark.parametrize(
    ("before", "command", "reply"),
    [
        (EHLO, b"STARTTLS now\r\n", b"501 5.5.4"),
        (b"HELO evil.example\r\n", b"STARTTLS\r\n", b"502 5.5.1"),
        (EHLO + b"MAIL FROM:<a@client.example>\r\n", b"STARTTLS\r\n", b"503 5.5.1"),
    ],
)
def test_t4_when_starttls_is_refused(
    before: bytes, command: bytes, reply: bytes, server: Server
) -> None:
    client = server.client()
    for line in before.splitlines(keepends=True):
        client.clear(line)
    assert client.clear(command).splitlines()[-1].startswith(reply)
    assert not client.wire.over
    assert client.clear(b"NOOP\r\n").startswith(b"250")


def test_t4_before_ehlo_it_is_taken_as_well(server: Server, context: ssl.SSLContext) -> None:
    client = server.client()
    client.wire.take()  # the banner
    assert client.clear(b"STARTTLS\r\n").startswith(b"220 2.0.0")
    client.handshake(context)
    assert client.say(EHLO).startswith(b"250")


def test_t4_not_twice(server: Server, context: ssl.SSLContext) -> None:
    client = secured(server, context)
    client.say(EHLO)
    assert client.say(b"STARTTLS\r\n").startswith(b"503 5.5.1 TLS is up already")
    assert client.say(b"NOOP\r\n").startswith(b"250")


@pytest.mark.parametrize(("verdict", "reply"), [(Deny(), b"554 5.7.1"), (Defer(), b"454 4.7.0")])
def test_a_plugin_may_refuse(verdict: Answer, reply: bytes, server: Server) -> None:
    server.plugin.starttls_says = verdict
    client = server.client()
    client.clear(EHLO)
    assert client.clear(b"STARTTLS\r\n").startswith(reply)
    assert client.clear(b"NOOP\r\n").startswith(b"250")


def test_a_listener_without_tls_knows_no_starttls(server: Server) -> None:
    server.listen = MX
    client = server.client()
    assert b"STARTTLS" not in client.clear(EHLO)
    assert client.clear(b"STARTTLS\r\n").startswith(b"502 5.5.1")


# -- The handshake --------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", [STARTTLS, IMPLICIT], ids=lambda listen: listen.tls)
def test_t5_a_handshake_that_never_ends_is_cut_off(listen: Listen, server: Server) -> None:
    server.listen = listen
    client = server.client()
    if listen is STARTTLS:
        client.clear(EHLO)
        client.clear(b"STARTTLS\r\n")
    client.clear(b"\x16\x03\x01\x02\x00")
    assert len(server.connections) == 1
    server.pass_time(server.limits.handshake_timeout - 1)
    assert not client.wire.aborted
    server.pass_time(2)
    assert client.wire.aborted
    client.wire.protocol.connection_lost(None)
    assert len(server.connections) == 0


def test_a_handshake_has_no_longer_by_dripping(server: Server) -> None:
    server.listen = IMPLICIT
    client = server.client()
    for octet in b"\x16\x03\x01\x02\x00\x01":
        client.clear(bytes((octet,)))
        server.pass_time(6)
    assert client.wire.aborted


def test_a_handshake_that_fails_ends_the_connection(server: Server) -> None:
    server.listen = IMPLICIT
    client = server.client()
    client.clear(b"EHLO client.example\r\n")
    assert client.wire.closed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_t6_the_versions_of_today(
    version: ssl.TLSVersion, server: Server, context: ssl.SSLContext
) -> None:
    context.minimum_version = context.maximum_version = version
    client = secured(server, context)
    assert client.tls is not None
    assert client.tls.version() == version.name.replace("_", ".")
    assert client.tls.compression() is None
    assert client.say(EHLO).startswith(b"250")


def test_on_an_implicit_listener_the_banner_comes_over_tls(
    server: Server, context: ssl.SSLContext
) -> None:
    server.listen = IMPLICIT
    client = server.client()
    assert client.wire.written == b""
    client.handshake(context)
    assert client.hear().startswith(b"220 mx.example")
    assert b"STARTTLS" not in client.say(EHLO)
    assert client.say(b"STARTTLS\r\n").startswith(b"503 5.5.1")
    assert client.say(b"QUIT\r\n").startswith(b"221")
    assert client.wire.ended


def test_too_many_clients_of_an_implicit_listener_hear_nothing_in_clear(server: Server) -> None:
    server.limits = Limits(connections=1)
    server.listen = IMPLICIT
    server.__post_init__()
    first, second = server.client(), server.client()
    assert not first.wire.closed
    assert second.wire.closed
    assert second.wire.written == b""


# -- The end --------------------------------------------------------------------------------------


def test_f12_a_goodbye_of_tls_within_a_message_ends_the_session(
    server: Server, context: ssl.SSLContext
) -> None:
    client = secured(server, context)
    client.say(EHLO)
    client.say(b"MAIL FROM:<a@client.example>\r\nRCPT TO:<bob@example.org>\r\n")
    client.say(b"BDAT 100 LAST\r\n0123456789")
    client.goodbye()
    assert client.wire.closed
    client.clear(b"x" * 90 + b"QUIT\r\n")
    assert client.wire.written == b""
    client.wire.protocol.connection_lost(None)
    assert not server.plugin.kept
    assert server.plugin.heard[-1] == "disconnect"
    assert len(server.connections) == 0


def test_what_was_said_before_a_goodbye_is_answered(
    server: Server, context: ssl.SSLContext
) -> None:
    client = secured(server, context)
    client.say(EHLO)
    assert client.tls is not None
    client.tls.write(MESSAGE)
    client.goodbye()
    assert len(server.plugin.kept) == 1


def test_who_goes_on_talking_behind_the_end_can_still_read_what_was_said_last(
    server: Server, context: ssl.SSLContext
) -> None:
    client = secured(server, context)
    assert client.say(b"QUIT\r\n").startswith(b"221 2.0.0")
    assert (client.wire.ended, client.wire.closed) == (True, False)
    client.say(b"NOOP\r\n")
    assert not client.wire.closed, "the kernel would reset the connection"
    client.wire.protocol.eof_received()
    assert client.wire.closed


def test_a_record_that_was_changed_on_the_way_ends_the_session(
    server: Server, context: ssl.SSLContext
) -> None:
    client = secured(server, context)
    client.say(EHLO)
    client.clear(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert client.wire.closed


def test_who_is_silent_is_told_over_tls(server: Server, context: ssl.SSLContext) -> None:
    client = secured(server, context)
    server.pass_time(1)
    server.pass_time(server.limits.command_timeout + 1)
    client._exchange()
    assert client.hear().startswith(b"421 4.4.2")
    assert client.wire.ended
