"""Where the figures of a whole server can be fetched: over real sockets, while it moves."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatepost.metrics.figures import Figures
from gatepost.metrics.snapshots import Accumulator
from gatepost.processes.pages import Pages
from tests.ports import free_port

pytest.importorskip("aiohttp", reason="the pages need aiohttp")


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 10))


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where Unix sockets may be; its path is short enough for theirs."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def somewhere() -> str:
    """An address that nobody has."""
    return f"127.0.0.1:{free_port()}"


def some_pages(ready: Callable[[], bool] = lambda: True) -> Pages:
    return Pages(Accumulator(), ready=ready)


async def fetch(address: str, page: str) -> str:
    """The status and the body of a page, on two lines; raises OSError where nobody is."""
    if address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
    else:
        reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET {page} HTTP/1.1\r\nHost: watch\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return f"{head.split()[1]}\n{body}"


async def is_served(address: str) -> bool:
    try:
        return await fetch(address, "/healthz") == "200\nyes\n"
    except OSError:
        return False


# -- What there is --------------------------------------------------------------------------------


def test_the_figures_of_all_workers_together() -> None:
    address, accumulator = somewhere(), Accumulator()

    async def watch() -> None:
        pages = Pages(accumulator, ready=lambda: True)
        async with pages.moving(address):
            accumulator.add(1, Figures().snapshot())
        accumulator.add(2, Figures().snapshot())
        told = await fetch(address, "/metrics")
        assert told.startswith("200\n")
        assert "\ngatepost_workers 2\n" in told
        await pages.close()

    run(watch())


def test_it_is_ready_when_somebody_takes_clients_in() -> None:
    address = somewhere()
    workers: list[str] = []

    async def watch() -> None:
        pages = some_pages(ready=lambda: bool(workers))
        async with pages.moving(address):
            assert await fetch(address, "/readyz") == "503\nno\n"
            assert await fetch(address, "/healthz") == "200\nyes\n"
        workers.append("one")
        assert await fetch(address, "/readyz") == "200\nyes\n"
        await pages.close()

    run(watch())


# -- Moving ---------------------------------------------------------------------------------------


def test_it_moves_to_another_address() -> None:
    old, new = somewhere(), somewhere()

    async def watch() -> None:
        pages = some_pages()
        async with pages.moving(old):
            pass
        async with pages.moving(new):
            assert await is_served(old)
            assert await is_served(new)
        assert not await is_served(old)
        assert await is_served(new)
        await pages.close()
        assert not await is_served(new)

    run(watch())


def test_it_moves_nowhere_and_back() -> None:
    address = somewhere()

    async def watch() -> None:
        pages = some_pages()
        for _ in range(2):
            async with pages.moving(address):
                pass
            assert await is_served(address)
            async with pages.moving(""):
                assert await is_served(address)
            assert not await is_served(address)

    run(watch())


@pytest.mark.parametrize("failure", [OSError, asyncio.CancelledError])
def test_a_failure_leaves_everything_as_it_was(failure: type[BaseException]) -> None:
    old, new = somewhere(), somewhere()

    async def watch() -> None:
        pages = some_pages()
        async with pages.moving(old):
            pass
        for address in (new, old, ""):
            with pytest.raises(failure):
                async with pages.moving(address):
                    raise failure
            assert await is_served(old)
            assert not await is_served(new)
        async with pages.moving(new):
            pass
        assert await is_served(new)
        await pages.close()

    run(watch())


def test_a_failure_at_first_leaves_nothing() -> None:
    address = somewhere()

    async def watch() -> None:
        pages = some_pages()
        with pytest.raises(OSError, match="no worker"):
            async with pages.moving(address):
                raise OSError("no worker")
        assert not await is_served(address)
        await pages.close()

    run(watch())


def test_an_address_that_somebody_has() -> None:
    old = somewhere()

    async def watch() -> None:
        pages = some_pages()
        async with pages.moving(old):
            pass
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            with pytest.raises(OSError, match="in use"):
                async with pages.moving(taken):
                    raise AssertionError
        assert await is_served(old)
        await pages.close()

    run(watch())


def test_the_same_address_is_served_all_the_while() -> None:
    address = somewhere()

    async def watch() -> None:
        pages = some_pages()
        async with pages.moving(address):
            pass
        reader, writer = await asyncio.open_connection(*address.split(":"))
        async with pages.moving(address):
            assert await is_served(address)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: watch\r\n\r\n")
        assert (await reader.read()).endswith(b"yes\n")
        writer.close()
        await pages.close()

    run(watch())


def test_a_unix_socket_is_removed_when_it_moves(directory: Path) -> None:
    old, new = f"unix:{directory}/old", f"unix:{directory}/new"

    async def watch() -> None:
        pages = some_pages()
        async with pages.moving(old):
            assert await is_served(old)
        with pytest.raises(KeyError):
            async with pages.moving(new):
                raise KeyError
        assert os.listdir(directory) == ["old"]
        async with pages.moving(new):
            pass
        assert await is_served(new)
        assert os.listdir(directory) == ["new"]
        await pages.close()
        assert os.listdir(directory) == []

    run(watch())


# -- Closing --------------------------------------------------------------------------------------


def test_it_may_be_closed_twice_and_open_again() -> None:
    address = somewhere()

    async def watch() -> None:
        pages = some_pages()
        await pages.close()
        for _ in range(2):
            async with pages.moving(address):
                pass
            assert await is_served(address)
            await pages.close()
            await pages.close()
            assert not await is_served(address)

    run(watch())


def test_nothing_is_left_when_it_is_stopped_while_it_moves() -> None:
    old, new = somewhere(), somewhere()

    async def watch() -> None:
        pages = some_pages()

        async def move() -> None:
            async with pages.moving(new):
                asyncio.get_running_loop().call_soon(moving.cancel)  # while the old one is closed

        async with pages.moving(old):
            pass
        moving = asyncio.create_task(move())
        await asyncio.wait((moving,))
        assert moving.cancelled()
        await pages.close()
        assert not await is_served(old)
        assert not await is_served(new)

    run(watch())
