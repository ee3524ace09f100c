"""Body: the octets of a message behind its header, in memory or in an unlinked file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from io import BufferedReader, BytesIO, FileIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

#: Octets of a piece when a reader does not say how much he wants at once.
PIECE = 65_536
#: So many pieces are joined into one: on its own, a piece of two octets weighs forty.
_LOOSE_PIECES = 256


class Body:
    """Octets that arrive piece by piece: up to `memory` of them here, all in a file beyond that.

    Whoever began to read goes on to read the same octets, also when the body is replaced
    meanwhile.  `append` raises OSError when the disk is full; the body is then what it was before.
    """

    __slots__ = ("_directory", "_loose", "_memory", "_pieces", "_spill", "size")

    def __init__(self, memory: int, directory: Path | str | None) -> None:
        self._memory = memory
        self._directory = directory
        self._pieces: list[bytes] = []
        self._loose = 0  # the first piece that was not joined yet
        self._spill: _Spill | None = None
        self.size = 0  #: octets

    def append(self, data: bytes) -> None:
        """Put octets at the end."""
        size = self.size + len(data)
        if size > self._memory:
            self._write(data)
        elif data:
            self._pieces.append(data)
            if len(self._pieces) - self._loose >= _LOOSE_PIECES:
                self._pieces[self._loose :] = [b"".join(self._pieces[self._loose :])]
                self._loose = len(self._pieces)
        self.size = size

    def chunks(self, size: int = PIECE) -> Iterator[bytes]:
        """All octets, in pieces of at most `size`."""
        if self._spill is None:
            for piece in self._pieces:
                yield from cut(piece, size)
        else:
            yield from self._spill.chunks(size, self.size)

    def open(self, head: bytes) -> BinaryIO:
        """A file of `head` and all octets; it can be read and sought in."""
        if self._spill is None:
            return BytesIO(b"".join((head, *self._pieces)))
        return BufferedReader(_Reader(head, self._spill, self.size), PIECE)

    def close(self) -> None:
        """Give the disk back; may be called twice.  Whoever reads from it gets ValueError."""
        if self._spill is not None:
            self._spill.close()

    def _write(self, data: bytes) -> None:
        if self._spill is not None:
            self._spill.write(data, self.size)
            return
        file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115  # read later
        spill = _Spill(file)
        offset = 0
        for piece in (*self._pieces, data):
            spill.write(piece, offset)
            offset += len(piece)
        self._spill, self._pieces = spill, []


class _Spill:
    """A temporary file without a name, which is gone when nobody holds it any more."""

    __slots__ = ("_file",)

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def write(self, data: bytes, offset: int) -> None:
        """Write all of it; what was written before an OSError can be written over."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view = view[written:]
            offset += written

    def chunks(self, size: int, end: int) -> Iterator[bytes]:
        for offset in range(0, end, size):
            yield self.read(min(size, end - offset), offset)

    def read(self, size: int, offset: int) -> bytes:
        # The number of a closed file may be another file's by now, so the file is asked for it.
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


class _Reader(RawIOBase):
    """A read-only file over a head and a spill, with a place of its own."""

    def __init__(self, head: bytes, spill: _Spill, size: int) -> None:
        super().__init__()
        self._head = head
        self._spill = spill
        self._size = len(head) + size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(min(len(view), self._size - self._place), 0)
        data = self._head[self._place : self._place + wanted]
        if not data and wanted:
            data = self._spill.read(wanted, self._place - len(self._head))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """The data in pieces of at most `size` octets; none when it is empty."""
    if 0 < len(data) <= size:
        yield data
        return
    for start in range(0, len(data), size):
        yield data[start : start + size]
