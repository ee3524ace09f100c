"""Generation: the workers that serve with one configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gatepost.processes.worker_process import WELL, WorkerFailed, WorkerProcess

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """When a generation acts; all in seconds."""

    starting: float = 60.0  #: that a worker may take to be ready
    look_every: float = 1.0  #: between two looks at the workers
    silence: float = 30.0  #: after which a worker that gives no sign of life is held for dead
    shortest_pause: float = 0.1  #: before a worker that has died is replaced, the first time
    longest_pause: float = 30.0  #: each time it is doubled, up to this
    sound: float = 30.0  #: a worker that has lived for so long was a sound one
    patience: float = 5.0  #: beyond their grace, before workers that do not end are killed
    killing: float = 5.0  #: in which those that are killed are waited for


USUAL_PACE: Final = Pace()


class Generation:
    """Keeps so many workers alive until it is told to let them go.

    `new_worker` starts one; it is given back by `gone` when it has ended.
    """

    def __init__(
        self,
        count: int,
        new_worker: Callable[[], Awaitable[WorkerProcess]],
        gone: Callable[[WorkerProcess], None],
        *,
        pace: Pace = USUAL_PACE,
    ) -> None:
        self._count = count
        self._new_worker = new_worker
        self._gone = gone
        self._pace = pace
        self._ending = asyncio.Event()
        self._places: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None
        self.workers: list[WorkerProcess] = []
        self.replaced = 0  #: workers that died and were replaced

    async def start(self) -> None:
        """Start them all, and wait until they are ready.

        Raises WorkerFailed, or OSError, when one of them does not come up; none is left then.
        """
        try:
            for _ in range(self._count):
                await self._start_one()
            first = tuple(self.workers)
            await asyncio.gather(*(worker.ready(self._pace.starting) for worker in first))
        except BaseException:
            self.kill()
            await asyncio.gather(*map(self._ended, tuple(self.workers)))
            raise
        self._places = [asyncio.create_task(self._keep(worker)) for worker in first]
        self._looking = asyncio.create_task(self._look())

    async def retire(self, seconds: float, *, grace: float) -> None:
        """Have all go when their clients have gone, in so many seconds at most.

        Who is still there then is sent away; messages under way have `grace` seconds.
        """
        await self._let_go(lambda worker: worker.retire(seconds, grace=grace), seconds + grace)

    async def stop(self, grace: float) -> None:
        """Have all go; messages under way have `grace` seconds."""
        await self._let_go(lambda worker: worker.stop(grace), grace)

    def kill(self) -> None:
        """End all at once."""
        for worker in self.workers:
            worker.kill()

    async def _let_go(self, tell: Callable[[WorkerProcess], None], seconds: float) -> None:
        self._ending.set()
        for worker in self.workers:
            tell(worker)
        if self._places:
            time = seconds + self._pace.patience
            _, late = await asyncio.wait(self._places, timeout=time)
            if late:
                log.warning("%d workers did not end in time, and are killed", len(late))
                self.kill()
                await asyncio.wait(late, timeout=self._pace.killing)
        if self._looking is not None:
            self._looking.cancel()

    async def _start_one(self) -> WorkerProcess:
        worker = await self._new_worker()
        self.workers.append(worker)
        return worker

    async def _ended(self, worker: WorkerProcess) -> str:
        how = await worker.ended()
        self.workers.remove(worker)
        self._gone(worker)
        return how

    async def _keep(self, worker: WorkerProcess) -> None:
        """See that one worker's place is taken, until the generation ends."""
        pace, pause = self._pace, self._pace.shortest_pause
        place: WorkerProcess | None = worker
        while True:
            if place is not None:
                how = await self._ended(place)
                if place.age > pace.sound:
                    pause = pace.shortest_pause
                if not self._ending.is_set():
                    text = "worker %d has ended: %s; in %.1f s there is another"
                    log.error(text, place.pid, how, pause)
                elif how != WELL:
                    log.error("worker %d, which was to end, has ended: %s", place.pid, how)
            if await self._ends_within(pause):
                return
            pause = min(pause * 2, pace.longest_pause)
            place = await self._replacement()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._ending.wait()
        except TimeoutError:
            return False

    async def _replacement(self) -> WorkerProcess | None:
        """Another worker, which may be dying already; None: the system has none to give."""
        try:
            worker = await self._start_one()
        except OSError as error:
            log.error("no worker can be started: %s", error)
            return None
        if self._ending.is_set():  # it came too late to be told
            worker.kill()
            return worker
        self.replaced += 1
        try:
            await worker.ready(self._pace.starting)
        except WorkerFailed as error:
            worker.kill()
            for complaint in error.complaints if not self._ending.is_set() else ():
                log.error("%s", complaint)
        return worker

    async def _look(self) -> None:
        """Kill workers that give no sign of life; what becomes of that is seen by `_keep`.

        Silence is counted in looks and not by the clock: where all stood still for a while, as on
        a machine that was suspended, nobody could have said anything.
        """
        pace = self._pace
        while True:
            await asyncio.sleep(pace.look_every)
            for worker in self.workers:
                worker.silent_looks += 1
                if worker.is_ready and worker.silent_looks * pace.look_every > pace.silence:
                    log.error(
                        "worker %d has been silent for %g s: killed", worker.pid, pace.silence
                    )
                    worker.kill()
