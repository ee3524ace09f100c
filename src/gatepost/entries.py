"""Entries: a list of the configuration, or of a plain file beside it that may change at a time."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

#: Octets of a list file; a larger one is an error.
FILE_LIMIT = 64 * 1024 * 1024
#: Seconds between two looks at a file.
LOOK_EVERY = 1.0

_COMMENT = re.compile(r"(?:^|\s)#.*")
_log = logging.getLogger(__name__)


class _Version:
    """The entries as they were at one moment, with the index that belongs to them."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        self.entries = entries

    @cached_property
    def index(self) -> frozenset[str]:
        return frozenset(self.entries)


class Entries:
    """A list of strings that stands in the configuration, or in a file of one entry a line.

    In a file `#` begins a comment at the start of a line or behind a blank, and blank lines do not
    count.  The file is UTF-8.  It is looked at once a second at most, when somebody asks, and read
    again when it has changed.  A file that vanishes or becomes unreadable leaves the entries as
    they were, and is logged once.  Write a long list to a new file and rename it, so that nobody
    ever reads half of it.
    """

    __slots__ = ("_version",)

    def __init__(self, entries: Iterable[str] = ()) -> None:
        if isinstance(entries, str):
            raise TypeError(f"entries are a list of strings: write [{entries!r}]")
        self._version = _Version(tuple(entries))

    @classmethod
    def of(cls, entries: Iterable[str]) -> Entries:
        """What are entries already, as they are; of any other strings, entries."""
        return entries if isinstance(entries, Entries) else cls(entries)

    @classmethod
    def in_file(cls, path: Path, *, clock: Callable[[], float] = time.monotonic) -> Entries:
        """The entries of a file; `clock` tells seconds and never goes back.

        Raises OSError when the file cannot be read or is larger than `FILE_LIMIT`, ValueError when
        it is not UTF-8.
        """
        return _EntriesInFile(path, clock)

    def current(self) -> tuple[str, ...]:
        """The entries in their order: the same tuple object until the file changes."""
        return self._latest().entries

    def __contains__(self, entry: object) -> bool:
        return entry in self._latest().index

    def __iter__(self) -> Iterator[str]:
        return iter(self._latest().entries)

    def __len__(self) -> int:
        return len(self._latest().entries)

    def __repr__(self) -> str:
        return f"Entries({self._version.entries!r})"

    def _latest(self) -> _Version:
        return self._version


class _EntriesInFile(Entries):
    """Entries that follow a file."""

    __slots__ = ("_clock", "_looked", "_signature", "_troubled")

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._signature, octets = _read(path)
        super().__init__(_parse(path, octets))
        self._clock = clock
        self._looked = clock()
        self._troubled = False

    def __repr__(self) -> str:
        return f"Entries.in_file({str(self._signature.path)!r})"

    def _latest(self) -> _Version:
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look(self._signature.path)
        return self._version

    def _look(self, path: Path) -> None:
        """Read the file again if it has changed; on trouble keep what we have."""
        try:
            if _look_at(path) != self._signature:
                self._signature, octets = _read(path)
                self._version = _Version(_parse(path, octets))
            self._troubled = False
        except (OSError, ValueError) as trouble:
            if not self._troubled:
                _log.warning("%s: the old entries stay: %s", path, trouble)
            self._troubled = True


class _Signature(NamedTuple):
    """What tells one version of a file from another."""

    path: Path
    modified: int  # nanoseconds
    size: int
    inode: int


def _look_at(path: Path) -> _Signature:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # to open a FIFO would be to wait for its writer
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    if status.st_size > FILE_LIMIT:
        raise OSError(errno.EFBIG, f"larger than {FILE_LIMIT} octets", str(path))
    return _Signature(path, status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: Path) -> tuple[_Signature, bytes]:
    # Looked at first and read then: a change between the two shows at the next look.
    signature = _look_at(path)
    with path.open("rb") as file:
        octets = file.read(FILE_LIMIT + 1)
    if len(octets) > FILE_LIMIT:
        raise OSError(errno.EFBIG, f"larger than {FILE_LIMIT} octets", str(path))
    return signature, octets


def _parse(path: Path, octets: bytes) -> tuple[str, ...]:
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not UTF-8") from error
    lines = text.split("\n")
    if "#" in text:
        lines = [_COMMENT.sub("", line) for line in lines]
    return tuple(entry for line in lines if (entry := line.strip()))
