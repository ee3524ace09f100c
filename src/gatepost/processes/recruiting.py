"""Recruiting: what new workers are given, and what those that have gone leave behind."""

from __future__ import annotations

import errno
import mmap
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gatepost.metrics.snapshots import Accumulator
from gatepost.processes.channel import Channel
from gatepost.processes.orders import Orders, text_in_memory
from gatepost.processes.worker_process import PROGRAM, WorkerProcess
from gatepost.server.tally import REGIONS, Tally, shared_memory


class Recruiting:
    """Starts workers, each with a part of the memory that all share to count together."""

    def __init__(
        self, config_file: Path, *, seed: str, quiet: bool, program: Sequence[str] = PROGRAM
    ) -> None:
        self.accumulator = Accumulator()  #: the figures of all that there are and were
        self._path = str(config_file.absolute())
        self._seed = seed
        self._quiet = quiet
        self._program = program
        self._tally = shared_memory()
        self._memory = mmap.mmap(self._tally, 0)
        self._free = set(range(REGIONS))

    async def new_worker(self, text: str, sockets: Sequence[socket.socket]) -> WorkerProcess:
        """Start a worker with the text of a configuration.  Raises OSError."""
        if not self._free:
            raise OSError(errno.EAGAIN, f"no more than {REGIONS} workers can run at a time")
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as undoing:
            undoing.callback(ours.close)
            channel = await Channel.over(ours)
            undoing.callback(channel.abort)
            region = self._enter()
            undoing.callback(self._leave, region)
            worker = await self._started(text, sockets, channel, theirs.fileno(), region)
            undoing.pop_all()
            return worker

    def gone(self, worker: WorkerProcess) -> None:
        """A worker has ended: what it had counted counts no more."""
        self._leave(worker.region)

    def close(self) -> None:
        """No more workers are wanted, and none is left."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self._tally)

    async def _started(
        self,
        text: str,
        sockets: Sequence[socket.socket],
        channel: Channel,
        their_end: int,
        region: int,
    ) -> WorkerProcess:
        configuration = text_in_memory(text)
        orders = Orders(
            path=self._path,
            text=configuration,
            sockets=tuple(one.fileno() for one in sockets),
            channel=their_end,
            tally=self._tally,
            region=region,
            seed=self._seed,
            quiet=self._quiet,
        )
        try:
            return await WorkerProcess.start(
                orders, channel, self.accumulator, program=self._program
            )
        finally:
            os.close(configuration)

    def _enter(self) -> int:
        region = min(self._free)
        self._free.discard(region)
        Tally(self._memory, region).enter()
        return region

    def _leave(self, region: int) -> None:
        if not self._memory.closed:
            Tally(self._memory, region).leave()
            self._free.add(region)
