"""How late an event loop is, on both kinds of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
import uvloop

from gatepost.metrics.figures import Figures
from gatepost.metrics.lag import Lag
from gatepost.metrics.table import LAG, LONGEST_LAG
from gatepost.testing import run as hurry

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in a loop of each kind, within ten seconds."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return runs


def looks(figures: Figures) -> float:
    *buckets, _ = figures.snapshot()[LAG.name][""]
    return sum(buckets)


async def look(figures: Figures, times: int, clock: Iterator[float], every: float) -> None:
    """Have the lag looked at so many times, by a clock of our own."""
    seen = asyncio.Event()
    readings = 0

    def read() -> float:
        nonlocal readings
        readings += 1
        if readings > 2 * times:  # one to plan, and one to look
            seen.set()
        return next(clock)

    lag = Lag(figures, every=every, clock=read)
    lag.start()
    await seen.wait()
    lag.stop()


def test_a_loop_that_is_late(run: Run) -> None:
    figures = Figures()
    #                  planned  looked  planned  looked  planned  looked
    clock = chain([100.0, 100.251, 101.0, 104.25, 110.0, 110.25], repeat(0.0))
    run(look(figures, 3, clock, 0.25 / 250))
    numbers = figures.snapshot()[LAG.name][""]
    assert looks(figures) == 3
    assert figures.snapshot()[LONGEST_LAG.name][""][0] == pytest.approx(3.249)
    assert numbers[-1] == pytest.approx(0.250 + 3.249 + 0.249)


def test_a_loop_that_is_early_is_not_late(run: Run) -> None:
    """The timers of uvloop are set by a clock that may be behind."""
    figures = Figures()
    run(look(figures, 1, chain([100.0, 99.0], repeat(0.0)), 0.001))
    assert figures.snapshot()[LAG.name][""][0] == 1
    assert figures.snapshot()[LONGEST_LAG.name][""] == [0]


def test_the_longest_lag_is_forgotten_in_time() -> None:
    figures = Figures()
    every = 20.0  # so that a minute has three looks
    clock = chain([0, 25, 0, 21, 0, 20, 0, 23], repeat(0))
    longest: list[float] = []

    async def minutes() -> None:
        lag = Lag(figures, every=every, clock=lambda: next(clock))
        lag.start()
        for _ in range(4):
            await asyncio.sleep(every + 0.01)
            longest.append(figures.snapshot()[LONGEST_LAG.name][""][0])
        lag.stop()

    hurry(minutes())
    assert longest == [5, 5, 5, 3]


def test_who_has_not_begun_may_stop() -> None:
    Lag(Figures()).stop()
