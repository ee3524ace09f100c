"""Reply: a code, an enhanced status and the lines that go with them (RFC 5321, 4.2; RFC 3463)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

#: Octets of one reply line with its CRLF (RFC 5321, 4.5.3.1.5).
LINE_LIMIT = 512

_SPELLING = re.compile(
    r"(?P<code>[2-5]\d\d)(?: (?P<status>[245]\.\d{1,3}\.\d{1,3}))?(?: (?P<text>.*))?", re.DOTALL
)
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_UNPRINTABLE = re.compile(r"[^\n\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """Foreign text made fit for a reply: a line break stays one, other controls become blanks."""
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))


@dataclass(slots=True, unsafe_hash=True)  # not frozen, as that would double the cost of each
class Reply:
    r"""What a server says to one command; `\n` in the text begins a further line of it.

    Raises ValueError for a code outside 200 to 599, a status of another class than the code, and
    a control character in the text: a reply cannot be split into two, whoever words it.
    """

    code: int
    status: str = ""
    text: str = ""
    final: bool = False  #: the connection ends after it
    #: of the table [limits]: the one that the client has run into; empty: none
    limit: str = field(default="", repr=False, compare=False)
    positive: bool = field(init=False, repr=False, compare=False)  #: yes, or go on
    _ascii: bytes = field(init=False, repr=False, compare=False)  #: most are sent more than once

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"{self.code} is no reply code")
        if self.status and not _fits(self.status, self.code):
            raise ValueError(f"{self.status} is no status for code {self.code}")
        if not self.text.isprintable() and _UNPRINTABLE.search(self.text):
            raise ValueError(f"control characters in {self.text!r}")
        self.positive = self.code < 400
        self._ascii = self._encoded("ascii")

    @classmethod
    def parse(cls, line: str) -> Reply:
        """Read a reply as people write it: `550 5.1.1 No such user`."""
        match = _SPELLING.fullmatch(line)
        if match is None:
            raise ValueError(f"not a reply: {line!r}")
        code = int(match["code"])
        return cls(code, match["status"] or "", match["text"] or "", final=code in (221, 421))

    def encode(self, *, utf8: bool = False) -> bytes:
        """The octets on the wire; without SMTPUTF8 in force, other than ASCII becomes `?`."""
        return self._encoded("utf-8") if utf8 else self._ascii

    def __bytes__(self) -> bytes:
        return self._ascii

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.status, self.text) if part)

    def _encoded(self, charset: str) -> bytes:
        status = f"{self.status} " if self.status else ""
        if len(self.text) < LINE_LIMIT // 4 and "\n" not in self.text:  # a character is 4 octets
            return f"{self.code} {status}{self.text}\r\n".encode(charset, "replace")
        lines = self._wire_lines(LINE_LIMIT - len(status) - 6)
        last = lines.pop()
        text = "".join(f"{self.code}-{status}{line}\r\n" for line in lines)
        return f"{text}{self.code} {status}{last}\r\n".encode(charset, "replace")

    def _wire_lines(self, room: int) -> list[str]:
        """The text's lines, those that are too long for the wire broken into several."""
        lines = self.text.split("\n")
        if len(self.text.encode("utf-8", "replace")) <= room:
            return lines
        return [piece for line in lines for piece in _pieces(line, room)]


@lru_cache(maxsize=1024)
def _fits(status: str, code: int) -> bool:
    """Whether a status is one, and of the code's class; 3xx goes with class 2."""
    return bool(_STATUS.fullmatch(status)) and int(status[0]) == (2 if code < 400 else code // 100)


def _pieces(line: str, room: int) -> list[str]:
    octets = line.encode("utf-8", "replace")
    pieces: list[str] = []
    while len(octets) > room:
        end = room
        while octets[end] & 0xC0 == 0x80:  # never cut a UTF-8 sequence
            end -= 1
        pieces.append(octets[:end].decode())
        octets = octets[end:]
    return [*pieces, octets.decode()]
