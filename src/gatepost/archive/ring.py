"""Ring: records go in at one end of a file, and out at the other when they are old or too many."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gatepost.archive.clues import clues_of
from gatepost.archive.configurations import Configuration
from gatepost.archive.records import Record
from gatepost.archive.schema import Identity, is_ruin, open_to_write, replace_ruined

#: Records that go in, or out, within one transaction: others want to write, too.
AT_ONCE = 1000
#: Of the size that is allowed, what is left in use when something had to go.
_LEFT = 0.99
#: Pages that are given back to the system at once.
_GIVEN_BACK = 500

_INSERT = """
INSERT INTO records (number, session, message, written, configuration, record)
VALUES (?, ?, ?, ?, ?, ?)
"""


class Ring:
    """The file as one thread writes it; several processes may have it open.

    `keep` are the seconds after which a record is let go, `size` the octets that the file may
    have.  All methods raise sqlite3.Error and OSError.
    """

    def __init__(
        self,
        path: Path,
        configuration: Configuration,
        *,
        keep: float,
        size: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._plugins = msgspec.json.encode(configuration).decode()
        self._keep = keep
        self._size = size
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._configuration = 0  #: the number of ours in the file

    def write(self, records: Sequence[Record]) -> None:
        """Put some records in, all or none of them; a damaged file is replaced by a new one."""
        try:
            self._write(records)
        except sqlite3.DatabaseError as error:
            if not is_ruin(error):
                raise
            self.close()
            replace_ruined(self._path, self._identity)
            self._write(records)

    def trim(self) -> None:
        """Let go of what is too old, and of the oldest while the file is too large."""
        connection = self._opened()
        while self._expire(connection) or self._shrink(connection):
            pass
        pages = self._pragma(connection, "page_count")
        over = pages - self._size // self._pragma(connection, "page_size")
        if over > 0:
            # Each step gives one page back, and `execute` makes only one.
            connection.executescript(f"PRAGMA incremental_vacuum({min(over, _GIVEN_BACK)})")

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    # -- In -------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        """The file that is at the path now: somebody may have moved it, or thrown it away."""
        if self._connection is not None and Identity.of(self._path) != self._identity:
            self.close()
        if self._connection is None:
            self._connection, self._identity = open_to_write(self._path)
            self._configuration = 0
        return self._connection

    def _write(self, records: Sequence[Record]) -> None:
        connection = self._opened()
        now = self._clock()
        connection.execute("BEGIN IMMEDIATE")
        try:
            configuration = self._configuration or self._noted(connection)
            rows = list(enumerate(records, self._last_number(connection) + 1))
            connection.executemany(
                _INSERT,
                [
                    (number, one.session, one.message, now, configuration, _json(one))
                    for number, one in rows
                ],
            )
            connection.executemany(
                "INSERT INTO clues (number, clue) VALUES (?, ?)",
                [(number, clue) for number, one in rows for clue in clues_of(one)],
            )
            connection.execute("COMMIT")
            self._configuration = configuration
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _noted(self, connection: sqlite3.Connection) -> int:
        """The number of our configuration: of the latest, where that is the same."""
        latest = connection.execute(
            "SELECT number, plugins FROM configurations ORDER BY number DESC LIMIT 1"
        ).fetchone()
        if latest is not None and latest[1] == self._plugins:
            return int(latest[0])
        cursor = connection.execute(
            "INSERT INTO configurations (plugins) VALUES (?)", (self._plugins,)
        )
        return int(cursor.lastrowid or 0)

    def _last_number(self, connection: sqlite3.Connection) -> int:
        row = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'records'"
        ).fetchone()
        return int(row[0]) if row else 0

    # -- Out ------------------------------------------------------------------------------------

    def _expire(self, connection: sqlite3.Connection) -> bool:
        """Let some records go that are too old; whether there may be more of them."""
        before = self._clock() - self._keep
        oldest = connection.execute(
            "SELECT number, written FROM records ORDER BY number LIMIT 1"
        ).fetchone()
        if oldest is None or oldest[1] >= before:
            return False
        stretch = connection.execute(
            "SELECT number, written FROM records ORDER BY number LIMIT ?", (AT_ONCE,)
        ).fetchall()
        self._let_go(connection, max(number for number, written in stretch if written < before))
        return len(stretch) == AT_ONCE

    def _shrink(self, connection: sqlite3.Connection) -> bool:
        """Let the oldest records go if the file is too large; whether any went."""
        size = self._pragma(connection, "page_size")
        pages = self._pragma(connection, "page_count")
        used = (pages - self._pragma(connection, "freelist_count")) * size
        if used <= self._size:
            return False
        first, last = connection.execute(
            "SELECT (SELECT min(number) FROM records), (SELECT max(number) FROM records)"
        ).fetchone()
        if first is None:
            return False
        count = last - first + 1
        many = int(count * (1 - _LEFT * self._size / used)) + 1
        self._let_go(connection, min(first + min(many, AT_ONCE) - 1, last))
        return True

    def _let_go(self, connection: sqlite3.Connection, last: int) -> None:
        """Delete the records up to a number, and the configurations that nobody needs any more."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("DELETE FROM records WHERE number <= ?", (last,))
            connection.execute("DELETE FROM clues WHERE number <= ?", (last,))
            connection.execute(
                "DELETE FROM configurations WHERE number <"
                " (SELECT configuration FROM records ORDER BY number LIMIT 1)"
            )
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _pragma(self, connection: sqlite3.Connection, name: str) -> int:
        (value,) = connection.execute(f"PRAGMA {name}").fetchone()
        return int(value)


def _json(record: Record) -> str:
    return msgspec.json.encode(record).decode()
