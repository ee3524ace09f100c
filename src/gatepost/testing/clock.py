"""A clock that does not make anybody wait, for plugins that do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, but skip the time in which nothing can happen.

    A plugin that sleeps for ten seconds is through at once, and a time-out of thirty strikes at
    once where nothing else can come.  From when a thread, a program or a socket takes part, time
    goes on as it does outside.
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(coroutine)


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but sockets; the clock alone is put forward."""

    skipped = 0.0  #: seconds
    real = False  #: whether something goes on outside of which the selector knows nothing

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # The one file that is always there is the loop's own, by which threads wake it.
        if timeout is None or timeout <= 0 or self.real or len(self.get_map()) > 1:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.skipped += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock is the selector's."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return super().time() + self._clock.skipped

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self._clock.real = True
        return super().run_in_executor(executor, func, *args)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        self._clock.real = True
        return await super().subprocess_exec(*args, **kwargs)
