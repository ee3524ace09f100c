"""What is between a transport and a connection."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref

from gatepost.server.tls_channel import TlsChannel
from gatepost.server.tls_transport import TlsTransport
from gatepost.tls import Tls


class Below(asyncio.Transport):
    """A transport to a client who is about to go."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass


class Above(asyncio.Protocol):
    """Keeps what is below it, as a connection does."""

    def __init__(self) -> None:
        channel = TlsChannel(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self.transport = TlsTransport(Below(), self, channel, session_id="k2x")

    def secured(self, tls: Tls) -> None:
        raise AssertionError("nobody shakes hands here")


def test_who_is_gone_takes_no_room_until_the_garbage_collector_comes() -> None:
    gc.collect()
    gc.disable()
    try:
        above = Above()
        is_there = weakref.ref(above)
        above.transport.connection_lost(None)
        del above
        assert is_there() is None
    finally:
        gc.enable()
