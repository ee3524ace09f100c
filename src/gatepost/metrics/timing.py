"""How long plugins take on their hooks, with what they wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from gatepost.each import Each
from gatepost.hooks.chain import Method, Observe
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import HOOK_SECONDS
from gatepost.verdict import Accept, Defer, Deny

T = TypeVar("T")
Observer: TypeAlias = Callable[[float], None]

#: What most hooks return that have not waited; to ask whether it can be awaited takes longer.
AT_ONCE = frozenset({type(None), Accept, Deny, Defer, Each, str, tuple, int})


def timing(figures: Figures, clock: Callable[[], float] = perf_counter) -> Observe:
    """What a chain is to put around its plugins' methods, so that their seconds are measured."""

    def around(hook: str, plugin: str, method: Method) -> Method:
        return _timed(method, figures[HOOK_SECONDS].observer(hook, plugin), clock)

    return around


def _timed(method: Method, observe: Observer, clock: Callable[[], float]) -> Method:
    def asked(*arguments: Any) -> Any:
        started = clock()
        waits = False
        try:
            answer = method(*arguments)
            waits = type(answer) not in AT_ONCE and isawaitable(answer)
        finally:
            if not waits:
                observe(clock() - started)
        return _waited(answer, started, observe, clock) if waits else answer

    return asked


async def _waited(
    answer: Awaitable[T], started: float, observe: Observer, clock: Callable[[], float]
) -> T:
    try:
        return await answer
    finally:  # also when its time is over, or the client is gone
        observe(clock() - started)
