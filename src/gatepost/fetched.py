"""Fetched: what stands elsewhere, kept for a while."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fetched(Generic[T]):
    """What stands elsewhere: fetched when somebody needs it, by one for all who wait.

    It is good for `lasts` seconds.  Whoever misses something in it may ask for it afresh, and gets
    what was fetched `rests` seconds ago at most: nobody can make us fetch more often than that.
    When to fetch fails, which is an OSError, it fails for all who ask within `retry` seconds.
    """

    __slots__ = ("_clock", "_failed", "_fetch", "_fetched", "_lasts", "_rests", "_retry", "_turn",
                 "_value")  # fmt: skip
    _value: T

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        *,
        lasts: float,
        rests: float,
        retry: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._lasts = lasts
        self._rests = rests
        self._retry = retry
        self._clock = clock
        self._fetched = self._failed = -math.inf
        self._turn = asyncio.Lock()

    async def current(self, *, afresh: bool = False) -> T:
        """What stands there, as far as we know.  Raises OSError."""
        good_for = self._rests if afresh else self._lasts
        if self._clock() - self._fetched >= good_for:
            async with self._turn:
                if self._clock() - self._fetched >= good_for:  # nobody has fetched it meanwhile
                    await self._renew()
        return self._value

    async def _renew(self) -> None:
        if self._clock() - self._failed < self._retry:
            raise ConnectionError("to ask for it has failed a moment ago")
        try:
            self._value = await self._fetch()
        except OSError:
            self._failed = self._clock()
            raise
        self._fetched = self._clock()
