"""Service: a gate that serves until it is told to stop."""

from __future__ import annotations

import asyncio

from gatepost.app import Gate


class Service:
    """The end of a gate that has been started: what leads to it, and how it goes."""

    def __init__(self, gate: Gate) -> None:
        self.over = asyncio.Event()  #: everybody is gone, and the plugins know
        self._gate = gate
        self._is_stopping = False
        self._leaving: asyncio.Task[None] | None = None

    def retire(self, seconds: float, *, grace: float) -> None:
        """Take no more clients in; stop when the last has gone, or after so many seconds."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._retire(seconds, grace))

    def stop(self, grace: float) -> None:
        """Send all away; messages under way have `grace` seconds.

        Who is stopping already and is given none hangs up at once.
        """
        if self._is_stopping:
            if not grace:
                self._gate.connections.abort()
            return
        if self._leaving is not None:
            self._leaving.cancel()
        self._leaving = asyncio.create_task(self._stop(grace))

    async def _retire(self, seconds: float, grace: float) -> None:
        await self._gate.retire(seconds)
        await self._stop(grace)

    async def _stop(self, grace: float) -> None:
        self._is_stopping = True
        try:
            await self._gate.stop(grace)
        finally:
            self.over.set()
