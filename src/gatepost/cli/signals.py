"""The signals that end a server: the first one asks, the second one insists."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Waits for SIGINT and SIGTERM; made inside the event loop that is to hear them.

    From the second signal on they do again what they do in any program, so that a third one ends
    a server which something keeps from ending.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        if not self.asked.is_set():
            self.asked.set()
            return
        self.insisted.set()
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.remove_signal_handler(number)


async def unless(event: asyncio.Event, coroutine: Coroutine[Any, Any, None]) -> bool:
    """Run a coroutine, but cancel it when the event comes first; whether it came to its end.

    Raises what the coroutine raises.
    """
    task = asyncio.ensure_future(coroutine)
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
        return True
    task.cancel()
    await asyncio.wait((task,))
    return False
