"""Pages: where the figures and the state of health of a whole server can be fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Protocol

from gatepost.metrics.exposition import exposition
from gatepost.metrics.snapshots import Accumulator


class _Site(Protocol):
    """One address where they are served."""

    async def close(self) -> None:
        """Answer no more."""


class Pages:
    """Serves the pages at one address, or at none."""

    def __init__(self, accumulator: Accumulator, *, ready: Callable[[], bool]) -> None:
        self._accumulator = accumulator
        self._ready = ready
        self._address = ""
        self._site: _Site | None = None

    @asynccontextmanager
    async def moving(self, address: str) -> AsyncIterator[None]:
        """Serve at another address from now on, if what is done meanwhile succeeds.

        An empty address is none.  Raises OSError where it cannot be had.
        """
        if address == self._address:
            yield
            return
        async with AsyncExitStack() as unless_done:
            site = await self._opened(address) if address else None
            if site is not None:
                unless_done.push_async_callback(site.close)
            yield
            unless_done.pop_all()
        former, self._address, self._site = self._site, address, site
        if former is not None:
            await former.close()

    async def close(self) -> None:
        """Answer no more."""
        if self._site is not None:
            await self._site.close()
        self._address, self._site = "", None

    async def _opened(self, address: str) -> _Site:
        web = import_module("gatepost.metrics.web")  # aiohttp is there only where it is wanted
        site: _Site = await web.start_site(
            address,
            metrics=lambda: exposition(self._accumulator.total()),
            healthy=lambda: True,  # who could not answer would not
            ready=self._ready,
        )
        return site
