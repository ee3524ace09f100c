"""What is fetched: once for all who wait, not too often, and again when it has become old."""

from __future__ import annotations

import asyncio

import pytest

from gatepost import Fetched


class Source:
    """What stands elsewhere, and a clock beside it."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 1000.0
        self.down = False
        self.open = asyncio.Event()
        self.open.set()
        self.fetched = Fetched(self.fetch, lasts=3600, rests=60, retry=5, clock=lambda: self.now)

    async def fetch(self) -> int:
        self.asked += 1
        await self.open.wait()
        if self.down:
            raise ConnectionError("it is down")
        return self.asked


def test_it_is_fetched_when_somebody_needs_it_and_kept() -> None:
    async def scenario() -> None:
        source = Source()
        assert source.asked == 0
        assert [await source.fetched.current() for _ in range(3)] == [1, 1, 1]
        source.now += 3599
        assert await source.fetched.current() == 1
        source.now += 1
        assert await source.fetched.current() == 2

    asyncio.run(scenario())


def test_who_misses_something_does_not_get_it_anew_at_once() -> None:
    async def scenario() -> None:
        source = Source()
        assert await source.fetched.current(afresh=True) == 1
        source.now += 59
        assert await source.fetched.current(afresh=True) == 1
        source.now += 1
        assert await source.fetched.current() == 1
        assert await source.fetched.current(afresh=True) == 2
        assert await source.fetched.current(afresh=True) == 2

    asyncio.run(scenario())


def test_one_fetches_for_all_who_wait() -> None:
    async def scenario() -> None:
        source = Source()
        source.open.clear()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(source.fetched.current()) for _ in range(10)]
            await asyncio.sleep(0)
            source.open.set()
        assert [task.result() for task in tasks] == [1] * 10

    asyncio.run(scenario())


def test_nobody_waits_for_what_somebody_else_misses() -> None:
    async def scenario() -> None:
        source = Source()
        await source.fetched.current()
        source.now += 60
        source.open.clear()
        fetching = asyncio.ensure_future(source.fetched.current(afresh=True))
        await asyncio.sleep(0)
        assert await source.fetched.current() == 1
        source.open.set()
        assert await fetching == 2

    asyncio.run(scenario())


def test_a_failure_is_one_for_all_who_ask_soon() -> None:
    async def scenario() -> None:
        source = Source()
        source.down = True
        source.open.clear()
        tasks = [asyncio.ensure_future(source.fetched.current()) for _ in range(3)]
        await asyncio.sleep(0)
        source.open.set()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in told] == [
            "it is down",
            "to ask for it has failed a moment ago",
            "to ask for it has failed a moment ago",
        ]
        source.down = False
        source.now += 4
        with pytest.raises(ConnectionError):
            await source.fetched.current()
        assert source.asked == 1
        source.now += 1
        assert await source.fetched.current() == 2

    asyncio.run(scenario())


def test_a_failure_to_fetch_it_afresh_leaves_what_there_is() -> None:
    async def scenario() -> None:
        source = Source()
        await source.fetched.current()
        source.now += 60
        source.down = True
        with pytest.raises(ConnectionError):
            await source.fetched.current(afresh=True)
        assert await source.fetched.current() == 1
        source.now += 3600
        with pytest.raises(ConnectionError):
            await source.fetched.current()

    asyncio.run(scenario())


def test_who_goes_away_leaves_the_fetching_to_the_next() -> None:
    async def scenario() -> None:
        source = Source()
        source.open.clear()
        first, second = (asyncio.ensure_future(source.fetched.current()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        source.open.set()
        assert await second == 2
        assert first.cancelled()

    asyncio.run(scenario())
