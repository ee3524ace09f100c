"""Dot-stuffing, and the look through a message before it is sent (RFC 5321, 4.5.2 and 2.3.8)."""

from __future__ import annotations

from collections.abc import Iterable
from io import IncrementalNewlineDecoder


class Stuffing:
    """Doubles the dot that begins a line, in any split of the message."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  #: the last two octets; a message begins at the beginning of a line

    def stuff(self, piece: bytes) -> bytes:
        """The next octets of the message, as they go over the wire."""
        if not piece:
            return b""
        stuffed = piece.replace(b"\r\n.", b"\r\n..") if b"." in piece else piece
        if self._tail == b"\r\n" and piece[:1] == b".":
            stuffed = b"." + stuffed
        elif self._tail[-1:] == b"\r" and piece[:2] == b"\n.":
            stuffed = b"\n." + stuffed[1:]
        self._tail = (self._tail + piece[-2:])[-2:]
        return stuffed

    def end(self) -> bytes:
        """What goes between the message and its final dot: a CRLF, if it does not end in one."""
        return b"" if self._tail == b"\r\n" else b"\r\n"


class Survey:
    """What one must know of a message before its envelope is sent."""

    __slots__ = ("_decoder", "eight_bit", "size")

    def __init__(self) -> None:
        # It sees CR, LF and CRLF apart in one pass over the octets; counting them takes three.
        self._decoder = IncrementalNewlineDecoder(None, translate=False)
        self.size = 0  #: octets
        self.eight_bit = False  #: whether octets above 127 occur

    def add(self, piece: bytes) -> None:
        """Look at the next octets."""
        self._decoder.decode(piece.decode("latin-1"))
        self.size += len(piece)
        if not self.eight_bit and not piece.isascii():
            self.eight_bit = True

    @property
    def stray(self) -> bool:
        """Whether a CR or LF stands alone; to be asked when all octets have been seen."""
        self._decoder.decode("", final=True)  # a CR that stands last is a stray one
        return self._decoder.newlines not in (None, "\r\n")


def header_is_ascii(pieces: Iterable[bytes]) -> bool:
    """Whether the header block of a message holds no octet above 127."""
    tail = b"\r\n"
    for piece in pieces:
        window = tail + piece
        end = window.find(b"\r\n\r\n")
        if not (window if end < 0 else window[:end]).isascii():
            return False
        if end >= 0:
            return True
        tail = window[-3:]
    return True
