"""Generation: the workers that serve with one configuration."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from gatepost.app import GRACE
from gatepost.processes.worker_process import WorkerFailed, WorkerProcess

log = logging.getLogger(__name__)

#: Seconds of silence after which a worker is held for dead.
SILENCE = 30.0
#: Seconds between two looks at them.
LOOK_EVERY = 1.0
#: Seconds before a worker that has died is replaced: at first, and at most.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
#: A worker that has lived for so many seconds was a sound one.
SOUND = 30.0
#: Seconds beyond their grace before workers that do not end are killed.
PATIENCE = 5.0


class Generation:
    """Keeps so many workers alive until it is told to let them go.

    `new_worker` starts one; it is given back by `gone` when it has ended.
    """

    def __init__(
        self,
        count: int,
        new_worker: Callable[[], Awaitable[WorkerProcess]],
        gone: Callable[[WorkerProcess], None],
    ) -> None:
        self._count = count
        self._new_worker = new_worker
        self._gone = gone
        self._is_ending = False
        self._places: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None
        self.workers: list[WorkerProcess] = []
        self.replaced = 0  #: workers that died and were replaced

    async def start(self) -> None:
        """Start them all, and wait until they are ready.

        Raises WorkerFailed, or OSError, when one of them does not come up; none is left then.
        """
        try:
            first = [await self._start_one() for _ in range(self._count)]
            await asyncio.gather(*(worker.ready() for worker in first))
        except BaseException:
            await self.stop(grace=0)
            raise
        self._places = [asyncio.create_task(self._keep(worker)) for worker in first]
        self._looking = asyncio.create_task(self._look())

    async def retire(self, seconds: float) -> None:
        """Have all go when their clients have gone, in so many seconds at most."""
        await self._let_go(lambda worker: worker.retire(seconds), seconds + GRACE)

    async def stop(self, grace: float) -> None:
        """Have all go; messages under way have `grace` seconds."""
        await self._let_go(lambda worker: worker.stop(grace), grace)

    def kill(self) -> None:
        """End all at once."""
        for worker in tuple(self.workers):
            worker.kill()

    async def _let_go(self, tell: Callable[[WorkerProcess], None], seconds: float) -> None:
        self._is_ending = True
        for worker in tuple(self.workers):
            tell(worker)
        ended = [asyncio.create_task(self._ended(worker)) for worker in tuple(self.workers)]
        if ended:
            _, late = await asyncio.wait(ended, timeout=seconds + PATIENCE)
            if late:
                log.warning("%d workers did not end in time, and are killed", len(late))
                self.kill()
                await asyncio.wait(late)
        for task in (*self._places, *([self._looking] if self._looking else [])):
            task.cancel()

    async def _start_one(self) -> WorkerProcess:
        worker = await self._new_worker()
        self.workers.append(worker)
        return worker

    async def _ended(self, worker: WorkerProcess) -> str:
        how = await worker.ended()
        if worker in self.workers:
            self.workers.remove(worker)
            self._gone(worker)
        return how

    async def _keep(self, worker: WorkerProcess) -> None:
        """See that one worker's place is taken."""
        pause = SHORTEST_PAUSE
        while True:
            how = await self._ended(worker)
            if self._is_ending:
                return
            if time.time() - worker.started > SOUND:
                pause = SHORTEST_PAUSE
            log.error("worker %d has ended: %s; in %.1f s there is another", worker.pid, how, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            if self._is_ending:
                return
            worker = await self._replacement(worker)

    async def _replacement(self, dead: WorkerProcess) -> WorkerProcess:
        """Another worker; one that does not come up ends by itself, and is replaced in turn."""
        try:
            worker = await self._start_one()
        except OSError as error:
            log.error("no worker can be started: %s", error)
            return dead
        self.replaced += 1
        try:
            await worker.ready()
        except WorkerFailed as error:
            for complaint in error.complaints:
                log.error("%s", complaint)
            worker.kill()
        return worker

    async def _look(self) -> None:
        """Kill workers that give no sign of life; what becomes of that is seen by `_keep`."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = time.monotonic()
            for worker in tuple(self.workers):
                if worker.is_ready and now - worker.heard > SILENCE:
                    log.error("worker %d has been silent for %.0f s: killed", worker.pid, SILENCE)
                    worker.kill()
