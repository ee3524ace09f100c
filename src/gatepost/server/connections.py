"""Connections: all that are open here; who may come in, who has been silent for too long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from gatepost.limits import Limits
from gatepost.reply import Reply
from gatepost.server.outbox import Outbox
from gatepost.server.tally import Tally
from gatepost.server.waiting_room import WaitingRoom

#: Seconds between two looks at the clocks of all connections.
SWEEP_INTERVAL = 1.0

SHUTTING_DOWN = Reply(421, "4.3.2", "The server is going down", final=True)
TOO_MANY = Reply(421, "4.7.0", "Too many connections", final=True, limit="connections")
TOO_MANY_FROM_YOU = Reply(
    421,
    "4.7.0",
    "Too many connections from your address",
    final=True,
    limit="connections_per_address",
)
TOO_OFTEN = Reply(421, "4.7.0", "You connect too often", final=True, limit="connection_rate")

#: What all connections are counted under.
_ALL = "connections"


class Timed(Protocol):
    """What the clock is held against."""

    def expire(self, now: float) -> None:
        """Hang up if it is time to."""

    def drain(self) -> None:
        """Say goodbye as soon as no message is under way."""

    def abort(self) -> None:
        """Hang up at once."""


class Connections:
    """The open connections of one process; how many there may be is counted with the others.

    One look at all of them each second costs less than a timer for each, in time and in memory.
    """

    def __init__(
        self,
        limits: Limits,
        outbox: Outbox | None = None,
        tally: Tally | None = None,
        *,
        waiting_room: WaitingRoom | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.taken = 0  #: connections that were let in so far
        self.tally = tally or Tally.private()  #: what is counted with other processes
        self._clock = clock
        self.outbox = outbox or Outbox()  #: through which their replies go
        self.waiting_room = waiting_room or WaitingRoom()  #: for those that have had their share
        self.admits = True  #: whether anybody is let in at all
        self._limits = limits
        self._open: dict[Timed, str] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Timed]:
        return iter(tuple(self._open))

    def admit(self, connection: Timed, address: str) -> Reply | None:
        """Let a client in, or say why not; `address` is empty for Unix sockets."""
        if not self.admits:
            return SHUTTING_DOWN
        limits, tally = self._limits, self.tally
        network = limits.network_of(address) if address else ""
        if network and limits.connection_rate and self._comes_too_often(network):
            return TOO_OFTEN
        if tally.raise_(_ALL) > limits.connections:
            tally.lower(_ALL)
            return TOO_MANY
        if network and tally.raise_(network) > limits.connections_per_address:
            tally.lower(network)
            tally.lower(_ALL)
            return TOO_MANY_FROM_YOU
        self._open[connection] = network
        self.taken += 1
        self._empty.clear()
        return None

    def leave(self, connection: Timed) -> None:
        """Forget a connection; harmless for one that was never admitted."""
        network = self._open.pop(connection, None)
        if network is not None:
            self.tally.lower(_ALL)
            if network:
                self.tally.lower(network)
            if not self._open:
                self._empty.set()

    async def emptied(self) -> None:
        """Wait until the last connection is gone."""
        await self._empty.wait()

    def sweep(self, now: float) -> None:
        """Hang up on those whose time is over; `now` is in seconds of the event loop's clock."""
        for connection in self:
            connection.expire(now)

    def drain(self) -> None:
        """Ask all to leave when their message is done, and let nobody in any more."""
        self.admits = False
        for connection in self:
            connection.drain()

    def abort(self) -> None:
        """Hang up on all."""
        for connection in self:
            connection.abort()

    def _comes_too_often(self, network: str) -> bool:
        minute = int(self._clock() // 60)
        return self.tally.raise_(f"{minute} {network}", 120) > self._limits.connection_rate
