"""New clients while the machine has enough to do with those that it has."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatepost import Defer, Plugin, Session, Site

log = logging.getLogger(__name__)

#: Seconds between two looks at the machine.
LOOK_EVERY = 1.0

_BUSY = Defer("Too busy now", status="4.3.2")
_WORDS = {
    "load": "the load average is {:.1f}",
    "memory": "{:.0f} percent of the memory is in use",
    "lag": "the server is {:.2f} seconds late",
}


def load_average() -> float:
    """How many programs want a processor, on an average over the last minute.  Raises OSError."""
    return os.getloadavg()[0]


def memory_in_use(path: Path = Path("/proc/meminfo")) -> float:
    """Percent of the memory that a new program could not have (proc(5), `MemAvailable`).

    Raises OSError where there is no such file, as on systems other than Linux.
    """
    lines = (line.partition(":") for line in path.read_text(encoding="ascii").splitlines())
    sizes = {name: text.split() for name, _, text in lines}
    return 100 - 100 * int(sizes["MemAvailable"][0]) / int(sizes["MemTotal"][0])


def _gauges() -> dict[str, Callable[[], float]]:
    return {"load": load_average, "memory": memory_in_use}


@dataclass
class LoadCheck(Plugin):
    """Defer new clients while the load, the memory in use or the server's own lag is too high.

    Those that are here already are served to the end, and the others come back later.  The machine
    is looked at once a second, so that a client costs nothing.  What cannot be measured any more
    counts as too much: often there are no file descriptors left.

    The lag is how late the server comes to do what it had planned for a certain moment; a plugin
    that blocks shows in it before anything else.  The memory is that of the whole machine, and can
    be had on Linux only; inside a container that is allowed less, limit the others.

        lag = 2

        S: 220 ...

    Every machine is over a limit of 0, which shows what a client hears then:

        memory = 0

        C: EHLO client.example
        S: 421 4.3.2 Too busy now
        S: <closed>
    """

    load: float | None = None  #: the load average of the last minute, of all processors together
    memory: float | None = None  #: percent of the memory that is in use, 0 to 100
    lag: float | None = None  #: seconds that the server is late with its own work
    # What measures; no options.
    gauges: Mapping[str, Callable[[], float]] = field(
        init=False, repr=False, default_factory=_gauges
    )
    clock: Callable[[], float] = field(
        init=False, repr=False, default_factory=lambda: time.monotonic
    )

    def __post_init__(self) -> None:
        limits = {"load": self.load, "memory": self.memory, "lag": self.lag}
        self._limits = {name: limit for name, limit in limits.items() if limit is not None}
        if not self._limits:
            raise ValueError("nothing is limited: set 'load', 'memory' or 'lag'")
        for name, limit in self._limits.items():
            if not limit >= 0:
                raise ValueError(f"option {name!r} must be 0 or more, not {limit}")
        if self.memory is not None and self.memory > 100:
            raise ValueError(f"option 'memory' must be from 0 to 100, not {self.memory}")
        self._trouble = ""  # what is too much at the moment
        self._timer: asyncio.TimerHandle | None = None

    def startup(self, site: Site) -> None:
        self._judge(self._measured(0.0))  # what cannot be measured at all shows at once
        self._look_later()

    def shutdown(self, site: Site) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def connect(self, session: Session) -> Defer | None:
        if not self._trouble:
            return None
        session.found("load_check", "fail", self._trouble)
        return _BUSY

    def _look_later(self) -> None:
        # The loop's own clock may stand still while it works, as that of uvloop does.
        due = self.clock() + LOOK_EVERY
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look, due)

    def _look(self, due: float) -> None:
        late = self.clock() - due
        self._look_later()
        try:
            trouble = self._measured(late)
        except OSError as error:
            trouble = f"it cannot be measured: {error}"
        self._judge(trouble)

    def _measured(self, late: float) -> str:
        """What is over its limit, in words; empty: nothing is."""
        told: list[str] = []
        for name, limit in self._limits.items():
            value = late if name == "lag" else self.gauges[name]()
            if value > limit:
                told.append(f"{_WORDS[name].format(value)}, the limit is {limit:g}")
        return "; ".join(told)

    def _judge(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("new clients are deferred: %s", trouble)
        elif self._trouble and not trouble:
            log.warning("new clients are welcome again")
        self._trouble = trouble
