"""TlsTransport: between a transport and a connection, it makes of the one's octets the other's."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from gatepost.server.tls_channel import TlsChannel, TlsFailure
from gatepost.server.waiting_room import SHARE, WaitingRoom
from gatepost.tls import Tls

log = logging.getLogger(__name__)


class Upper(Protocol):
    """A connection, as what lies below it sees it."""

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""

    def eof_received(self) -> bool | None:
        """The client sends no more."""

    def pause_writing(self) -> None:
        """The client does not read."""

    def resume_writing(self) -> None:
        """The client reads again."""

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""

    def secured(self, tls: Tls) -> None:
        """The handshake is done."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A transport to the connection above, a protocol to the transport below.

    Not the event loop's own TLS: that would need a task for each handshake, reads ahead in clear
    what stands behind STARTTLS, and cannot close in one direction.

    Each step of a handshake, and whatever comes in large pieces, waits its turn in the room for
    that: to decrypt 10,000 records of one octet takes 30 milliseconds.
    """

    def __init__(
        self,
        below: asyncio.Transport,
        above: Upper,
        channel: TlsChannel,
        waiting_room: WaitingRoom,
        *,
        session_id: str,
    ) -> None:
        super().__init__()
        self._session_id = session_id
        self._below = below
        self._above = above
        self._channel = channel
        self._waiting_room = waiting_room
        self._waiting = b""  #: octets that wait in the room; no more are read meanwhile
        self._is_shut = False  #: nothing is heard any more
        self._has_ended = False  #: all is said, and the client's own end is awaited
        below.set_protocol(self)

    # -- What the transport below calls -----------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Octets have come over the wire."""
        if self._channel.ready and len(data) < SHARE and not self._waiting:
            self._take(data)
        else:
            self._waiting += data
            self._below.pause_reading()
            self._waiting_room.add(self)

    def next_share(self) -> None:
        """Take what has waited: others have had their turn."""
        octets, self._waiting = self._waiting, b""
        if not (self._is_shut or self._below.is_closing()):
            self._below.resume_reading()
            self._take(octets)

    def _take(self, data: bytes) -> None:
        if self._is_shut or self._has_ended:
            return
        channel = self._channel
        was_ready = channel.ready
        try:
            octets = channel.receive(data)
        except TlsFailure as failure:
            self._fail(failure)
            return
        self._send()
        if channel.ready and not was_ready:
            self._above.secured(channel.tls())
        if octets:
            self._above.data_received(octets)
        if channel.ended and not self._has_ended:
            self._end_input()

    def eof_received(self) -> bool:
        """The client sends no more; with or without a goodbye in TLS, what it said counts."""
        if not self._is_shut:
            self._end_input()
        return True

    def pause_writing(self) -> None:
        """The client does not read."""
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._above.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        above = self._above
        self._is_shut = True
        del self._above  # or each would keep the other until the garbage collector comes
        above.connection_lost(error)

    # -- What the connection above calls ----------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets, encrypted."""
        if self._channel.ready:
            try:
                self._channel.seal(bytes(data))
            except TlsFailure as failure:  # it is this client's alone, and not for who writes
                self._fail(failure)
            else:
                self._send()

    def can_write_eof(self) -> bool:
        """Whether the client can be told that nothing follows, and still be heard."""
        return self._below.can_write_eof()

    def write_eof(self) -> None:
        """Tell the client that nothing follows."""
        self._has_ended = True
        self._channel.close()
        self._send()
        self._below.write_eof()

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Hear what the client says."""
        if not self._waiting:
            self._below.resume_reading()

    def is_closing(self) -> bool:
        """Whether it is being closed, or is gone."""
        return self._below.is_closing()

    def close(self) -> None:
        """Hang up when everything is sent."""
        self._channel.close()
        self._send()
        self._below.close()

    def abort(self) -> None:
        """Hang up at once."""
        self._below.abort()

    def _send(self) -> None:
        octets = self._channel.outgoing()
        if octets and not self._below.is_closing():
            self._below.write(octets)

    def _end_input(self) -> None:
        self._is_shut = True
        if self._channel.ready:
            self._above.eof_received()
        else:
            self._below.close()

    def _fail(self, failure: TlsFailure) -> None:
        """Tell the client by an alert, and hang up."""
        self._is_shut = True
        peer = self._below.get_extra_info("peername")
        log.info("%s: TLS with %s failed: %s", self._session_id, peer, failure)
        self._send()
        self._below.close()
