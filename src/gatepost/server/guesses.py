"""Guesses: who has failed to authenticate of late, so that each further guess takes longer."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds for which a failure is remembered.
MEMORY = 900.0
#: Addresses and accounts that are remembered; the oldest give way.
MOST = 10_000
#: Seconds that the first failure has to wait for its answer; each further one doubles them.
FIRST_DELAY = 0.5
LONGEST_DELAY = 16.0


class Guesses:
    """Counts failures by address and by account.

    Only a failure waits for its answer: whoever knows the password is not slowed down by those who
    guess at it.
    """

    __slots__ = ("_clock", "_failures")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}  # the oldest first

    def count(self, address: str, account: str) -> float:
        """Count a failure; the seconds that its answer is to wait."""
        number = max(self._one_more("address", address), self._one_more("account", account))
        return min(FIRST_DELAY * float(2 ** min(number - 1, 10)), LONGEST_DELAY)

    def _one_more(self, kind: str, name: str) -> int:
        if not name:
            return 1
        now = self._clock()
        number, last = self._failures.pop((kind, name), (0, now))
        number = 1 if now - last > MEMORY else number + 1
        while len(self._failures) >= MOST:
            del self._failures[next(iter(self._failures))]
        self._failures[kind, name] = (number, now)
        return number
