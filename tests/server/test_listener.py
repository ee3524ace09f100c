"""One socket where clients may come."""

from __future__ import annotations

import asyncio
import errno
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from gatepost import Site
from gatepost.config import Listen, SocketAddress
from gatepost.hooks.chain import Chain
from gatepost.limits import Limits
from gatepost.server.connections import Connections
from gatepost.server.listener import CannotListen, Listener


def a_listener(listen: Listen, limits: Limits | None = None) -> Listener:
    limits = limits or Limits()
    return Listener(listen, Chain([]), Site("mx.example", limits=limits), Connections(limits))


async def banner(address: SocketAddress) -> bytes:
    """What a client hears first."""
    if address.path is not None:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


async def everybody_left(listener: Listener) -> None:
    async with asyncio.timeout(5):
        await listener.connections.emptied()


def test_the_system_may_choose_the_port() -> None:
    async def listen() -> None:
        listener = a_listener(Listen("127.0.0.1:0"))
        assert listener.address.port == 0
        await listener.open()
        assert listener.address.port > 0
        assert await banner(listener.address) == b"220 mx.example ESMTP\r\n"
        await everybody_left(listener)
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await banner(listener.address)

    asyncio.run(listen())


@pytest.mark.parametrize(
    ("protocol", "line"),
    [("smtp", b"220 mx.example ESMTP\r\n"), ("lmtp", b"220 mx.example LMTP\r\n")],
)
def test_it_speaks_what_it_was_told_to(protocol: str, line: bytes, tmp_path: Path) -> None:
    async def listen() -> None:
        path = tmp_path / "socket"
        lmtp = protocol == "lmtp"
        listener = a_listener(Listen(f"unix:{path}", protocol="lmtp" if lmtp else "smtp"))
        await listener.open()
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert await banner(listener.address) == line
        await everybody_left(listener)
        listener.close()
        listener.close()
        assert not path.exists()

    asyncio.run(listen())


def test_a_port_that_is_taken_is_named() -> None:
    async def listen() -> None:
        first = a_listener(Listen("127.0.0.1:0"))
        await first.open()
        second = a_listener(Listen(str(first.address)))
        with pytest.raises(CannotListen) as caught:
            await second.open()
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.listen is second.listen
        second.close()
        first.close()

    asyncio.run(listen())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_socket_where_somebody_answers_is_not_taken_away(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    async def listen() -> None:
        first, second = (a_listener(Listen(f"unix:{tmp_path / 'socket'}")) for _ in range(2))
        await first.open()
        with pytest.raises(CannotListen) as caught:
            await second.open()
        assert caught.value.errno == errno.EADDRINUSE
        second.close()
        assert await banner(first.address) == b"220 mx.example ESMTP\r\n"
        await everybody_left(first)
        first.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(listen())


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    async def listen() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        listener = a_listener(Listen(f"unix:{path}"))
        await listener.open()
        assert await banner(listener.address) == b"220 mx.example ESMTP\r\n"
        await everybody_left(listener)
        listener.close()
        assert not path.exists()

    asyncio.run(listen())


def test_only_its_own_socket_is_removed(tmp_path: Path) -> None:
    async def listen() -> None:
        path = tmp_path / "socket"
        listener = a_listener(Listen(f"unix:{path}"))
        await listener.open()
        path.rename(tmp_path / "moved")
        path.write_text("of somebody else")
        listener.close()
        assert path.read_text() == "of somebody else"

    asyncio.run(listen())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_socket_of_somebody_else_is_his_to_remove(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    path = tmp_path / "socket"

    async def listen(bound: socket.socket) -> None:
        listener = a_listener(Listen(f"unix:{path}"))
        await listener.open(bound)
        assert await banner(listener.address) == b"220 mx.example ESMTP\r\n"
        await everybody_left(listener)
        listener.close()

    with socket.socket(socket.AF_UNIX) as bound, asyncio.Runner(loop_factory=new_loop) as runner:
        bound.bind(str(path))
        runner.run(listen(bound.dup()))
    assert path.is_socket()


def test_a_file_is_no_socket(tmp_path: Path) -> None:
    async def listen() -> None:
        path = tmp_path / "socket"
        path.write_text("of somebody else")
        with pytest.raises(CannotListen) as caught:
            await a_listener(Listen(f"unix:{path}")).open()
        assert caught.value.errno == errno.EEXIST
        assert path.read_text() == "of somebody else"

    asyncio.run(listen())


def test_unix_clients_are_not_counted_by_address(tmp_path: Path) -> None:
    async def listen() -> None:
        limits = Limits(connections_per_address=1, connections=3)
        listener = a_listener(Listen(f"unix:{tmp_path / 'socket'}"), limits)
        await listener.open()
        path = listener.address.path
        clients = [await asyncio.open_unix_connection(path) for _ in range(4)]
        lines = [await reader.readline() for reader, _ in clients]
        assert [line[:3] for line in lines] == [b"220", b"220", b"220", b"421"]
        for _, writer in clients:
            writer.close()
            await writer.wait_closed()
        await everybody_left(listener)
        listener.close()

    asyncio.run(listen())
