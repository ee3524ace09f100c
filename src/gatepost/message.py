"""Message: the letter, with headers that keep their bytes and a body in memory or on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from gatepost.body import PIECE, Body, cut
from gatepost.headers import Headers

__all__ = ["Headers", "Message"]

#: Octets of a body that are kept in memory, and octets of the longest header block.
MEMORY = 262_144
HEADER_LIMIT = 1_048_576

_FIELD = re.compile(rb"[!-9;-~]++[ \t]*+:")
#: A line end before a line that neither is a field nor continues one, the empty line above all.
_LAST_LINE_END = re.compile(rb"\n(?<=\r\n)(?![ \t]|[!-9;-~]++[ \t]*+:)")


class Message:
    """A message in the format of RFC 5322, growing while it is received.

    The header block ends before the first line that is no field and continues none.  An empty
    line there is the separator; any other already belongs to the body, and there is no separator.
    Nothing but CRLF ends a line.  All octets come out as they went in, but for what was changed.
    Fields that were added before the message began to arrive stand on top of it.

    `memory` is the number of octets of body beyond which it is kept in an unlinked file in
    `directory` (the system's own for temporary files where None); `header_limit` is the number of
    octets of a header block beyond which nothing is kept.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_directory",
        "_header_limit",
        "_indented",
        "_line",
        "_memory",
        "headers",
        "headers_complete",
        "oversized_header",
        "separated",
    )

    def __init__(
        self,
        *,
        memory: int = MEMORY,
        header_limit: int = HEADER_LIMIT,
        directory: Path | str | None = None,
    ) -> None:
        self._memory = memory
        self._header_limit = header_limit
        self._directory = directory
        self._start()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message of which these are all octets; it stays in memory."""
        message = cls(memory=max(len(data), MEMORY), header_limit=len(data))
        message.append(data)
        message.finish()
        return message

    def append(self, data: bytes) -> None:
        """Take the next octets, without dot-stuffing, split anywhere.

        Raises OSError when they do not fit on the disk; the message can only be dropped then.
        """
        if self.headers_complete:
            self._body.append(data)
        elif not self.oversized_header:
            self._append_header(data)

    def finish(self) -> None:
        """All octets are in: a header that has met no end so far ends here."""
        if not (self.headers_complete or self.oversized_header):
            arrived = bytes(self._arrived)
            end = _header_end(arrived + b"\r\n", self._line)  # the last line may lack its CRLF
            self._complete(arrived, len(arrived) if end < 0 else end)

    @property
    def size(self) -> int:
        """Octets of the whole message, as far as it has arrived and as it would be sent."""
        return self.headers.size + len(self._gap()) + self._body.size + len(self._arrived)

    @property
    def body_size(self) -> int:
        """Octets of the body."""
        return self._body.size

    def chunks(self, size: int = PIECE) -> Iterator[bytes]:
        """The whole message in pieces of at most `size` octets."""
        body = self._body
        yield from cut(self._head(), size)
        yield from body.chunks(size)

    def body(self) -> Iterator[bytes]:
        """The body in pieces."""
        return self._body.chunks()

    def open(self) -> BinaryIO:
        """The whole message as a file that can be read and sought in; opened as often as wanted."""
        return self._body.open(self._head())

    def replace_body(self, data: bytes | Iterable[bytes]) -> None:
        """Put another body in the place of this one, which may be read meanwhile.

        For messages that are all in.  Raises OSError when it does not fit on the disk; the body then stays as it was.
        """
        body = Body(self._memory, self._directory)
        for piece in (data,) if isinstance(data, bytes) else data:
            body.append(piece)
        self._body = body
        self.separated = True

    def drop(self) -> None:
        """Give memory and disk back: the message is empty then.  May be called twice."""
        self._body.close()
        self._start()

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks()

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())

    def __repr__(self) -> str:
        return f"<Message of {self.size} octets>"

    def _start(self) -> None:
        self.headers = Headers()
        self.headers_complete = False  #: the body has begun, or all is in
        self.oversized_header = False  #: the header block is beyond its limit; nothing was kept
        self.separated = False  #: an empty line ends the header; if not, other readers may differ
        self._arrived: bytes | bytearray = b""  # of the header, while it is not complete
        self._line = 0  # where the first line in there begins that was not looked at
        self._indented = False  # the body would continue a field if one stood above it
        self._body = Body(self._memory, self._directory)

    def _append_header(self, data: bytes) -> None:
        known = len(self._arrived)
        if not known:  # nearly always the first piece holds the whole header
            end = _header_end(data, 0)
            if 0 <= end <= self._header_limit:
                self._complete(data, end)
                return
            self._arrived = bytearray()
        self._arrived += data
        line_end = self._arrived.rfind(b"\r\n", max(known - 1, 0))
        end = _header_end(self._arrived, self._line) if line_end >= 0 else -1
        if 0 <= end <= self._header_limit:
            self._complete(memoryview(self._arrived), end)
        elif end >= 0 or len(self._arrived) > self._header_limit:
            self.oversized_header = True
            self._arrived = b""
        elif line_end >= 0:
            self._line = line_end + 2

    def _complete(self, arrived: bytes | memoryview, end: int) -> None:
        self._arrived = b""
        self.separated = arrived[end : end + 2] == b"\r\n"
        self._indented = arrived[end : end + 1] in (b" ", b"\t")
        self.headers = Headers(bytes(self.headers) + arrived[:end])
        self.headers_complete = True
        self._body.append(bytes(arrived[end + 2 if self.separated else end :]))

    def _head(self) -> bytes:
        return bytes(self.headers) + self._gap()

    def _gap(self) -> bytes:
        """What stands between header and body."""
        if not self.separated:
            return b"\r\n" if self._indented and self.headers.size else b""
        # A header that was cut off inside a line has no CRLF of its own.
        return b"\r\n" if self.headers.finished else b"\r\n\r\n"


def _header_end(block: bytes | bytearray, line: int) -> int:
    """Where the first line begins that is no field and has its CRLF; -1 where there is none yet.

    The lines before the one that begins at `line` are known to be fields.
    """
    if line or _FIELD.match(block):
        match = _LAST_LINE_END.search(block, max(line - 1, 0))
        if not match:
            return -1
        end = match.end()
    else:
        end = 0
    return end if block.find(b"\r\n", end) >= 0 else -1
