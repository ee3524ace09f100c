"""Settling: what comes of a plugin's answer that takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from gatepost.hooks.turn import Turn

T = TypeVar("T")

#: Seconds that a hook has to come to its end when its time is over, before it is left behind.
FAREWELL = 1.0


async def settled(turn: Turn, answer: Any) -> Any:
    """What comes of an answer that takes time, within the plugin's time-out.

    A conversation runs outside a task, so that one that never waits costs none; a hook that does
    wait gets a task of its own, as asyncio and many libraries need one to work.
    """
    if not isawaitable(answer):
        return answer
    loop = asyncio.get_running_loop()
    task = loop.create_task(_within(turn.timeout, answer))
    ended = loop.create_future()
    task.add_done_callback(partial(_end, ended))
    at_the_latest = loop.call_later(turn.timeout + FAREWELL, _end, ended)
    try:
        await ended
        if not task.done():
            raise TimeoutError(f"{turn.name} goes on although it was cancelled")
        if task.cancelled():  # by the plugin itself: that must not take the connection along
            raise RuntimeError(f"{turn.name} cancelled itself")
        return task.result()
    finally:
        at_the_latest.cancel()
        task.cancel()  # where the conversation was given up meanwhile


def _end(ended: asyncio.Future[None], _: object = None) -> None:
    if not ended.done():
        ended.set_result(None)


async def _within(seconds: float, answer: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except SystemExit as error:  # which would end the event loop, too
        raise RuntimeError(f"a plugin must not exit: {error!r}") from error
