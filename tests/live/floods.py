"""What clients say who do not stop, as data."""

from __future__ import annotations

from typing import NamedTuple

#: Lines that are answered, and behind which a letter may come.
LETTER = ("EHLO x.example", "MAIL FROM:<a@x.example>", "RCPT TO:<bob@example.org>", "DATA")
_TO_BOB = LETTER[:3]
#: A letter without a word, which gives him his patience back who is asked for help too often.
_HELP = b"HELP\r\n" * 50 + b"".join(f"{line}\r\n".encode() for line in LETTER[1:]) + b".\r\n"

#: The beginning of a ClientHello of 512 octets.
HELLO = bytes((22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)) + bytes(60)


class Flood(NamedTuple):
    """Some lines that are answered, then the start, and then the same again and again."""

    lines: tuple[str, ...]
    again: bytes
    start: bytes = b""


FLOODS = {
    "noop": Flood((), b"NOOP\r\n"),
    "rset": Flood((), b"RSET\r\n"),
    "ehlo": Flood((), b"EHLO x.example\r\n"),
    "vrfy": Flood((), b"VRFY bob@example.org\r\n"),
    "junk": Flood((), b"XYZZY\r\n"),
    "recipients": Flood(_TO_BOB, b"RCPT TO:<bob@example.org>\r\n"),
    "strangers": Flood(_TO_BOB, b"RCPT TO:<bob@elsewhere.example>\r\n"),
    "cancelled AUTH": Flood(("EHLO x.example",), b"AUTH PLAIN\r\n*\r\n"),
    "endless command": Flood((), b"x"),
    "endless line": Flood(LETTER, b"x"),
    "endless header": Flood(LETTER, b"X: y\r\n"),
    "endless letter": Flood(LETTER, b"Hello!\r\n"),
    "endless dots": Flood(LETTER, b"..\r\n"),
    "endless chunk": Flood(_TO_BOB, b"x", b"BDAT 1000000000000000\r\n"),
    "endless chunks": Flood(_TO_BOB, b"BDAT 3\r\nx\r\n"),
    "deaf": Flood(("EHLO x.example",), _HELP),
}
