"""Pool: work in threads, never more of it than the pool takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gatepost import Pool, PoolBusy

#: Seconds within which a thread does what it was told.
PATIENCE = 30


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What work waits for; it is opened at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def passed(gate: threading.Event, result: str) -> str:
    assert gate.wait(PATIENCE)
    return result


async def begun(work: asyncio.Task[str]) -> None:
    """Let a task go as far as it gets by itself."""
    await asyncio.sleep(0)
    assert not work.done()


def test_work_is_done_in_another_thread() -> None:
    async def hold() -> None:
        pool = Pool(1)
        worker = await pool.run(threading.current_thread)
        assert worker is not threading.current_thread()
        assert await pool.run(divmod, 7, 2) == (3, 1)
        pool.close()

    asyncio.run(hold())


def test_what_the_work_raises_is_raised() -> None:
    async def hold() -> None:
        pool = Pool(1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(divmod, 1, 0)
        assert await pool.run(divmod, 7, 2) == (3, 1)
        pool.close()

    asyncio.run(hold())


def test_what_is_too_much_is_turned_away(gate: threading.Event) -> None:
    async def hold() -> None:
        pool = Pool(2, waiting=1)
        work = [asyncio.create_task(pool.run(passed, gate, f"work {n}")) for n in range(3)]
        for one in work:
            await begun(one)
        with pytest.raises(PoolBusy, match=r"^3 pieces of work are under way or wait$"):
            await pool.run(passed, gate, "one more")
        gate.set()
        assert await asyncio.gather(*work) == ["work 0", "work 1", "work 2"]
        assert await pool.run(passed, gate, "one more") == "one more"
        pool.close()

    asyncio.run(hold())


def test_so_many_threads_work_at_a_time() -> None:
    async def hold() -> None:
        pool = Pool(3)
        meeting = threading.Barrier(3)
        await asyncio.gather(*(pool.run(meeting.wait, PATIENCE) for _ in range(3)))
        pool.close()

    asyncio.run(hold())


def test_work_counts_until_its_end_when_nobody_waits_for_it_any_more(
    gate: threading.Event,
) -> None:
    async def hold() -> None:
        pool = Pool(1, waiting=0)
        given_up = asyncio.create_task(pool.run(passed, gate, "in vain"))
        await begun(given_up)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        with pytest.raises(PoolBusy):
            await pool.run(passed, gate, "too early")
        gate.set()
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    assert await pool.run(passed, gate, "in turn") == "in turn"
                    break
                except PoolBusy:
                    await asyncio.sleep(0)
        pool.close()

    asyncio.run(hold())


def test_work_that_nobody_waits_for_any_more_is_not_begun(gate: threading.Event) -> None:
    begun_in_vain: list[int] = []

    async def hold() -> None:
        pool = Pool(1)
        first = asyncio.create_task(pool.run(passed, gate, "first"))
        second = asyncio.create_task(pool.run(begun_in_vain.append, 2))
        await begun(first)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        assert await pool.run(divmod, 7, 2) == (3, 1)  # behind it, in the same thread
        pool.close()

    asyncio.run(hold())
    assert begun_in_vain == []


def test_what_fails_when_nobody_waits_any_more_is_heard_of_nowhere(
    gate: threading.Event,
) -> None:
    complaints: list[object] = []

    def fail() -> str:
        assert gate.wait(PATIENCE)
        raise OSError("nobody waits for this")

    async def hold() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        pool = Pool(1)
        given_up = asyncio.create_task(pool.run(fail))
        await begun(given_up)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        gate.set()
        assert await pool.run(divmod, 7, 2) == (3, 1)  # behind it, in the same thread
        pool.close()

    asyncio.run(hold())
    assert complaints == []


def test_a_closed_pool_waits_for_nobody(gate: threading.Event) -> None:
    async def hold() -> None:
        pool = Pool(1)
        under_way = asyncio.create_task(pool.run(passed, gate, "begun"))
        waiting = asyncio.create_task(pool.run(passed, gate, "never begun"))
        await begun(under_way)
        pool.close()
        with pytest.raises(RuntimeError):
            await pool.run(passed, gate, "too late")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        assert await under_way == "begun"

    asyncio.run(hold())
