"""Generations, of programs that behave as a test says: see `recruit.py`."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gatepost.processes.generation import Generation, Pace
from gatepost.processes.recruiting import Recruiting
from gatepost.processes.worker_process import WorkerFailed, WorkerProcess
from gatepost.server.tally import REGIONS

PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("recruit.py")))
#: Seconds that one test may wait for what has to happen.
SECONDS = 20.0
#: As quick as it can be without being wrong on a machine that has much else to do.
QUICK = Pace(
    starting=SECONDS,
    look_every=0.05,
    silence=SECONDS,
    shortest_pause=0.01,
    longest_pause=0.04,
    sound=SECONDS,
    patience=SECONDS,
    killing=SECONDS,
)


class Troop:
    """A generation, and the place where its workers come from."""

    def __init__(self, recruiting: Recruiting, text: str, count: int, pace: Pace) -> None:
        self.recruiting = recruiting
        self.pids: list[int] = []  #: of all that there ever were
        self.gone: list[int] = []
        self.text = text
        self.generation = Generation(count, self.new_worker, self.see_off, pace=pace)

    async def new_worker(self) -> WorkerProcess:
        worker = await self.recruiting.new_worker(self.text, ())
        self.pids.append(worker.pid)
        return worker

    def see_off(self, worker: WorkerProcess) -> None:
        self.gone.append(worker.pid)
        self.recruiting.gone(worker)

    @property
    def alive(self) -> list[int]:
        return [pid for pid in self.pids if Path(f"/proc/{pid}").exists()]

    async def have_been_replaced(self, number: int) -> None:
        await self.eventually(lambda: self.generation.replaced == number)

    async def has_spoken(self, worker: WorkerProcess) -> None:
        before = worker.last_beat
        await self.eventually(lambda: worker.last_beat is not before)

    async def eventually(self, holds: Callable[[], bool]) -> None:
        """Wait for what comes from another process."""
        async with asyncio.timeout(SECONDS):
            while not holds():  # noqa: ASYNC110  # there is no event in another process
                await asyncio.sleep(0.01)


@asynccontextmanager
async def troop(
    text: str, *, count: int = 1, pace: Pace = QUICK, program: tuple[str, ...] = PROGRAM
) -> AsyncIterator[Troop]:
    recruiting = Recruiting(Path("recruit"), seed="", quiet=True, program=program)
    one = Troop(recruiting, text, count, pace)
    try:
        yield one
        await one.generation.stop(grace=0)
        assert one.alive == []
        assert sorted(one.gone) == sorted(one.pids)
    finally:
        for pid in one.alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        recruiting.close()


def run(scenario: Coroutine[None, None, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario, 3 * SECONDS)

    asyncio.run(bounded())


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -- From start to stop ---------------------------------------------------------------------------


def test_all_are_ready_when_it_has_started_and_gone_when_it_has_stopped() -> None:
    async def scenario() -> None:
        async with troop("ready beat wait", count=3) as there:
            await there.generation.start()
            assert [worker.state for worker in there.generation.workers] == ["at work"] * 3
            assert len(there.alive) == 3
            await there.eventually(
                lambda: (
                    [worker.last_beat for worker in there.generation.workers]
                    == [{"say": "beat", "sessions": 1, "taken": 2}] * 3
                )
            )
        assert there.generation.workers == []
        assert there.generation.replaced == 0

    run(scenario())


def test_one_that_fails_ends_the_start_with_its_complaints() -> None:
    async def scenario() -> None:
        async with troop("once:fail:misspelt ready wait", count=3) as there:
            with pytest.raises(WorkerFailed, match="misspelt"):
                await there.generation.start()
            assert there.alive == []

    run(scenario())


def test_one_that_ends_without_a_word_has_failed() -> None:
    async def scenario() -> None:
        async with troop("exit:3") as there:
            with pytest.raises(WorkerFailed, match="ended before it was ready"):
                await there.generation.start()

    run(scenario())


def test_one_that_is_never_ready_has_failed() -> None:
    async def scenario() -> None:
        async with troop("deaf", count=2, pace=replace(QUICK, starting=0.1)) as there:
            with pytest.raises(WorkerFailed, match=r"not ready within 0\.1 seconds"):
                await there.generation.start()
            assert there.alive == []

    run(scenario())


def test_a_start_that_is_given_up_leaves_nobody() -> None:
    async def scenario() -> None:
        async with troop("deaf", count=2) as there:
            start = asyncio.create_task(there.generation.start())
            await there.eventually(lambda: len(there.pids) == 2)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
            assert there.alive == []

    run(scenario())


def test_a_program_that_is_not_there_costs_nothing() -> None:
    async def scenario() -> None:
        async with troop("", program=("/nonexistent/gatepost",)) as there:
            before = os.listdir("/proc/self/fd")
            for _ in range(REGIONS + 1):  # each attempt gives its region back
                with pytest.raises(FileNotFoundError):
                    await there.generation.start()
            await asyncio.sleep(0)
            assert len(os.listdir("/proc/self/fd")) == len(before)

    run(scenario())


def test_who_does_not_end_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with troop("ready deaf", count=2, pace=replace(QUICK, patience=0.1)) as there:
            await there.generation.start()
            await there.generation.stop(grace=0.1)
            assert there.alive == []

    run(scenario())
    assert "2 workers did not end in time, and are killed" in caplog.text


def test_who_is_to_go_and_crashes_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with troop("ready wait crash") as there:
            await there.generation.start()
            await there.generation.stop(grace=0)

    run(scenario())
    assert "which was to end, has ended: SIGSEGV" in caplog.text


def test_they_retire_and_are_not_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with troop("ready wait", count=2) as there:
            await there.generation.start()
            await there.generation.retire(SECONDS, grace=0)
            assert there.alive == []
            assert len(there.pids) == 2

    run(scenario())
    assert "ended" not in caplog.text


# -- Deaths ---------------------------------------------------------------------------------------


def test_one_that_dies_is_replaced_and_its_region_used_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with troop("ready wait", count=2) as there:
            await there.generation.start()
            first = there.generation.workers[0]
            first.kill()
            await there.have_been_replaced(1)
            assert len(there.generation.workers) == 2
            regions = sorted(worker.region for worker in there.generation.workers)
            assert regions == [0, 1]
            assert there.gone == [first.pid]

    run(scenario())
    assert "SIGKILL; in 0.0 s there is another" in caplog.text


def test_the_more_often_they_die_the_longer_is_the_pause(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        pace = replace(QUICK, shortest_pause=0.1, longest_pause=0.4)
        async with troop("ready crash", pace=pace) as there:
            await there.generation.start()
            await there.eventually(lambda: there.generation.replaced >= 4)

    run(scenario())
    pauses = re.findall(r"SIGSEGV; in (.*) s there", caplog.text)
    assert pauses[:4] == ["0.1", "0.2", "0.4", "0.4"]


def test_who_was_sound_is_replaced_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        pace = replace(QUICK, shortest_pause=0.1, longest_pause=1.0, sound=0.0)
        async with troop("ready wait", pace=pace) as there:
            await there.generation.start()
            for number in (1, 2, 3):
                there.generation.workers[0].kill()
                await there.have_been_replaced(number)

    run(scenario())
    assert caplog.text.count("in 0.1 s there is another") == 3


def test_a_replacement_that_fails_is_replaced_in_turn(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with troop("ready wait") as there:
            await there.generation.start()
            there.text = "once:fail:unlucky ready wait"
            there.generation.workers[0].kill()
            await there.have_been_replaced(2)
            await there.eventually(lambda: there.generation.workers[0].is_ready)

    run(scenario())
    assert "unlucky" in caplog.text


def test_where_no_worker_can_be_had_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with troop("ready wait") as there:
            await there.generation.start()
            there.recruiting._program = ("/nonexistent/gatepost",)
            there.generation.workers[0].kill()
            await there.eventually(lambda: caplog.text.count("no worker can be started") > 2)
            there.recruiting._program = PROGRAM
            await there.have_been_replaced(1)

    run(scenario())


def test_what_a_worker_has_started_does_not_keep_its_place_empty() -> None:
    async def scenario() -> None:
        async with troop("ready leave wait") as there:
            await there.generation.start()
            there.generation.workers[0].kill()
            await there.have_been_replaced(1)

    run(scenario())


# -- Silence --------------------------------------------------------------------------------------


def test_who_is_silent_for_too_long_is_killed_and_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with troop("ready once:deaf talk", pace=replace(QUICK, silence=2.0)) as there:
            await there.generation.start()
            await there.have_been_replaced(1)
            assert there.generation.workers[0].pid == there.pids[1]

    run(scenario())
    assert "has been silent for 2 s: killed" in caplog.text


def test_where_all_stood_still_for_a_while_nobody_was_silent() -> None:
    async def scenario() -> None:
        async with troop("ready talk", pace=replace(QUICK, silence=1.0)) as there:
            await there.generation.start()
            heard = there.generation.workers[0]
            os.kill(heard.pid, signal.SIGSTOP)
            time.sleep(1.5)  # noqa: ASYNC251  # all stands still, as when a machine is suspended
            asyncio.get_running_loop().call_later(0.2, os.kill, heard.pid, signal.SIGCONT)
            for _ in range(10):
                await there.has_spoken(heard)
            assert there.pids == [heard.pid]

    run(scenario())


# -- Ends and deaths at the same time -------------------------------------------------------------


def test_it_does_not_wait_for_a_pause_to_be_over() -> None:
    async def scenario() -> None:
        pace = replace(QUICK, shortest_pause=1000.0, longest_pause=1000.0)
        async with troop("ready wait", pace=pace) as there:
            await there.generation.start()
            there.generation.workers[0].kill()
            await there.eventually(lambda: there.generation.workers == [])

    run(scenario())


def test_a_replacement_on_its_way_is_not_left_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def scenario() -> None:
        async with troop("ready wait") as there:
            await there.generation.start()
            there.text = "deaf"
            there.generation.workers[0].kill()
            await there.eventually(lambda: len(there.pids) == 2)
            pace = there.generation._pace
            there.generation._pace = replace(pace, patience=0.1)

    run(scenario())
    assert "ended before it was ready" not in caplog.text
