"""The file of an archive: its tables, how it is opened, and what becomes of one that is no good."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

#: The version of the tables: a file of another one is not read.
VERSION = 1
#: What is behind the name of a file that was moved aside.
ASIDE = ".aside"
#: Seconds to wait while another process writes.
BUSY = 5.0

#: What SQLite knows the file by: `GATE`.
_APPLICATION = 0x47415445
#: SQLite keeps up to three files.
_FILES = ("-wal", "-shm", "")
#: Pages of the journal after which they go into the file itself, and octets that it keeps then.
_CHECKPOINT = 500
_JOURNAL = 2_000_000
#: KiB of the file that are kept in memory: clues go in all over it.
_CACHE = 8192
_RUINED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

# Numbers only grow, also when all that was there is gone, so that whoever follows misses nothing.
_TABLES = """
CREATE TABLE configurations (
    number INTEGER PRIMARY KEY,
    plugins TEXT NOT NULL               -- JSON
);
CREATE TABLE records (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    message INTEGER NOT NULL,           -- 0: the session as a whole
    written REAL NOT NULL,              -- seconds since 1970
    configuration INTEGER NOT NULL,
    record TEXT NOT NULL                -- JSON
);
CREATE INDEX by_session ON records (session);
CREATE TABLE clues (
    number INTEGER NOT NULL,
    clue TEXT NOT NULL,
    PRIMARY KEY (number, clue)
) WITHOUT ROWID;
CREATE INDEX by_clue ON clues (clue, number);
"""


class Unusable(Exception):
    """A file that is no archive of ours; the text says what it is instead."""


class Identity(NamedTuple):
    """Which file it is, whatever it is called by now."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Identity | None:
        """That of the file at a path; None when there is none."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return cls(status.st_dev, status.st_ino)


def open_to_write(path: Path) -> tuple[sqlite3.Connection, Identity | None]:
    """The file, made if need be, and which one it is; one that cannot be used is moved aside.

    Raises sqlite3.Error and OSError.
    """
    with _alone(path):
        try:
            connection = _opened(path)
        except Unusable as error:
            _move_aside(path, str(error))
            connection = _opened(path)
        return connection, Identity.of(path)


def open_to_read(path: Path) -> sqlite3.Connection:
    """The file as it is.  Raises Unusable, sqlite3.Error and OSError."""
    path.stat()
    try:
        connection = _read_only(path, "mode=ro")
    except sqlite3.OperationalError:
        if path.with_name(f"{path.name}-wal").exists():
            raise
        # Nobody writes, and in a directory that is not ours no journal can be made either.
        connection = _read_only(path, "mode=ro&immutable=1")
    return connection


def replace_ruined(path: Path, ruined: Identity | None) -> None:
    """Move a file aside that turned out to be damaged, unless another process has done it."""
    with _alone(path):
        if ruined is not None and Identity.of(path) == ruined:
            _move_aside(path, "damaged")


def is_ruin(error: sqlite3.Error) -> bool:
    """Whether an error means that the file is damaged, or never was one of SQLite."""
    # Extended codes have the plain one in their last octet.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _RUINED


def _opened(path: Path) -> sqlite3.Connection:
    with suppress(FileExistsError):  # mail addresses are nobody else's business
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    try:
        if _is_empty(connection):
            _make(connection)
        _check(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_ruin(error):
            raise Unusable("damaged, or no archive") from error
        raise
    except Unusable:
        connection.close()
        raise
    return connection


def _read_only(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", timeout=BUSY, isolation_level=None, uri=True
    )
    try:
        if _is_empty(connection):
            raise Unusable("empty")
        _check(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        if is_ruin(error):
            raise Unusable("damaged, or no archive") from error
        raise
    except Unusable:
        connection.close()
        raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(count == 0)


def _make(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or never
    connection.executescript(
        f"BEGIN IMMEDIATE; {_TABLES}"
        f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    )


def _check(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise Unusable("no archive")
    if version != VERSION:
        raise Unusable(f"of version {version}, not {VERSION}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from opening the file, or moving it, meanwhile."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _move_aside(path: Path, reason: str) -> None:
    """Rename the file; one that stood aside before gives way, so that they do not pile up."""
    aside = path.with_name(f"{path.name}{ASIDE}")
    for behind in _FILES:
        Path(f"{aside}{behind}").unlink(missing_ok=True)
    for behind in _FILES:  # the journal first: beside a new file it would do harm
        with suppress(FileNotFoundError):
            Path(f"{path}{behind}").rename(f"{aside}{behind}")
    log.warning("%s is %s: it is now called %s, and a new one begins", path, reason, aside.name)
