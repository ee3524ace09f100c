"""What the snapshots of several processes come to together, also when some of them are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gatepost.metrics.figures import Snapshot
from gatepost.metrics.table import TABLE, Across

_JOINED: dict[Across, Callable[[float, float], float]] = {
    "sum": lambda one, other: one + other,
    "max": max,
    "min": min,
}


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """One snapshot of all: counters and histograms in sum, gauges as the table says.

    What a process of another version tells of figures that are not known here is left out.
    """
    total: Snapshot = {figure.name: {} for figure in TABLE}
    for snapshot in snapshots:
        for figure in TABLE:
            values, join = total[figure.name], _JOINED[figure.across]
            for labels, numbers in snapshot.get(figure.name, {}).items():
                if len(numbers) != figure.width:
                    continue
                before = values.get(labels)
                values[labels] = list(map(join, before, numbers)) if before else list(numbers)
    return total


class Accumulator:
    """The figures of all processes that there are and were: no counter ever goes backwards.

    An id is that of one process; the one that takes its place gets another.
    """

    def __init__(self) -> None:
        self._gone = merged(())
        self._last: dict[int | str, Snapshot] = {}

    def add(self, worker: int | str, snapshot: Snapshot) -> None:
        """Take what a process tells now, in the place of what it told before."""
        self._last[worker] = snapshot

    def forget(self, worker: int | str) -> None:
        """A process is gone: what it has counted stays, and its gauges go with it."""
        last = self._last.pop(worker, {})
        counts = {f.name: last[f.name] for f in TABLE if f.kind != "gauge" and f.name in last}
        self._gone = merged((self._gone, counts))

    def total(self) -> Snapshot:
        """The figures of all together."""
        return merged((self._gone, *self._last.values()))
