"""Letters that are made to exhaust whoever takes them (R6 of the standards).

Each is a header and a body as they go behind DATA, without the dot at the end, and the reply that
it earns: it is carried as it is, or there is a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

_CARRIED, _TOO_MUCH, _LOOP = b"250 2.0.0", b"554 5.6.0", b"554 5.4.6"
_LINE = b"How are you? I am fine.  It has been raining since you left.\r\n"
_MIME = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"


@dataclass(frozen=True)
class Letter:
    """One of them, most of which is the same again and again."""

    reply: bytes  #: the first octets of what it earns
    start: bytes
    again: bytes
    times: int
    end: bytes = b""

    @property
    def text(self) -> bytes:
        """All of it."""
        return self.start + self.again * self.times + self.end


def ordinary(size: int) -> bytes:
    """A letter as people write them, of about so many octets."""
    return b"Subject: Hello\r\n\r\n" + _LINE * (size // len(_LINE))


def _header(reply: bytes, field: bytes, times: int) -> Letter:
    return Letter(reply, b"Subject: Hello\r\n", field, times, b"\r\nHow are you?\r\n")


def _nested(depth: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)


_RESULTS = b"Authentication-Results:"

#: All of them, by what is wrong with them.
LETTERS = {
    "100,000 fields": _header(_TOO_MUCH, b"X: y\r\n", 100_000),
    "fields of two octets": _header(_TOO_MUCH, b"a:\r\n", 250_000),
    "as many fields as there may be": _header(_CARRIED, b"a:\r\n", 9_990),
    "a field of 10 MB": Letter(_TOO_MUCH, b"Subject: Hello\r\n", b" " + _LINE, 160_000, b"\r\n"),
    "a line of 10 MB": Letter(_TOO_MUCH, b"Subject: ", b"x", 10_000_000, b"\r\n\r\n"),
    "a million Received": _header(_TOO_MUCH, b"Received: x\r\n", 1_000_000),
    "a thousand Received": _header(_LOOP, b"Received: x\r\n", 1_000),
    "foreign results": _header(_CARRIED, _RESULTS + b" (" + b"x" * 75 + b"\r\n", 9_990),
    "foreign results with comments": _header(_CARRIED, _RESULTS + b'"(' * 450 + b"\r\n", 1_100),
    "foreign results in encoded words": _header(
        _CARRIED, _RESULTS + b"=?utf-8?q?a?= " * 60 + b"\r\n", 1_100
    ),
    "100,000 parts": Letter(_CARRIED, _MIME, b"--b\r\n\r\nx\r\n", 100_000, b"--b--\r\n"),
    "parts within parts": Letter(_CARRIED, b"".join(map(_nested, range(1000))), b"x\r\n", 1),
    "a part that never ends": Letter(_CARRIED, _MIME + b"--b\r\n\r\n", _LINE, 20_000),
    "a boundary that begins another": Letter(_CARRIED, _MIME, b"--bb\r\n--b\r\n", 80_000),
    "lines that begin with a dot": Letter(_CARRIED, b"Subject: Hello\r\n\r\n", b"..\r\n", 500_000),
    "lines that are empty": Letter(_CARRIED, b"Subject: Hello\r\n", b"\r\n", 1_000_000),
    "lines of one octet": Letter(_CARRIED, b"\r\n", b"x\r\n", 1_000_000),
}
