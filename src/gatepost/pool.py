"""Pool: a few threads for work that blocks, and a bounded queue before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Event
from typing import TypeVar, cast

T = TypeVar("T")


class PoolBusy(Exception):
    """Too much work waits already."""


class Pool:
    """Runs functions in `threads` threads of its own; up to `waiting` more wait for their turn.

    What is beyond that is turned away with PoolBusy: whoever can make the server work must not be
    able to make it work without end.  Threads are started when there is work.
    """

    def __init__(self, threads: int, *, waiting: int = 100) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="gatepost-pool")
        self._most = threads + waiting
        self._under_way = 0

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """What a function returns, or raises, in a thread.  Raises PoolBusy.

        When the caller gives up, work that has begun goes on to its end, and counts until then;
        what has not begun is not begun any more, but counts until its turn would have come.
        """
        if self._under_way >= self._most:
            raise PoolBusy(f"{self._under_way} pieces of work are under way or wait")
        loop = asyncio.get_running_loop()
        self._under_way += 1
        run = copy_context().run  # so that what it logs is known as the caller's
        given_up = Event()
        future = loop.run_in_executor(self._executor, run, _unless, given_up, function, arguments)
        future.add_done_callback(self._count_off)
        try:
            return await asyncio.shield(future)
        finally:
            given_up.set()

    def close(self) -> None:
        """Start no more work; what has begun goes on, and nobody waits for it."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _count_off(self, future: asyncio.Future[T]) -> None:
        self._under_way -= 1
        if not future.cancelled():
            future.exception()  # heard, also where nobody waits any more


def _unless(given_up: Event, function: Callable[..., T], arguments: tuple[object, ...]) -> T:
    """What the function returns; nobody looks at it where the caller has given up."""
    return cast(T, None) if given_up.is_set() else function(*arguments)
