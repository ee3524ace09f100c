"""What is between a transport and a connection."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import trustme

from gatepost.server.tls_channel import TlsChannel
from gatepost.server.tls_transport import TlsTransport
from gatepost.server.waiting_room import MOST, SHARE, WaitingRoom
from gatepost.tls import Tls


class Below(asyncio.Transport):
    """A transport to a client."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 7)})
        self.written = b""
        self.paused = self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def take(self) -> bytes:
        written, self.written = self.written, b""
        return written

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Above(asyncio.Protocol):
    """Keeps what is below it, as a connection does."""

    def __init__(self, context: ssl.SSLContext, room: WaitingRoom) -> None:
        self.below = Below()
        channel = TlsChannel(context)
        self.transport = TlsTransport(self.below, self, channel, room, session_id="k2x")
        self.told: list[str] = []
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def secured(self, tls: Tls) -> None:
        self.told.append("secured")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost")


@dataclass
class Loop:
    """An event loop whose turns the test takes."""

    due: list[Callable[[], None]] = field(default_factory=list)

    def soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("mx.example").configure_cert(context)
    return context


class Client:
    """A client's side of TLS."""

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    def shake_hands(self, server: Above, loop: Loop) -> None:
        """Carry the handshake through."""
        while server.told != ["secured"]:
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            server.transport.data_received(self.outgoing.read())
            loop.turn()
            self.incoming.write(server.below.take())


@pytest.fixture(scope="module")
def hello() -> bytes:
    """What a client says first."""
    client = Client()
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client.outgoing.read()


def test_who_is_gone_takes_no_room_until_the_garbage_collector_comes(
    context: ssl.SSLContext,
) -> None:
    gc.collect()
    gc.disable()
    try:
        above = Above(context, WaitingRoom())
        is_there = weakref.ref(above)
        above.transport.connection_lost(None)
        del above
        assert is_there() is None
    finally:
        gc.enable()


def test_only_a_few_handshakes_go_on_at_a_time(context: ssl.SSLContext, hello: bytes) -> None:
    loop = Loop()
    room = WaitingRoom(loop.soon)
    clients = [Above(context, room) for _ in range(MOST + 1)]
    for client in clients:
        client.transport.data_received(hello)
    assert not any(client.below.written for client in clients)
    assert all(client.below.paused for client in clients)
    loop.turn()
    assert [bool(client.below.written) for client in clients] == [True] * MOST + [False]
    assert [client.below.paused for client in clients] == [False] * MOST + [True]
    loop.turn()
    assert clients[-1].below.written


def test_whoever_goes_while_he_waits_is_not_waited_for(
    context: ssl.SSLContext, hello: bytes
) -> None:
    loop = Loop()
    gone, cut_off = (Above(context, WaitingRoom(loop.soon)) for _ in range(2))
    for client in (gone, cut_off):
        client.transport.data_received(hello)
    gone.transport.connection_lost(None)
    cut_off.below.close()
    loop.turn()
    assert (gone.told, gone.below.written) == (["lost"], b"")
    assert (cut_off.told, cut_off.below.written) == ([], b"")
    assert gone.below.paused, "there is nothing more to be read"
    assert cut_off.below.paused


def test_what_comes_in_large_pieces_waits_its_turn_and_in_its_order(
    context: ssl.SSLContext,
) -> None:
    loop, client = Loop(), Client()
    server = Above(context, WaitingRoom(loop.soon))
    client.shake_hands(server, loop)
    client.tls.write(b"first, ")
    server.transport.data_received(client.outgoing.read())
    assert server.heard == b"first, "
    while client.outgoing.pending < SHARE:
        client.tls.write(b"x")
    sent = client.outgoing.read()
    server.transport.data_received(sent)
    assert (server.heard, server.below.paused) == (b"first, ", True)
    server.transport.resume_reading()
    assert server.below.paused, "what is here comes first"
    client.tls.write(b", last")
    server.transport.data_received(client.outgoing.read())
    assert server.heard == b"first, "
    loop.turn()
    assert server.heard.strip(b"x") == b"first, " + b"x" * server.heard.count(b"x") + b", last"
    assert not server.below.paused


def test_a_handshake_that_fails_is_logged_with_its_session(
    context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Loop()
    above = Above(context, WaitingRoom(loop.soon))
    with caplog.at_level(logging.INFO, logger="gatepost"):
        above.transport.data_received(b"EHLO client.example\r\n")
        loop.turn()
    (record,) = caplog.records
    assert record.getMessage().startswith("k2x: TLS with ('192.0.2.1', 7) failed: ")
    assert above.below.closed
