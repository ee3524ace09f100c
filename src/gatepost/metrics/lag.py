"""Lag: how late the event loop is, which shows what blocks it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gatepost.metrics.figures import Figures
from gatepost.metrics.table import LAG, LONGEST_LAG

#: Seconds between two looks.
LOOK_EVERY = 0.25
#: Seconds for which the longest lag is told.
REMEMBERED = 60.0


class Lag:
    """Plans something for a certain moment, and sees when the event loop comes to it.

    A loop that is late for longer than the time between two looks is seen once.
    """

    def __init__(
        self,
        figures: Figures,
        *,
        every: float = LOOK_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observe = figures[LAG].observer()
        self._longest = figures[LONGEST_LAG]
        self._recent: deque[float] = deque(maxlen=max(1, round(REMEMBERED / every)))
        self._every = every
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look, in the loop that runs."""
        # The loop's own clock may stand still while it works, as that of uvloop does.
        due = self._clock() + self._every
        self._timer = asyncio.get_running_loop().call_later(self._every, self._look, due)

    def stop(self) -> None:
        """Look no more; harmless where nothing was begun."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, due: float) -> None:
        late = max(0.0, self._clock() - due)
        self._observe(late)
        self._recent.append(late)
        self._longest.set(max(self._recent))
        self.start()
