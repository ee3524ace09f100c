"""The clock that does not make anybody wait."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from gatepost.testing import run


def test_nobody_waits_for_the_clock_alone() -> None:
    async def sleep() -> list[str]:
        loop = asyncio.get_running_loop()
        started, order = loop.time(), []

        async def after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append(f"{loop.time() - started:.0f}")

        await asyncio.gather(after(3000), after(10), after(200))
        return order

    started = time.monotonic()
    assert run(sleep()) == ["10", "200", "3000"]
    assert time.monotonic() - started < 5


def test_a_time_out_strikes_at_once_where_nothing_else_can_come() -> None:
    async def wait() -> None:
        async with asyncio.timeout(3000):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        run(wait())


def test_a_thread_is_waited_for() -> None:
    def work() -> str:
        time.sleep(0.05)
        return "done"

    async def wait() -> str:
        async with asyncio.timeout(3000):
            return await asyncio.to_thread(work)

    assert run(wait()) == "done"


def test_a_program_is_waited_for() -> None:
    async def wait() -> int:
        async with asyncio.timeout(3000):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import time; time.sleep(0.05); raise SystemExit(7)"
            )
            return await process.wait()

    assert run(wait()) == 7


def test_a_socket_is_waited_for() -> None:
    async def talk() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(4))
            writer.close()
            await writer.wait_closed()

        async with asyncio.timeout(3000):
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"ping")
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
                return answer

    assert run(talk()) == b"ping"
