"""Stay: how long a client may be there, and for how long it may be silent meanwhile."""

from __future__ import annotations

import math

from gatepost.limits import Limits

#: Octets of a message that must arrive within `limits.data_timeout`.
PROGRESS = 65_536


class Stay:
    """The clock that is held against one client; moments are in seconds of one clock."""

    __slots__ = ("_deadline", "_end", "_headway", "_limits", "_moved", "heard", "overstays")

    def __init__(self, limits: Limits) -> None:
        self.heard = 0  #: octets that it has said, without those of TLS itself
        self.overstays = False  #: that it may be there was over when it was last looked at
        self._limits = limits
        self._deadline = math.inf  #: when it has been silent for too long
        self._end = math.inf
        self._moved = False  #: something was said since the clock was looked at
        self._headway = PROGRESS  #: whoever has said so many is not silent

    def begin(self, now: float) -> None:
        """The client was let in."""
        self._end = now + self._limits.session_timeout

    def move(self) -> None:
        """Something was said, by the one or the other: the next silence begins."""
        self._moved = True

    def receive(self, octets: int, *, receiving: bool) -> None:
        """Some octets have come; `receiving` means that they are of a message."""
        self.heard += octets
        if receiving and self.heard >= self._headway:
            self._moved = True

    def await_until(self, moment: float) -> None:
        """Something is to happen until then, whatever is said meanwhile."""
        self._deadline = moment

    def is_late(self, now: float) -> bool:
        """Whether that has not happened in time."""
        return now >= self._deadline

    def limit_at(self, now: float, *, receiving: bool) -> str:
        """The limit that is reached at a moment, at which the clock is looked at; empty: none."""
        limit = "data_timeout" if receiving else "command_timeout"
        if self._moved:
            self._moved, self._headway = False, self.heard + PROGRESS
            self._deadline = now + float(getattr(self._limits, limit))
        self.overstays = now >= self._end
        if self.overstays:
            return "session_timeout"
        return limit if now >= self._deadline else ""
