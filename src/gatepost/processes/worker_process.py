"""WorkerProcess: a worker as its supervisor sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from gatepost.metrics.snapshots import Accumulator
from gatepost.processes.channel import Channel, Told
from gatepost.processes.orders import Orders

#: Whether what lies about in the current directory is imported, as `python -m` has it.
_IS_OPEN = not {"", os.getcwd()}.isdisjoint(sys.path)
#: What a worker runs, which imports from where we do.
PROGRAM: Final = (
    sys.executable, *(() if _IS_OPEN else ("-P",)), "-m", "gatepost.processes.worker",
)  # fmt: skip

#: How a worker ends that was told to.
WELL: Final = "status 0"
#: Seconds in which the last words of a worker are heard that has ended.
LAST_WORDS = 2.0


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
        region: int,
        accumulator: Accumulator,
    ) -> None:
        self.region = region  #: of the memory that all share
        self.started = time.time()  #: seconds since 1970
        self.silent_looks = 0  #: how often it was looked at since its last sign of life
        self.last_beat: Told = {}
        self.is_to_end = False  #: whether it was told to
        self._begun = time.monotonic()
        self._process = process
        self._accumulator = accumulator
        self._channel = channel
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(
        cls,
        orders: Orders,
        channel: Channel,
        accumulator: Accumulator,
        *,
        program: Sequence[str] = PROGRAM,
    ) -> WorkerProcess:
        """Start a process, to which `channel` leads.  Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *program,
            env=orders.in_environment(),
            pass_fds=orders.descriptors,
            stdin=asyncio.subprocess.DEVNULL,
            process_group=0,  # a terminal's Ctrl-C is for the supervisor
        )
        return cls(process, channel, orders.region, accumulator)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def age(self) -> float:
        """For how many seconds it has been there."""
        return time.monotonic() - self._begun

    @property
    def is_ready(self) -> bool:
        """Whether it takes clients in."""
        return self._ready.done() and not self._ready.exception()

    @property
    def state(self) -> str:
        """What it is doing, in a word or two."""
        if self.is_to_end:
            return "retiring"
        return "at work" if self.is_ready else "starting"

    async def ready(self, within: float) -> None:
        """Wait until it takes clients in, so many seconds at most.  Raises WorkerFailed."""
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise WorkerFailed(f"a worker was not ready within {within:g} seconds") from None

    async def ended(self) -> str:
        """Wait for its end; how that came, in words."""
        status = await self._process.wait()
        # What it has started itself may have kept the other end of the channel open.
        await asyncio.wait((self._hearing,), timeout=LAST_WORDS)
        self._hearing.cancel()
        self._channel.abort()
        self._accumulator.forget(self.pid)
        if status >= 0:
            return f"status {status}"
        with suppress(ValueError):
            return signal.Signals(-status).name
        return f"signal {-status}"

    def retire(self, seconds: float, *, grace: float) -> None:
        """Have it take no more clients in, and end when those that are there have gone.

        After so many seconds it is to stop, with its grace.
        """
        self.is_to_end = True
        self._channel.tell("retire", seconds=seconds, grace=grace)

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
            self.silent_looks = 0
            match told:
                case {"say": "ready"}:
                    self._ready.set_result(None)
                case {"say": "failed", "complaints": complaints}:
                    self._ready.set_exception(WorkerFailed(*complaints))
                case {"say": "beat", "figures": figures}:
                    self._accumulator.add(self.pid, figures)
                    self.last_beat = {key: told[key] for key in told if key != "figures"}
        if not self._ready.done():
            self._ready.set_exception(WorkerFailed("a worker ended before it was ready"))
        self._ready.exception()  # heard, also where nobody waits for it
