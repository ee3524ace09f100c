"""The event loop that a server runs in: uvloop's where there is one, it takes half the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec


def event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop, for `asyncio.Runner`."""
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop
    from uvloop import new_event_loop  # it is not built for every system

    return new_event_loop
