"""WorkerProcess: a worker as its supervisor sees it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from contextlib import suppress

from gatepost.metrics.snapshots import Accumulator
from gatepost.processes.channel import Channel, Told
from gatepost.processes.orders import Orders

log = logging.getLogger(__name__)

#: Seconds that a worker may take to be ready.
STARTING = 60.0


class WorkerFailed(Exception):
    """A worker that did not come up, with its complaints."""

    def __init__(self, *complaints: str) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


class WorkerProcess:
    """One process of our own, and what it has told."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: Channel,
        orders: Orders,
        accumulator: Accumulator,
    ) -> None:
        self.region = orders.region
        self.started = time.time()  #: seconds since 1970
        self.heard = time.monotonic()  #: when it gave its last sign of life
        self.last_beat: Told = {}
        self.is_to_end = False  #: whether it was told to
        self._process = process
        self._accumulator = accumulator
        self._channel = channel
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(
        cls, orders: Orders, ours: socket.socket, accumulator: Accumulator
    ) -> WorkerProcess:
        """Start a process; `ours` is the other end of its channel.  Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gatepost.processes.worker",
            env=orders.in_environment(),
            pass_fds=orders.descriptors,
            stdin=asyncio.subprocess.DEVNULL,
            process_group=0,  # a terminal's Ctrl-C is for the supervisor
        )
        return cls(process, await Channel.over(ours), orders, accumulator)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it takes clients in."""
        return self._ready.done() and not self._ready.cancelled() and not self._ready.exception()

    @property
    def state(self) -> str:
        """What it is doing, in a word or two."""
        if self.is_to_end:
            return "retiring"
        return "at work" if self.is_ready else "starting"

    async def ready(self) -> None:
        """Wait until it takes clients in.  Raises WorkerFailed."""
        try:
            async with asyncio.timeout(STARTING):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise WorkerFailed(f"a worker was not ready within {STARTING:.0f} seconds") from None

    async def ended(self) -> str:
        """Wait for its end; how that came, in words."""
        status = await self._process.wait()
        await self._hearing
        self._accumulator.forget(self.pid)
        if status >= 0:
            return f"status {status}"
        with suppress(ValueError):
            return signal.Signals(-status).name
        return f"signal {-status}"

    def retire(self, seconds: float) -> None:
        """Have it take no more clients in, and end when those that are there have gone."""
        self.is_to_end = True
        self._channel.tell("retire", seconds=seconds)

    def stop(self, grace: float) -> None:
        """Have it end; messages under way have `grace` seconds."""
        self.is_to_end = True
        self._channel.tell("stop", grace=grace)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _hear(self) -> None:
        while (told := await self._channel.hear()) is not None:
            self.heard = time.monotonic()
            match told["say"]:
                case "ready":
                    self._ready.set_result(None)
                case "failed":
                    self._ready.set_exception(WorkerFailed(*told["complaints"]))
                case "beat":
                    self._accumulator.add(self.pid, told.pop("figures"))
                    self.last_beat = told
        if not self._ready.done():
            self._ready.set_exception(WorkerFailed("a worker ended before it was ready"))
        self._ready.exception()  # heard, also where nobody waits for it
        await self._channel.close()
