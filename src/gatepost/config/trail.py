"""The table [trail]: where the decisions of recent sessions are kept, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gatepost.config.complaints import Complaints
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import Complaint, fill

#: Octets below which a file would hold next to nothing.
LEAST_SIZE = 1_000_000

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_OCTETS = {"kB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
# Both are bounded, so that no figure grows beyond what SQLite and the calendar can count.
_DURATION = re.compile(rf"(?P<count>[0-9]{{1,6}}) (?P<unit>{'|'.join(_SECONDS)})(?P<plural>s?)")
_SIZE = re.compile(rf"(?P<count>[0-9]{{1,6}}) (?P<unit>{'|'.join(_OCTETS)})")


def seconds_of(text: str) -> int:
    """The seconds of a duration in words: `7 days`, `12 hours`, `30 minutes`.

    Raises ValueError for anything else, `0 days` and `1 days` included.
    """
    match = _DURATION.fullmatch(text)
    count = int(match["count"]) if match else 0
    if match is None or count == 0 or (count == 1) != (match["plural"] == ""):
        raise ValueError(f"must be a duration like '7 days' or '30 minutes', not {text!r}")
    return count * _SECONDS[match["unit"]]


def octets_of(text: str) -> int:
    """The octets of a size in words: `500 MB`, `2 GB`; a kB is 1000 of them.

    Raises ValueError for anything else.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a size like '500 MB' or '2 GB', not {text!r}")
    return int(match["count"]) * _OCTETS[match["unit"]]


@dataclass(frozen=True, slots=True)
class TrailSettings:
    """The table [trail].  Raises ValueError, naming an option, for what is no duration or size."""

    #: the file in which `gatepost why` looks, a path; left out or empty: nothing is kept
    path: Path | None = None
    keep: str = "7 days"  #: what is older is forgotten: a number of minutes, hours, days or weeks
    #: the oldest is forgotten when the file would be larger: a number of MB or GB
    size: str = "500 MB"

    def __post_init__(self) -> None:
        for option, fault in self._faults():
            raise ValueError(f"option {option!r} {fault}")

    @property
    def seconds(self) -> int:
        """How long something is kept."""
        return seconds_of(self.keep)

    @property
    def octets(self) -> int:
        """How large the file may become."""
        return octets_of(self.size)

    def _faults(self) -> Iterator[tuple[str, str]]:
        try:
            seconds_of(self.keep)
        except ValueError as error:
            yield "keep", str(error)
        try:
            if octets_of(self.size) < LEAST_SIZE:
                yield "size", f"must be '1 MB' or more, not {self.size!r}"
        except ValueError as error:
            yield "size", str(error)


def read_trail(
    table: Mapping[str, object], directory: Path, complaints: Complaints
) -> TrailSettings:
    """The table [trail]; that of no configuration at all when there are complaints.

    A relative path starts at `directory`.
    """
    told = {key: value for key, value in table.items() if (key, value) != ("path", "")}
    values, wrong = fill(told, declared_options(TrailSettings), directory)
    for key, value in values.items():
        try:
            TrailSettings(**{key: value})  # alone, so that each is complained of
        except ValueError as error:
            wrong.append(Complaint(str(error), key))
    path: Path | None = values.get("path")
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        what = f"{path} is a directory" if path.is_dir() else f"there is no {path.parent}"
        wrong.append(Complaint(f"option 'path': {what}", "path"))
    complaints.take(wrong, "trail", section="trail")
    return TrailSettings() if wrong else TrailSettings(**values)
