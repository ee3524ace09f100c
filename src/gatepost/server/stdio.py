"""One client on standard input and output: for inetd, tcpserver, and a person at a terminal."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import cast

from gatepost.server.connection import Connection
from gatepost.server.connections import SWEEP_INTERVAL
from gatepost.server.listener import Listener

#: Octets that are read at once.
PIECE = 65_536
#: Octets that a pipe or a socket which can be written to takes without making anybody wait.
WRITTEN_AT_ONCE = 4096
#: Octets of replies that wait to be taken when the client gets no more of them.
HIGH_WATER = 65_536


async def serve_stdio(
    listener: Listener,
    environment: Mapping[str, str],
    *,
    source: int = 0,
    target: int = 1,
) -> None:
    """Hold the conversation of one client of a listener; return when the client is gone.

    `source` and `target` are file descriptors: sockets, pipes, files or terminals.  They stay open
    and as they are.  Who the client is stands in the environment as tcpserver leaves it, or else
    is what the socket says.
    """
    loop = asyncio.get_running_loop()
    connections = listener.connections
    connection = Connection(listener, loop.time)
    transport = StandardStreams(connection, source, target, endpoints(environment, source))
    connection.connection_made(transport)
    transport.resume_reading()
    try:
        while len(connections):
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_INTERVAL):
                    await connections.emptied()
            connections.sweep(loop.time())
    finally:
        connections.abort()
        await connections.emptied()


def endpoints(environment: Mapping[str, str], descriptor: int) -> dict[str, object]:
    """Both ends of the connection, as transports call them: `peername` and `sockname`.

    An end that cannot be told is missing.  The environment comes first: behind a program that
    adds TLS, the socket is only that program's.
    """
    told = {
        "peername": _named(environment, "TCPREMOTEIP", "TCPREMOTEPORT"),
        "sockname": _named(environment, "TCPLOCALIP", "TCPLOCALPORT"),
    }
    if told["peername"] is None and stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        with socket.socket(fileno=os.dup(descriptor)) as there, suppress(OSError):
            told = {"peername": there.getpeername(), "sockname": there.getsockname()}
    return {name: end for name, end in told.items() if end}


def _named(environment: Mapping[str, str], host: str, port: str) -> tuple[str, int] | None:
    if host not in environment:
        return None
    number = environment.get(port, "")
    return environment[host], int(number) if number.isdecimal() else 0


class StandardStreams(asyncio.Transport):
    """A transport over two descriptors that other programs may share.

    So they are never made non-blocking: one is read when there is something to read, and written
    when there is room for a little.  A terminal ends its lines in LF; they become CRLF.
    """

    def __init__(
        self, protocol: asyncio.Protocol, source: int, target: int, extra: Mapping[str, object]
    ) -> None:
        super().__init__(extra)
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._protocol = protocol
        self._source = source
        self._target = target
        self._readable = _Watch(source, loop.add_reader, loop.remove_reader, self._read)
        self._writable = _Watch(target, loop.add_writer, loop.remove_writer, self._flush)
        self._unsent = bytearray()
        self._choked = False
        self._heard_all = False
        self._ending = False  #: what is unsent is the last
        self._closing = False
        self._lost = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have the octets from now on."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def resume_reading(self) -> None:
        """Hear what the client says."""
        if not (self._closing or self._heard_all):
            self._readable.start()

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._readable.stop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets as soon as there is room."""
        if not data or self._closing:
            return
        self._unsent += data
        if not self._choked and len(self._unsent) > HIGH_WATER:
            self._choked = True
            self._protocol.pause_writing()
        self._writable.start()

    def can_write_eof(self) -> bool:
        """Whether the client can be told that nothing follows, and still be heard."""
        return stat.S_ISSOCK(os.fstat(self._target).st_mode)

    def write_eof(self) -> None:
        """Tell the client that nothing follows."""
        self._ending = True
        if not self._unsent:
            self._end()

    def is_closing(self) -> bool:
        """Whether it is being closed, or is gone."""
        return self._closing

    def close(self) -> None:
        """Hang up when everything is sent."""
        if not self._closing:
            self._closing = True
            self._readable.stop()
            if not self._unsent:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Hang up at once."""
        self._closing = True
        self._unsent.clear()
        self._loop.call_soon(self._lose, None)

    def _read(self) -> None:
        try:
            data = os.read(self._source, PIECE)
        except BlockingIOError:
            return  # another program has been quicker
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._heard_all = True
            self._readable.stop()
            if not self._protocol.eof_received():
                self.close()
            return
        if os.isatty(self._source):
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        self._protocol.data_received(data)

    def _flush(self) -> None:
        try:
            count = os.write(self._target, self._unsent[:WRITTEN_AT_ONCE])
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        del self._unsent[:count]
        if self._unsent:
            return
        self._writable.stop()
        if self._ending:
            self._end()
        if self._closing:
            self._lose(None)
        elif self._choked:
            self._choked = False
            self._protocol.resume_writing()

    def _end(self) -> None:
        with socket.socket(fileno=os.dup(self._target)) as there, suppress(OSError):
            there.shutdown(socket.SHUT_WR)

    def _lose(self, error: OSError | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._readable.stop()
            self._writable.stop()
            self._protocol.connection_lost(error)


class _Watch:
    """Calls back whenever a descriptor is ready; plain files, which no loop watches, always are."""

    def __init__(
        self,
        descriptor: int,
        add: Callable[[int, Callable[[], None]], object],
        remove: Callable[[int], object],
        ready: Callable[[], None],
    ) -> None:
        self._descriptor = descriptor
        self._add = add
        self._remove = remove
        self._ready = ready
        self._on = False
        self._turn: asyncio.Handle | None = None  #: the next one of a plain file

    def start(self) -> None:
        """Begin to call back; harmless if that has begun."""
        if self._on:
            return
        self._on = True
        try:
            self._add(self._descriptor, self._ready)
        except PermissionError:
            self._next_turn()

    def stop(self) -> None:
        """Call back no more."""
        if not self._on:
            return
        self._on = False
        if self._turn is None:
            self._remove(self._descriptor)
        else:
            self._turn.cancel()
            self._turn = None

    def _next_turn(self) -> None:
        self._turn = asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._next_turn()
        self._ready()
