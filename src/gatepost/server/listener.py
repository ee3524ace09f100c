"""Listener: one socket where clients may come, and what is spoken there."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gatepost.config import Listen, SocketAddress
from gatepost.hooks.chain import Chain
from gatepost.server.certificates import Certificates
from gatepost.server.connection import Connection
from gatepost.server.connections import Connections
from gatepost.server.conversation import Conversation
from gatepost.server.guesses import Guesses
from gatepost.server.proxied import Proxied
from gatepost.server.socket_file import SocketFile
from gatepost.server.tls_channel import TlsChannel
from gatepost.session import Session
from gatepost.site import Site

#: Clients that the kernel lets wait until they are taken in; Linux does not let more of them wait
#: unless it is told to.  Whoever finds no room tries again after a second, then after two.
BACKLOG = 4096


class CannotListen(OSError):
    """An address that cannot be had; `errno` and `strerror` tell why."""

    def __init__(self, listen: Listen, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.listen = listen


@dataclass(slots=True)
class Listener:
    """Takes clients in; each gets a connection and a conversation of its own."""

    listen: Listen
    chain: Chain  #: the plugins that are asked on this listener
    site: Site
    connections: Connections
    guesses: Guesses = field(default_factory=Guesses)
    certificates: Certificates | None = None  #: needed where there is TLS
    repair: bool = False  #: mend stray CR and LF in messages instead of refusing them
    _server: asyncio.AbstractServer | None = None
    _port: int = 0  #: the one that the system chose
    _file: SocketFile | None = None  #: of the Unix socket that was made

    async def open(self, bound: socket.socket | None = None) -> None:
        """Begin to take clients in, on a socket that somebody has bound already or on a new one.

        Raises CannotListen where the address cannot be had.
        """
        try:
            await self._open(bound)
        except OSError as error:
            raise CannotListen(self.listen, error) from error

    @property
    def address(self) -> SocketAddress:
        """Where it listens; a port that the system chose is known once it is open."""
        where = self.listen.socket_address
        return where._replace(port=self._port) if where.is_any_port else where

    def close(self) -> None:
        """Take no more clients in; those that are here stay."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._file is not None:
            self._file.remove()

    def converse(self, session: Session) -> Conversation:
        """The conversation that a client of this listener gets."""
        return Conversation(
            session,
            self.chain,
            self.site,
            listen=self.listen,
            guesses=self.guesses,
            repair=self.repair,
        )

    def new_channel(self) -> TlsChannel:
        """The server's side of a TLS handshake."""
        assert self.certificates is not None, "a listener without certificates offers no TLS"
        return TlsChannel(self.certificates.context())

    async def _open(self, bound: socket.socket | None) -> None:
        loop = asyncio.get_running_loop()
        where, new = self.listen.socket_address, self._new_connection
        if bound is not None and where.path is not None:
            self._server = await _server_on(bound, new)
        elif bound is not None:
            self._server = await loop.create_server(new, sock=bound, backlog=BACKLOG)
            self._port = bound.getsockname()[1]
        elif where.path is not None:
            check_that_nobody_has(where.path)
            path = os.fspath(where.path)
            self._server = await loop.create_unix_server(new, path, backlog=BACKLOG)
            self._file = SocketFile(where.path)
        else:
            server = await loop.create_server(new, where.host, where.port, backlog=BACKLOG)
            self._server, self._port = server, server.sockets[0].getsockname()[1]

    def _new_connection(self) -> asyncio.Protocol:
        clock = asyncio.get_running_loop().time
        if self.listen.proxy_protocol_from:
            return Proxied(self, self.site.limits, clock)
        return Connection(self, clock)


async def _server_on(bound: socket.socket, new: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """A server on somebody else's Unix socket, whose file is for him to remove."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 13):  # which would remove it, although others go on listening there
        return await loop.create_unix_server(new, sock=bound, backlog=BACKLOG, cleanup_socket=False)
    return await loop.create_unix_server(new, sock=bound, backlog=BACKLOG)


def check_that_nobody_has(path: Path) -> None:
    """Raise OSError where a path is taken; a socket that was left behind is not.

    The event loop removes whatever socket is in its way, also that of a server at work.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # where too many wait to be taken in, it would wait as well
        failure = client.connect_ex(os.fspath(path))
    if failure == errno.EACCES:
        raise OSError(failure, os.strerror(failure))
    if failure not in (errno.ENOENT, errno.ECONNREFUSED):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
