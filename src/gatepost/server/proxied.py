"""Proxied: a connection from a proxy, until its PROXY header has said who the client is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from gatepost.limits import Limits
from gatepost.networks import covers
from gatepost.protocol.proxy import ProxyReader
from gatepost.protocol.proxy_header import ProxyError, ProxyHeader
from gatepost.reply import Reply
from gatepost.server.connection import TIMED_OUT, Connection
from gatepost.server.host import Host
from gatepost.server.origin import Origin, origin_of
from gatepost.session import UNKNOWN, Endpoint

log = logging.getLogger(__name__)


class Proxied(asyncio.Protocol):
    """Reads the header, then gives its place to a `Connection`.

    Whoever is no proxy that we know, and whoever sends no header in time, is hung up on without a
    word: not even the banner is for them.
    """

    def __init__(self, host: Host, limits: Limits, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self._reader = ProxyReader()
        self._deadline = clock() + limits.handshake_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has come: a proxy, or an impostor."""
        self._transport = cast(asyncio.Transport, transport)
        self._own = origin_of(transport)
        trusted = self._host.listen.proxy_protocol_from
        if not covers(trusted, self._own.client, self._own.server):
            self._give_up("it is none of our proxies")
        elif (refusal := self._host.connections.admit(self, "")) is not None:
            self._turn_away(refusal)

    def data_received(self, data: bytes) -> None:
        """The proxy has sent some octets of the header, or more."""
        try:
            self._reader.receive(data)
        except ProxyError as error:
            self._give_up(str(error))
            return
        if self._reader.header is not None:
            self._hand_over(self._reader.header)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self._host.connections.leave(self)

    def expire(self, now: float) -> None:
        """Hang up on a proxy that takes too long."""
        if now >= self._deadline:
            self._host.connections.leave(self)
            self._turn_away(TIMED_OUT["handshake_timeout"])

    def drain(self) -> None:
        """Hang up: there is nobody to say goodbye to."""
        self._transport.abort()

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def _hand_over(self, header: ProxyHeader) -> None:
        """The client is known: it is treated as if it had come by itself."""
        self._host.connections.leave(self)
        connection = Connection(self._host, self._clock, _origin(header, self._own))
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        if self._reader.rest and not self._transport.is_closing():
            # Not the connection itself: where TLS is implicit, that has put another before it.
            cast(asyncio.Protocol, self._transport.get_protocol()).data_received(self._reader.rest)

    def _turn_away(self, refusal: Reply) -> None:
        """Hang up because of a limit, on the proxy: nobody knows who the client was."""
        connection = Connection(self._host, self._clock, self._own)
        self._transport.set_protocol(connection)
        connection.turn_away(self._transport, refusal)

    def _give_up(self, reason: str) -> None:
        log.warning("hung up on %s, which does not speak for others: %s", self._own.client, reason)
        self._transport.abort()


def _origin(header: ProxyHeader, own: Origin) -> Origin:
    """What the header says.

    A client without an IP address is nobody in particular, and not one of a Unix socket of ours.
    So is a proxy that speaks for itself (LOCAL): HAProxy says that of its Unix sockets' clients,
    too, and what is allowed to the proxy's address is not for them.
    """
    client = Endpoint(*header.source) if header.source else Endpoint(UNKNOWN)
    server = Endpoint(*header.destination) if header.destination else own.server
    if client.ip is None:
        return Origin(Endpoint(UNKNOWN), own.server, header)
    return Origin(client, server, header)
