"""How long clients stay."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gatepost import Plugin, Session

log = logging.getLogger(__name__)


@dataclass
class ConnectionTime(Plugin):
    """Log how long a session has lasted, and how many messages were begun in it.

    The log has such a line of every session anyway, among the others of the level INFO.  This
    plugin is for those sessions that last too long: with `at_least` it is silent on the others,
    and with `listeners` in its table it watches some doors only.

        at_least = 60

        S: 220 ...
        C: QUIT
        S: 221 ...
    """

    at_least: float = 0.0  #: seconds; sessions that were shorter are not logged
    # Tells the time of day in seconds, as a session's `started` does; no option.
    clock: Callable[[], float] = field(init=False, repr=False, default_factory=lambda: time.time)

    def __post_init__(self) -> None:
        if not self.at_least >= 0:
            raise ValueError(f"option 'at_least' must be 0 or more, not {self.at_least}")

    def disconnect(self, session: Session) -> None:
        seconds = max(0.0, self.clock() - session.started)  # the time of day may be set back
        if seconds >= self.at_least:
            log.info(
                "%s %s stayed for %.2f s, messages: %d",
                session.id, session.client, seconds, session.messages,
            )  # fmt: skip
