"""WaitingRoom: connections that have had their share for now, and wait for more."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

#: How many go on between two looks at who else has come or spoken.  uvloop takes in one client at
#: each look, so that it must come soon.
MOST = 2
#: Octets that come at a time after which others have their turn.  uvloop reads up to 8 MB from one
#: socket without a look at the others, as long as its buffer of 256,000 octets is filled.
SHARE = 131_072


class Waiting(Protocol):
    """A connection that has more to be done."""

    def next_share(self) -> None:
        """Do some of it."""


def _in_the_next_turn(let_in: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(let_in)


class WaitingRoom:
    """Lets a few of those who wait go on in each turn of the event loop, first come first served.

    Whoever asks for little at a time is never here, and is answered at once.  So a thousand clients
    that ask without end, send as fast as they can or begin TLS, which takes a millisecond of a
    processor each time, hold each other up and nobody else.
    """

    __slots__ = ("_soon", "_waiting")

    def __init__(self, soon: Callable[[Callable[[], None]], None] = _in_the_next_turn) -> None:
        self._soon = soon
        self._waiting: OrderedDict[Waiting, None] = OrderedDict()

    def add(self, connection: Waiting) -> None:
        """Let a connection wait behind the others, if it does not wait already."""
        is_first = not self._waiting
        self._waiting.setdefault(connection)
        if is_first:
            self._soon(self._let_some_go_on)

    def _let_some_go_on(self) -> None:
        number = min(MOST, len(self._waiting))
        first = [self._waiting.popitem(last=False)[0] for _ in range(number)]
        if self._waiting:
            self._soon(self._let_some_go_on)
        for connection in first:
            connection.next_share()
