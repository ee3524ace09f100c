"""Derived: what a plugin makes of its entries, made anew whenever they change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

from gatepost.entries import Entries

#: Bad entries that one error tells of; the others it only counts.
FAULTS_TOLD = 20

#: Characters of an entry that an error repeats.
_SHOWN = 120

E = TypeVar("E")
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Derived(Generic[T]):
    """What a plugin makes of its entries: networks, rules, a table to look things up in.

    `parse` reads one entry and raises ValueError for a bad one; `combine` makes the whole of what
    was parsed.  `option` names the entries in errors, which repeat the bad ones; where they are
    `secret`, only their numbers.

    Raises ValueError, naming the bad entries, when it is made.  When a file of entries changes
    later and the new ones are bad, what was made of the old ones stays, and that is logged once.
    """

    __slots__ = ("_entries", "_make", "_seen", "_value")

    def __init__(
        self,
        entries: Iterable[str],
        parse: Callable[[str], E],
        combine: Callable[[list[E]], T],
        *,
        option: str,
        secret: bool = False,
    ) -> None:
        self._entries = Entries.of(entries)
        show = _numbered if secret else _repeated
        self._make: Callable[[Sequence[str]], T] = partial(_make, option, parse, combine, show)
        self._seen = self._entries.current()
        self._value = self._make(self._seen)

    def current(self) -> T:
        """What is made of the entries as they are now: the same object until they change.

        Where to make it takes long, ask in a thread when it `is_stale`.
        """
        entries = self._entries.current()
        if entries is not self._seen:
            self._seen = entries
            try:
                self._value = self._make(entries)
            except ValueError as error:
                _log.warning("%r: what it held before stays in force: %s", self._entries, error)
        return self._value

    @property
    def is_stale(self) -> bool:
        """Whether the entries have changed, and nobody has asked for what is made of them."""
        return self._entries.current() is not self._seen

    @property
    def latest(self) -> T:
        """What was made last, without a look at the entries."""
        return self._value


def _make(
    option: str,
    parse: Callable[[str], E],
    combine: Callable[[list[E]], T],
    show: Callable[[int, str], str],
    entries: Sequence[str],
) -> T:
    parsed: list[E] = []
    faults: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            parsed.append(parse(entry))
        except ValueError as error:
            faults.append(f"{show(number, entry)}: {error}")
    if faults:
        more = len(faults) - FAULTS_TOLD
        told = [*faults[:FAULTS_TOLD], *([f"and {more} more"] if more > 0 else [])]
        raise ValueError(f"option {option!r}: {'; '.join(told)}")
    return combine(parsed)


def _repeated(_: int, entry: str) -> str:
    return repr(entry if len(entry) <= _SHOWN else f"{entry[:_SHOWN]}...")


def _numbered(number: int, _: str) -> str:
    return f"entry {number}"
