"""Line ends: CRLF is the wire's, LF this machine's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def with_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Octets in pieces with each CRLF as LF, also one that two pieces share."""
    held = b""
    for piece in pieces:
        piece = held + piece
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece[: len(piece) - len(held)].replace(b"\r\n", b"\n")
    yield held
