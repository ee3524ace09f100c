"""Where the log is written: standard error or another stream, a file, any handler of `logging`."""

from __future__ import annotations

import fcntl
import logging
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from typing import TextIO

from gatepost.log.record import completed
from gatepost.log.relay import NotWritten

#: Who may read a log, for it tells of people: its owner writes, its group reads.
_PERMISSIONS = 0o640


class LogStream:
    """Lines to a stream; processes that share a pipe do not write into each other's.

    It keeps no buffer, and holds no lock of Python's while it writes: where nobody reads at the
    other end, a thread can be left behind that waits for it.
    """

    def __init__(self, stream: TextIO, lines: logging.Formatter) -> None:
        self._descriptor = stream.fileno()
        self._lines = lines
        self._pen = _Pen()

    def prepare(self, record: logging.LogRecord) -> bytes:
        """The line of one event."""
        return _line(self._lines, record)

    def write(self, batch: list[bytes]) -> None:
        """Write lines.  Raises NotWritten."""
        left = len(batch)
        with _alone(self._descriptor):
            for piece in _pieces(batch):
                left -= len(piece)
                try:
                    self._pen.write(self._descriptor, piece)
                except NotWritten as failure:
                    raise NotWritten(failure.count + left, failure.trouble) from failure

    def close(self) -> None:
        """Leave the stream to whoever it belongs to."""


class LogFile:
    """Lines appended to a file; where it was moved away, a new one is made in its place.

    Several processes may write to it.  Raises OSError for a file that cannot be opened.
    """

    def __init__(self, path: str, lines: logging.Formatter) -> None:
        self._path = path
        self._lines = lines
        self._pen = _Pen()
        self._file = _opened(path)

    def prepare(self, record: logging.LogRecord) -> bytes:
        """The line of one event."""
        return _line(self._lines, record)

    def write(self, batch: list[bytes]) -> None:
        """Write lines, to a new file if need be.  Raises NotWritten, or OSError for no file."""
        if not self._is_in_place():
            former, self._file = self._file, _opened(self._path)
            self._pen = _Pen()
            former.close()
        self._pen.write(self._file.fileno(), batch)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _is_in_place(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        return False


class Handled:
    """Whatever a handler of `logging` makes of an event."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The event, complete."""
        return completed(record)

    def write(self, batch: list[logging.LogRecord]) -> None:
        """Let the handler have the events.  Raises NotWritten."""
        lost, trouble = 0, None
        for record in batch:
            try:
                # Not by `handle`, which holds a lock meanwhile: at the end of the program `logging`
                # would wait for it, however long the handler hangs.
                if self._handler.filter(record):
                    self._handler.emit(record)
            except Exception as error:  # somebody else's handler may raise whatever it likes
                lost, trouble = lost + 1, error
        if trouble is not None:
            raise NotWritten(lost, trouble)

    def close(self) -> None:
        """Close the handler."""
        self._handler.close()


class _Pen:
    """Writes lines; behind one that broke off, as where the disk was full, it begins a new one."""

    def __init__(self) -> None:
        self._has_broken_off = False

    def write(self, descriptor: int, lines: list[bytes]) -> None:
        """Write lines to a file or the like.  Raises NotWritten."""
        octets = b"".join([b"\n", *lines] if self._has_broken_off else lines)
        written = 0
        try:
            while written < len(octets):
                written += os.write(descriptor, octets[written:] if written else octets)
        except OSError as error:
            whole = octets.count(b"\n", 0, written) - self._has_broken_off if written else 0
            if written:
                self._has_broken_off = not octets[:written].endswith(b"\n")
            raise NotWritten(len(lines) - whole, error) from error
        self._has_broken_off = False


@contextmanager
def _alone(descriptor: int) -> Iterator[None]:
    """Let no other process write lines there meanwhile: more than PIPE_BUF octets might mix."""
    is_locked = False
    with suppress(OSError):  # not everything can be locked
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        is_locked = True
    try:
        yield
    finally:
        if is_locked:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _line(lines: logging.Formatter, record: logging.LogRecord) -> bytes:
    return f"{lines.format(record)}\n".encode("utf-8", "backslashreplace")


def _pieces(lines: list[bytes]) -> Iterator[list[bytes]]:
    """The lines, as many together as a pipe takes in one go."""
    piece: list[bytes] = []
    room = select.PIPE_BUF
    for line in lines:
        if len(line) > room and piece:
            yield piece
            piece, room = [], select.PIPE_BUF
        piece.append(line)
        room -= len(line)
    if piece:
        yield piece


def _opened(path: str) -> FileIO:
    return FileIO(path, "a", opener=lambda path, flags: os.open(path, flags, _PERMISSIONS))
