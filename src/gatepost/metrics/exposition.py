"""The text that Prometheus reads: the exposition format 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gatepost.metrics.figures import Snapshot
from gatepost.metrics.table import TABLE, Figure

#: What the text is called in HTTP.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SPECIAL = {math.inf: "+Inf", -math.inf: "-Inf"}


def exposition(snapshot: Snapshot) -> str:
    """The figures of a snapshot, with their types and what they mean."""
    return "".join(
        f"{line}\n" for figure in TABLE for line in _family(figure, snapshot.get(figure.name, {}))
    )


def _family(figure: Figure, values: dict[str, list[float]]) -> Iterator[str]:
    yield f"# HELP {figure.name} {figure.help}"
    yield f"# TYPE {figure.name} {figure.kind}"
    for labels, numbers in sorted(values.items()):
        if figure.kind == "histogram":
            yield from _histogram(figure, labels, numbers)
        else:
            yield _sample(figure.name, labels, numbers[0])


def _histogram(figure: Figure, labels: str, numbers: list[float]) -> Iterator[str]:
    *buckets, total = numbers
    count: float = 0
    for bound, number in zip((*figure.bounds, math.inf), buckets, strict=True):
        count += number
        bucket = f'le="{_number(float(bound))}"'
        yield _sample(f"{figure.name}_bucket", f"{labels},{bucket}" if labels else bucket, count)
    yield _sample(f"{figure.name}_sum", labels, total)
    yield _sample(f"{figure.name}_count", labels, count)


def _sample(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {_number(value)}" if labels else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return _SPECIAL.get(value) or repr(value)
