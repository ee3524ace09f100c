"""Reading: what an archive knows, while the server writes it or when there is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from gatepost.archive.clues import Clues
from gatepost.archive.configurations import Configuration
from gatepost.archive.records import Record
from gatepost.archive.schema import Identity, Unusable, open_to_read

#: Records that are fetched at once: the file is not held for longer.
_PAGE = 200

_SELECT = "SELECT number, written, configuration, record FROM records WHERE"
_HAS_CLUE = "number IN (SELECT number FROM clues WHERE clue BETWEEN ? AND ?)"


class CannotRead(Exception):
    """There is no archive, or it is no good; the text says why."""


class Found(NamedTuple):
    """A record, and where it was found."""

    number: int  #: the later, the higher
    written: float  #: seconds since 1970
    configuration: int  #: the number of the configuration that was in force
    record: Record


class Archive:
    """The file as somebody reads it; a context manager, which closes it at the end.

    Its methods raise CannotRead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = open_to_read(path)
            self._identity = Identity.of(path)
        except FileNotFoundError as error:
            raise CannotRead(f"{path}: there is no such file; the server writes it") from error
        except (Unusable, OSError, sqlite3.Error) as error:
            raise CannotRead(f"{path} cannot be read: {_words(error)}") from error
        self._configurations: dict[int, Configuration] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that stands at its path."""
        return Identity.of(self._path) == self._identity

    @property
    def last(self) -> int:
        """The number of the last record."""
        rows = self._rows("SELECT coalesce(max(number), 0) FROM records")
        return int(rows[0][0])

    @property
    def begins(self) -> float | None:
        """When the oldest record was written, in seconds since 1970; None when there is none."""
        rows = self._rows("SELECT written FROM records ORDER BY number LIMIT 1")
        return float(rows[0][0]) if rows else None

    def of_session(self, session: str) -> Iterator[Found]:
        """The records of a session, the newest first."""
        return self._newest_first("session = ?", [session])

    def newest(self, *groups: Iterable[Clues]) -> Iterator[Found]:
        """The records for which each group has a clue, the newest first; all of them without."""
        conditions, values = ["1"], list[object]()
        for group in groups:
            stretches = list(group)
            conditions.append(f"({' OR '.join([_HAS_CLUE] * len(stretches))})")
            values += [clue for stretch in stretches for clue in stretch]
        return self._newest_first(" AND ".join(conditions), values)

    def after(self, number: int) -> list[Found]:
        """The next records after one, in their order; some of them."""
        return self._found(f"{_SELECT} number > ? ORDER BY number LIMIT {_PAGE}", [number])

    def configuration(self, number: int) -> Configuration:
        """The plugins that there were; none when that has been forgotten."""
        if number not in self._configurations:
            rows = self._rows("SELECT plugins FROM configurations WHERE number = ?", number)
            try:
                plugins = msgspec.json.decode(rows[0][0], type=Configuration) if rows else ()
            except (msgspec.MsgspecError, ValueError) as error:
                raise CannotRead(f"{self._path} is damaged: {error}") from error
            self._configurations[number] = plugins
        return self._configurations[number]

    def _newest_first(self, condition: str, values: list[object]) -> Iterator[Found]:
        before = self.last + 1
        while True:
            query = f"{_SELECT} number < ? AND {condition} ORDER BY number DESC LIMIT {_PAGE}"
            page = self._found(query, [before, *values])
            yield from page
            if len(page) < _PAGE:
                return
            before = page[-1].number

    def _found(self, query: str, values: list[object]) -> list[Found]:
        try:
            return [
                Found(number, written, configuration, msgspec.json.decode(record, type=Record))
                for number, written, configuration, record in self._rows(query, *values)
            ]
        except (msgspec.MsgspecError, ValueError) as error:
            raise CannotRead(f"{self._path} is damaged: {error}") from error

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise CannotRead(f"{self._path} cannot be read: {error}") from error


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
