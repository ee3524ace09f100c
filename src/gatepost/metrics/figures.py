"""Figures: the counts and measurements of one process, as plain numbers."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import TypeAlias

from gatepost.metrics.table import STARTED, TABLE, WORKERS, Figure

#: The numbers of all figures at one moment, fit for JSON: by the figure's name, then by its labels
#: as Prometheus will have them (`listener="mx"`).  A value is one number, or those of a histogram:
#: how many fell into each bucket, and their sum.
Snapshot: TypeAlias = dict[str, dict[str, list[float]]]

#: Values that one figure has room for; what comes beyond them is counted together.
MOST_VALUES = 1000
#: What all labels are of what is counted together.
OTHER = "other"

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Values:
    """The values of one figure, by its labels."""

    __slots__ = ("_figure", "_names", "_numbers")

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        self._numbers: dict[tuple[str, ...], list[float]] = {}
        self._names: dict[tuple[str, ...], str] = {}  # of the labels, as Prometheus has them
        if not figure.labels:
            self._begin(())

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one more, or several."""
        try:
            self._numbers[labels][0] += by
        except KeyError:
            self._begin(labels)[0] += by

    def set(self, value: float, *labels: str) -> None:
        """Put a value in the place of the one before."""
        self._begin(labels)[0] = value

    def observer(self, *labels: str) -> Callable[[float], None]:
        """What takes the measurements of a histogram, for one set of labels."""
        numbers, bounds = self._begin(labels), self._figure.bounds
        lowest = bounds[0]

        def observe(value: float) -> None:
            # Most measurements of what takes no time at all fall into the first bucket.
            numbers[0 if value <= lowest else bisect_left(bounds, value)] += 1
            numbers[-1] += value

        return observe

    def snapshot(self) -> dict[str, list[float]]:
        """All values, by their labels as Prometheus has them."""
        return {self._names[labels]: list(numbers) for labels, numbers in self._numbers.items()}

    def _begin(self, labels: tuple[str, ...]) -> list[float]:
        """The numbers of some labels, which may be new."""
        if labels not in self._numbers:
            if len(self._numbers) >= MOST_VALUES:
                labels = (OTHER,) * len(self._figure.labels)
            pairs = zip(self._figure.labels, labels, strict=True)
            self._names[labels] = ",".join(f'{name}="{_escaped(text)}"' for name, text in pairs)
        return self._numbers.setdefault(labels, [0] * self._figure.width)


class Figures:
    """Counts and measures for one process: `figures[MESSAGES].add("mx", "accepted")`."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._values = {figure: Values(figure) for figure in TABLE}
        self._gauges: dict[Figure, Callable[[], float]] = {}
        self[WORKERS].set(1)
        self[STARTED].set(clock())

    def __getitem__(self, figure: Figure) -> Values:
        return self._values[figure]

    def watch(self, gauge: Figure, read: Callable[[], float]) -> None:
        """Read a gauge without labels anew for each snapshot; an OSError leaves it as it was."""
        self._gauges[gauge] = read

    def snapshot(self) -> Snapshot:
        """All numbers as they are now; they do not change afterwards."""
        for gauge, read in self._gauges.items():
            try:
                self[gauge].set(read())
            except OSError:  # often there are no file descriptors left
                continue
        return {figure.name: values.snapshot() for figure, values in self._values.items()}


def _escaped(text: str) -> str:
    """A label's value as it stands between quotation marks; what is no UTF-8 is spelled out."""
    return text.encode(errors="backslashreplace").decode().translate(_ESCAPED)
