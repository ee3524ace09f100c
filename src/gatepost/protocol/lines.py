"""The strict lexer: only CRLF ends a line, and only CRLF.CRLF ends a message.

What a lenient reader takes for a line end, an attacker takes for a second message; see "SMTP
smuggling", CVE-2023-51764 and its kin.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from io import IncrementalNewlineDecoder

#: The first octets of a TLS record that holds a handshake.
_TLS = b"\x16\x03"
#: Octets of a line of AUTH, or of an answer to a challenge, with its CRLF (RFC 4954, 4.2).
AUTH_LINE_LIMIT = 12_288
#: Octets of a message that are read at a time: as many as a socket gives us at once.
_AT_A_TIME = 262_144
_PREAMBLES = frozenset({b"DATA ", b"BDAT "})
#: With what the end of a message may begin, the longest first.
_BEGINNINGS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")
_STRAY_LF = re.compile(rb"(?<!\r)\n")
_STRAY_CR = re.compile(rb"\r(?!\n)")


class Flaw(Enum):
    """What is wrong with a line or a message."""

    LONG_LINE = auto()
    STRAY_LINE_END = auto()
    TLS_HELLO = auto()  #: a ClientHello where a command should be; its sender waits for an answer
    LONG_PREAMBLE = auto()  #: a long line that begins as DATA or BDAT do; a message may follow it
    LONG_AUTH = auto()  #: a line of an authentication that is even longer than those may be


LONG_LINE, STRAY_LINE_END, TLS_HELLO, LONG_PREAMBLE, LONG_AUTH = Flaw


class LineBuffer:
    """Octets that were received and are not understood yet.

    It holds no more than one line over the limit plus what was appended last.
    """

    __slots__ = (
        "_limit", "_octets", "_skipped", "_start", "takes_auth", "takes_response", "unread",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.takes_auth = False  #: whether a line that begins with AUTH may be longer than others
        self.takes_response = False  #: whether every line may: it answers a challenge
        self._octets = b""
        self._start = 0
        self._skipped = b""  # the first octets of a long line; its other octets are forgotten
        self.unread = 0  #: octets

    def append(self, octets: bytes) -> None:
        """Take what was received."""
        if self._octets:
            octets = self._octets[self._start :] + octets
            self._start = 0
        self._octets = octets
        self.unread = len(octets)

    def take(self, most: int) -> bytes:
        """The next octets as they are, so many at most."""
        octets = self._octets
        if self.unread <= most:
            octets = octets[self._start :] if self._start else octets
            self.clear()
            return octets
        start = self._start
        self._start += most
        self.unread -= most
        return octets[start : self._start]

    def put_back(self, octets: bytes) -> None:
        """Have those not taken after all that were taken last."""
        if self._octets:
            self._start -= len(octets)
        else:
            self._octets = octets
        self.unread += len(octets)

    def clear(self) -> None:
        """Forget everything that is not read yet."""
        self._octets = b""
        self._start = self.unread = 0

    def line(self) -> bytes | Flaw | None:
        """The next line without its CRLF, what is wrong with it, or None when more is needed."""
        octets, start = self._octets, self._start
        if not octets:
            return None
        end = octets.find(b"\r\n", start)
        if end < 0:
            return self._unfinished_line()
        line = octets[start:end]
        self._start = end + 2
        self.unread = len(octets) - self._start
        if not self.unread:
            self._octets, self._start = b"", 0
        too_long = end + 2 - start > self._limit and not self._may_be_long(line)
        if self._skipped or too_long or b"\n" in line or line[:2] == _TLS:
            return self._flaw(line)
        return line

    def _flaw(self, line: bytes) -> Flaw:
        beginning, self._skipped = self._skipped or line[:5], b""
        if beginning[:2] == _TLS:
            return TLS_HELLO
        if b"\n" in line:
            return STRAY_LINE_END
        if self._is_of_auth(beginning):
            return LONG_AUTH
        return LONG_PREAMBLE if beginning.upper() in _PREAMBLES else LONG_LINE

    def _may_be_long(self, line: bytes) -> bool:
        return len(line) <= AUTH_LINE_LIMIT - 2 and self._is_of_auth(line[:5])

    def _is_of_auth(self, beginning: bytes) -> bool:
        return self.takes_response or (self.takes_auth and beginning.upper() == b"AUTH ")

    def _unfinished_line(self) -> Flaw | None:
        if self._octets.startswith(_TLS, self._start) and not self._skipped:
            return TLS_HELLO
        if self._octets.find(b"\n", self._start) >= 0:  # it would wait for a CRLF for ever
            return STRAY_LINE_END
        too_long = self.unread > self._limit
        if self._skipped or (too_long and not self._may_be_long(self._octets[self._start :])):
            self._skipped = self._skipped or self._octets[self._start : self._start + 5]
            ends_in_cr = self._octets.endswith(b"\r")
            self.clear()
            self.append(b"\r" if ends_in_cr else b"")
        return None


class TextFilter:
    """Watches the text of a message go by, in any split: stray line ends and long lines.

    A flawed text is swallowed from where the flaw is seen; with `repair`, stray LFs become CRLF
    and stray CRs blanks instead.
    """

    __slots__ = ("_decoder", "_held", "_limit", "_line", "_repair", "_strays", "flaw")

    def __init__(self, limit: int, *, repair: bool = False) -> None:
        # Of all that CPython offers this sees CR, LF and CRLF apart in one pass over the octets;
        # counting each of them takes three.
        self._decoder = IncrementalNewlineDecoder(None, translate=False)
        self._limit = limit
        self._line = 0  #: octets since the last LF
        self._repair = repair
        self._strays = False
        self._held = b""
        self.flaw: Flaw | None = None

    def filter(self, text: bytes) -> bytes:
        """The next octets, as they may be kept."""
        self._decoder.decode(text.decode("latin-1"))
        if self._decoder.newlines not in (None, "\r\n"):
            self._strays = True
        if self._strays and not self._repair:
            self.flaw = STRAY_LINE_END
        elif self.flaw is None and self._has_long_line(text):
            self.flaw = LONG_LINE
        if self.flaw is not None:
            return b""
        return self._mended(text) if self._repair else text

    def end(self) -> bytes:
        """The text is over: a CR that stands last is a stray one."""
        self._decoder.decode("", final=True)
        if self._decoder.newlines not in (None, "\r\n") and not self._repair:
            self.flaw = STRAY_LINE_END
        held, self._held = self._held, b""
        return b" " if held else b""

    def _mended(self, text: bytes) -> bytes:
        text = self._held + text
        self._held = b"\r" if text.endswith(b"\r") else b""
        text = text[: len(text) - len(self._held)]
        return _STRAY_CR.sub(b" ", _STRAY_LF.sub(b"\r\n", text)) if self._strays else text

    def _has_long_line(self, text: bytes) -> bool:
        """Stride from line end to line end, as far as one line may reach."""
        start = -self._line
        while start + self._limit < len(text):
            line_end = text.rfind(b"\n", max(start, 0), start + self._limit)
            if line_end < 0:
                return True
            start = line_end + 1
        line_end = text.rfind(b"\n", max(start, 0))
        self._line = len(text) - (line_end + 1 if line_end >= 0 else start)
        return False


class ChunkReader:
    """Reads the octets of one BDAT as they are (RFC 3030, 2)."""

    __slots__ = ("_left",)

    def __init__(self, size: int) -> None:
        self._left = size

    @property
    def ended(self) -> bool:
        """Whether all octets have been read."""
        return not self._left

    @property
    def most(self) -> int:
        """How many octets it can make use of now."""
        return self._left

    def read(self, received: bytes) -> tuple[bytes, bytes]:
        """Take octets; return those of the chunk, and those behind its end."""
        content, behind = received[: self._left], received[self._left :]
        self._left -= len(content)
        return content, behind


class DataReader:
    """Reads a message up to CRLF.CRLF and unstuffs its dots (RFC 5321, 4.5.2), in any split."""

    __slots__ = ("_held", "_lead", "ended", "most")

    def __init__(self) -> None:
        self.most = _AT_A_TIME  #: how many octets it can make use of now
        # The CRLF behind DATA counts as the one before the dot, but not as part of the message.
        self._held = b"\r\n"
        self._lead = 2
        self.ended = False

    def read(self, received: bytes) -> tuple[bytes, bytes]:
        """Take octets; return those of the message, and those behind its end."""
        octets = self._held + received
        behind = b""
        dot = octets.find(b"\r\n.") if b"." in octets else -1
        end = octets.find(b"\r\n.\r\n", dot) if dot >= 0 else -1
        if end >= 0:
            self.ended = True
            octets, behind = octets[: end + 2], octets[end + 5 :]
        else:
            self._held = _beginning_of_end(octets)
            octets = octets[: len(octets) - len(self._held)]
        if 0 <= dot < len(octets):
            # Not one after the other: a message may have nothing but lines that begin with a dot.
            octets = octets.replace(b"\r\n.", b"\r\n")
        if self._lead and octets:
            octets, self._lead = octets[self._lead :], 0
        return octets, behind


def _beginning_of_end(octets: bytes) -> bytes:
    """The octets at the end of a piece with which CRLF.CRLF may begin."""
    return next((start for start in _BEGINNINGS if octets.endswith(start)), b"")
