"""The sockets that clients come to: bound once, and then inherited by worker after worker."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from gatepost.config import Listen, SocketAddress
from gatepost.server.listener import BACKLOG, CannotListen, check_that_nobody_has

#: The first descriptor that systemd hands over (sd_listen_fds(3)).
FIRST_DESCRIPTOR = 3


class Sockets:
    """The bound sockets of one server."""

    def __init__(self, inherited: Iterable[socket.socket] = ()) -> None:
        self._open: dict[str, socket.socket] = {}
        self._files: dict[str, tuple[Path, os.stat_result]] = {}  #: Unix sockets made here
        self._inherited = {_name_of(one): one for one in inherited}

    @property
    def unclaimed(self) -> tuple[str, ...]:
        """The addresses of those that were bound by somebody else, and that no listener has."""
        return tuple(self._inherited)

    def bind(self, listens: Iterable[Listen]) -> list[socket.socket]:
        """The sockets of these listeners, those that are bound already and new ones.

        Raises CannotListen; what was bound before the fault stays bound.
        """
        return [self._bound(listen) for listen in listens]

    def address_of(self, listen: Listen) -> SocketAddress:
        """Where a listener's socket really is; the system may have chosen its port."""
        where = listen.socket_address
        if not where.is_any_port:
            return where
        return where._replace(port=self._open[_key(listen)].getsockname()[1])

    def keep_only(self, listens: Iterable[Listen]) -> None:
        """Close the sockets that no listener of these names."""
        for key in self._open.keys() - {_key(listen) for listen in listens}:
            self._close(key)

    def close(self) -> None:
        """Close all of them."""
        for key in tuple(self._open):
            self._close(key)

    def _bound(self, listen: Listen) -> socket.socket:
        key = _key(listen)
        if key not in self._open:
            try:
                self._open[key] = self._new(listen)
            except OSError as error:
                raise CannotListen(listen, error) from error
        return self._open[key]

    def _new(self, listen: Listen) -> socket.socket:
        where = listen.socket_address
        if (inherited := self._inherited.pop(str(where), None)) is not None:
            return inherited
        if where.path is not None:
            return self._new_unix(_key(listen), where.path)
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        new = socket.socket(family, socket.SOCK_STREAM)
        try:
            new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # `[::]:25` and `0.0.0.0:25` are two listeners
                new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            new.bind((where.host, where.port))
            new.listen(BACKLOG)
        except OSError:
            new.close()
            raise
        new.setblocking(False)
        return new

    def _new_unix(self, key: str, path: Path) -> socket.socket:
        check_that_nobody_has(path)
        with suppress(FileNotFoundError):
            path.unlink()
        new = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            new.bind(os.fspath(path))
            new.listen(BACKLOG)
        except OSError:
            new.close()
            raise
        new.setblocking(False)
        self._files[key] = (path, path.lstat())
        return new

    def _close(self, key: str) -> None:
        self._open.pop(key).close()
        if key in self._files:
            path, file = self._files.pop(key)
            with suppress(OSError):
                if os.path.samestat(path.lstat(), file):  # else somebody has put another there
                    path.unlink()


def from_systemd(environment: Mapping[str, str]) -> list[socket.socket]:
    """The sockets that systemd has bound for this process (sd_listen_fds(3)).

    Raises OSError for a descriptor that is no socket.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environment.get("LISTEN_FDS", "0"))
    sockets: list[socket.socket] = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count):
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
        one.setblocking(False)
        sockets.append(one)
    return sockets


def _name_of(one: socket.socket) -> str:
    """The address of a socket, spelt as a configuration would."""
    name = one.getsockname()
    if isinstance(name, tuple):
        return str(SocketAddress(str(name[0]), int(name[1])))
    return f"unix:{os.fsdecode(name)}"


def _key(listen: Listen) -> str:
    """What a socket is known by; several listeners may leave the choice of a port to the system."""
    if listen.socket_address.is_any_port:
        return f"{listen.address} for {listen.name}"
    return listen.address
