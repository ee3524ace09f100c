"""Message: the letter, with headers that keep their bytes and a body in memory or on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, Self

from gatepost.body import PIECE, Body, cut
from gatepost.headers import Headers

__all__ = ["Headers", "Message"]

#: Octets of a body that are kept in memory, and octets of the longest header block.
MEMORY = 262_144
HEADER_LIMIT = 1_048_576
#: Lines of the longest header block.  A megabyte has room for 250,000 fields of four octets, and
#: whoever looks at all of them would keep other clients waiting for a fifth of a second.
HEADER_LINES = 10_000

# A name and its colon stand on one line (RFC 5322, 2.1.1), so that a line which may still become
# a field is short, and the end of the header does not depend on how the octets are split.
_FIELD_START = rb"[!-9;-~]{1,900}+[ \t]{0,98}+:"
_FIELD = re.compile(_FIELD_START)
#: A line end before a line that neither is a field nor continues one, the empty line above all.
_LAST_LINE_END = re.compile(rb"\n(?<=\r\n)(?![ \t]|" + _FIELD_START + rb")")
#: All that there is of a line which may still become a field, or the empty line.
_UNDECIDED = re.compile(rb"(?:[!-9;-~]{0,900}+[ \t]{0,98}+|\r)\Z")


class Message:
    """A message in the format of RFC 5322, growing while it is received.

    The header block ends before the first line that is no field and continues none.  An empty
    line there is the separator; any other already belongs to the body, and there is no separator.
    Nothing but CRLF ends a line.  All octets come out as they went in, but for what was changed.
    Fields that were added before the message began to arrive stand on top of it.

    `memory` is the number of octets of body beyond which it is kept in an unlinked file in
    `directory` (the system's own for temporary files where None); `header_limit` is the number of
    octets of a header block beyond which nothing is kept, `header_lines` that of its lines.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_directory",
        "_header_limit",
        "_header_lines",
        "_indented",
        "_known",
        "_lines",
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
        header_lines: int = HEADER_LINES,
        directory: Path | str | None = None,
    ) -> None:
        self._memory = memory
        self._header_limit = header_limit
        self._header_lines = header_lines
        self._directory = directory
        self._start()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message of which these are all octets; it stays in memory."""
        size = len(data)
        message = cls(memory=max(size, MEMORY), header_limit=size, header_lines=size)
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
            end, _ = _header_reach(self._arrived, self._known)
            self._complete(self._arrived, end)

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

        Only for a message that is all in.  Raises OSError when it does not fit on the disk; the
        body then stays as it was.
        """
        body = Body(self._memory, self._directory)
        for piece in (data,) if isinstance(data, bytes) else data:
            body.append(piece)
        self._body = body
        self.separated = True

    def drop(self) -> None:
        """Give the body's memory and disk back; the headers stay.  May be called twice."""
        if self._body.size:
            self._body.close()
            self._body = Body(self._memory, self._directory)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks()

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())

    def __repr__(self) -> str:
        return f"<Message of {self.size} octets>"

    def _start(self) -> None:
        self.headers = Headers()
        self.headers_complete = False  #: the body has begun, or all is in
        #: the limit that the header block is beyond, so that nothing was kept; empty: none
        self.oversized_header: Literal["", "header_size", "header_lines"] = ""
        self.separated = False  #: an empty line ends the header; if not, other readers may differ
        self._arrived: bytes | bytearray = b""  # of the header, while it is not complete
        self._known = 0  # octets in there that are header for certain
        self._lines = 0  # in those octets
        self._indented = False  # the body would continue a field if one stood above it
        self._body = Body(self._memory, self._directory)

    def _append_header(self, data: bytes) -> None:
        arrived: bytes | bytearray = data
        if self._arrived:
            self._arrived += data
            arrived = self._arrived
        known = self._known
        self._known, ended = _header_reach(arrived, known)
        self._lines += arrived.count(b"\n", known, self._known)
        if self._known > self._header_limit:
            self.oversized_header, self._arrived = "header_size", b""
        elif self._lines > self._header_lines:
            self.oversized_header, self._arrived = "header_lines", b""
        elif ended:
            self._complete(arrived, self._known)
        elif not self._arrived:
            self._arrived = bytearray(data)

    def _complete(self, arrived: bytes | bytearray, end: int) -> None:
        self._arrived = b""
        self.separated = arrived[end : end + 2] == b"\r\n"
        self._indented = arrived[end : end + 1] in (b" ", b"\t")
        self.headers = Headers(bytes(self.headers) + arrived[:end])
        self.headers_complete = True
        octets = arrived if isinstance(arrived, bytes) else memoryview(arrived)
        self._body.append(bytes(octets[end + 2 if self.separated else end :]))

    def _head(self) -> bytes:
        return bytes(self.headers) + self._gap()

    def _gap(self) -> bytes:
        """What stands between header and body."""
        if not self.separated:
            return b"\r\n" if self._indented and self.headers.size else b""
        # A header that was cut off inside a line has no CRLF of its own.
        return b"\r\n" if self.headers.finished else b"\r\n\r\n"


def _header_reach(block: bytes | bytearray, known: int) -> tuple[int, bool]:
    """How far the header reaches for certain, and whether it ends there.

    `known` is the answer for what there was of the block before, 0 at first.
    """
    if known or _FIELD.match(block):
        line_end = _LAST_LINE_END.search(block, max(known - 1, 0))
        if line_end is None:
            return len(block), False
        known = line_end.end()
    return known, not _UNDECIDED.match(block, known)
