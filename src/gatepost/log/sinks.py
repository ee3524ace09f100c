"""Where the log is written: standard error or another stream, a file, any handler of `logging`."""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Iterator
from contextlib import suppress
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

    def prepare(self, record: logging.LogRecord) -> bytes:
        """The line of one event."""
        return _line(self._lines, record)

    def write(self, batch: list[bytes]) -> None:
        """Write lines.  Raises OSError."""
        for piece in _pieces(batch):
            _write(self._descriptor, piece)

    def close(self) -> None:
        """Leave the stream to whoever it belongs to."""


class LogFile:
    """Lines appended to a file; where it was moved away, a new one is made in its place.

    Several processes may write to it.  Raises OSError for a file that cannot be opened.
    """

    def __init__(self, path: str, lines: logging.Formatter) -> None:
        self._path = path
        self._lines = lines
        self._file = _opened(path)

    def prepare(self, record: logging.LogRecord) -> bytes:
        """The line of one event."""
        return _line(self._lines, record)

    def write(self, batch: list[bytes]) -> None:
        """Write lines, to a new file if need be.  Raises OSError."""
        if not self._is_in_place():
            former, self._file = self._file, _opened(self._path)
            former.close()
        _write(self._file.fileno(), b"".join(batch))

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
            except Exception as error:
                lost, trouble = lost + 1, error
        if trouble is not None:
            raise NotWritten(lost, trouble)

    def close(self) -> None:
        """Close the handler."""
        self._handler.close()


def _line(lines: logging.Formatter, record: logging.LogRecord) -> bytes:
    return f"{lines.format(record)}\n".encode("utf-8", "backslashreplace")


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines, as many together as a pipe takes in one go."""
    piece: list[bytes] = []
    room = select.PIPE_BUF
    for line in lines:
        if len(line) > room and piece:
            yield b"".join(piece)
            piece, room = [], select.PIPE_BUF
        piece.append(line)
        room -= len(line)
    if piece:
        yield b"".join(piece)


def _write(descriptor: int, octets: bytes) -> None:
    left = memoryview(octets)
    while left:
        left = left[os.write(descriptor, left) :]


def _opened(path: str) -> FileIO:
    return FileIO(path, "a", opener=lambda path, flags: os.open(path, flags, _PERMISSIONS))
