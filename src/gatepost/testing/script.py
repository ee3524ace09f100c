r"""The language of dialogues: what the server must say, and what the client says.

    S: 220 mx.example ...           `...` stands for anything
    C: EHLO client.example          sent with CR LF behind it
    S: 250-SIZE ...                 one line of a reply
    S: 250 ...                      a whole reply, or the rest of one, on however many lines
    C: MAIL FROM:<\xff@a.example>   \xNN \r \n \\ stand for octets
    C: half a li\                   a backslash at the end: no CR LF is sent
    C: <tls>                        the client has made its TLS handshake
    S: <closed>                     the server has hung up
    # a comment

What stands on `C:` lines without an `S:` line between them is sent in one piece, and before an
answer is waited for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(r)|(n)|(\\)|$)")


@dataclass(frozen=True, slots=True)
class Said:
    """The server must say this."""

    number: int  #: of the line in its script, from 1
    pattern: str

    @property
    def whole(self) -> bool:
        """Whether a whole reply is meant, and not one line of it."""
        return self.pattern[3:4] != "-"

    def matches(self, text: str) -> bool:
        """Whether the text is what was to be said."""
        pattern = re.escape(self.pattern).replace(r"\.\.\.", ".*")
        return re.fullmatch(pattern, text, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class HungUp:
    """The server must have closed the connection."""

    number: int


@dataclass(frozen=True, slots=True)
class Secured:
    """The server waits for a TLS handshake, and the client has made it."""

    number: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The client says this."""

    number: int
    text: str  #: as it stands in the script

    @property
    def octets(self) -> bytes:
        """What goes over the wire."""
        written = self.text.encode("utf-8", "surrogateescape")
        match = _ESCAPE.search(written)
        octets = _ESCAPE.sub(_octet, written) if match else written
        return octets if self._continues else octets + b"\r\n"

    @property
    def _continues(self) -> bool:
        backslashes = len(self.text) - len(self.text.rstrip("\\"))
        return backslashes % 2 == 1


Step: TypeAlias = Said | HungUp | Secured | Sent


def read_script(script: str) -> Iterator[Step]:
    """The steps of a dialogue; raises ValueError for a line that is neither `S:` nor `C:`."""
    for number, line in enumerate(script.split("\n"), 1):
        who, text = line.strip()[:3].rstrip(), line.strip()[3:]
        if who == "S:":
            yield HungUp(number) if text == "<closed>" else Said(number, text)
        elif who == "C:":
            yield Secured(number) if text == "<tls>" else Sent(number, text)
        elif who and not who.startswith("#"):
            raise ValueError(f"line {number} begins with neither S: nor C:, {line.strip()!r}")


def _octet(match: re.Match[bytes]) -> bytes:
    number, cr, lf, backslash = match.groups()
    if number:
        return bytes((int(number, 16),))
    return (b"\r" if cr else b"") + (b"\n" if lf else b"") + (b"\\" if backslash else b"")
