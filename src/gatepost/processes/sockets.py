"""The sockets that clients come to: bound once, and then inherited by worker after worker."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from gatepost.config import Listen, SocketAddress
from gatepost.server.listener import BACKLOG, CannotListen, check_that_nobody_has
from gatepost.server.socket_file import SocketFile

#: The first descriptor that systemd hands over (sd_listen_fds(3)).
FIRST_DESCRIPTOR = 3


class Sockets:
    """The bound sockets of one server.

    Those that somebody else has bound are kept when no listener has them: he keeps them, too, and
    nobody could bind them again.
    """

    def __init__(self, inherited: Iterable[socket.socket] = ()) -> None:
        self._open: dict[str, socket.socket] = {}
        self._files: dict[str, SocketFile] = {}  #: of Unix sockets that were made here
        self._unclaimed = {_name_of(one): one for one in inherited}
        self._inherited = frozenset(self._unclaimed)

    @property
    def unclaimed(self) -> tuple[str, ...]:
        """The addresses of those that were bound by somebody else, and that no listener has."""
        return tuple(self._unclaimed)

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
            self._let_go(key)

    def close(self) -> None:
        """Close all of them."""
        self.keep_only(())
        while self._unclaimed:
            self._unclaimed.popitem()[1].close()

    def _bound(self, listen: Listen) -> socket.socket:
        key = _key(listen)
        if key not in self._open:
            try:
                theirs = key in self._unclaimed
                self._open[key] = self._unclaimed.pop(key) if theirs else self._new(listen)
            except OSError as error:
                raise CannotListen(listen, error) from error
        return self._open[key]

    def _let_go(self, key: str) -> None:
        one = self._open.pop(key)
        if key in self._inherited:
            self._unclaimed[key] = one
            return
        one.close()
        if key in self._files:
            self._files.pop(key).remove()

    def _new(self, listen: Listen) -> socket.socket:
        path = listen.socket_address.path
        if path is None:
            return _new_tcp(listen.socket_address)
        new, self._files[_key(listen)] = _new_unix(path)
        return new


def _new_tcp(where: SocketAddress) -> socket.socket:
    found = socket.getaddrinfo(
        where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    family, kind, _, _, address = found[0]  # which tells of the interface in `fe80::1%eth0`
    new = socket.socket(family, kind)
    try:
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # `[::]:25` and `0.0.0.0:25` are two listeners
            new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        new.bind(address)
        new.listen(BACKLOG)
    except OSError:
        new.close()
        raise
    new.setblocking(False)
    return new


def _new_unix(path: Path) -> tuple[socket.socket, SocketFile]:
    check_that_nobody_has(path)
    path.unlink(missing_ok=True)
    new = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        new.bind(os.fspath(path))
        file = SocketFile(path)
        new.listen(BACKLOG)
    except OSError:
        new.close()
        raise
    new.setblocking(False)
    return new, file


def from_systemd(environment: Mapping[str, str]) -> list[socket.socket]:
    """The sockets that systemd has bound for this process (sd_listen_fds(3)).

    Raises OSError for a descriptor that is no socket, or none where clients could connect.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    with ExitStack() as taken:
        sockets: list[socket.socket] = []
        for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)):
            one = taken.enter_context(socket.socket(fileno=descriptor))
            if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                text = f"systemd has handed over descriptor {descriptor}, where nobody can connect"
                raise OSError(errno.EINVAL, text)
            one.set_inheritable(False)
            one.setblocking(False)
            sockets.append(one)
        taken.pop_all()
    return sockets


def _name_of(one: socket.socket) -> str:
    """The address of a socket, spelt as a configuration would."""
    name = one.getsockname()
    if isinstance(name, tuple):
        return str(SocketAddress(str(name[0]), int(name[1])))
    return f"unix:{os.fsdecode(name)}"


def _key(listen: Listen) -> str:
    """What a socket is known by; several listeners may leave the choice of a port to the system."""
    where = listen.socket_address
    return f"{where} for {listen.name}" if where.is_any_port else str(where)
