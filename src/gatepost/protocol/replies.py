"""The reply parser: a server's octets become replies (RFC 5321, 4.2), however hostile the server.

Only CRLF ends a line.  What a server says is stored inert: no control character survives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gatepost.reply import Reply, printable

#: Octets of one reply line with its CRLF; RFC 5321, 4.5.3.1.5 lets a server send 512.
LINE_LIMIT: Final = 2048
#: Lines of one reply.
LINES_LIMIT: Final = 512
#: Octets of one reply.
REPLY_LIMIT: Final = 65_536
#: Octets that may wait to be read, in whole replies; a batch of commands earns as many at once.
UNREAD_LIMIT: Final = 1_048_576

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*+))?", re.DOTALL)
_STATUS = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?: |$)")


@dataclass(frozen=True, slots=True)
class ProtocolViolation:
    """The peer said what no peer may say; nothing that it says from then on is read."""

    reason: str  #: a phrase that goes on from "the peer sent"


BAD_LINE = ProtocolViolation("a line that is too long or does not end in CR LF")
NO_REPLY = ProtocolViolation("a line that is no reply")
CODE_CHANGED = ProtocolViolation("one reply with two codes")
LONG_REPLY = ProtocolViolation("a reply that is too long")
FLOOD = ProtocolViolation("more than was asked for")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a reply; alone, it would be this reply."""

    reply: Reply
    last: bool
    length: int  #: octets, its CRLF included


class ReplyReader:
    """Octets that were received, and the replies that they amount to."""

    __slots__ = ("_length", "_octets", "_parts", "_start", "_violation")

    def __init__(self) -> None:
        self._octets = b""
        self._start = 0
        self._parts: list[Reply] = []  #: lines of the reply that is under way
        self._length = 0  #: octets of these lines
        self._violation: ProtocolViolation | None = None

    @property
    def unread(self) -> int:
        """Octets received that no reply has told of yet."""
        return len(self._octets) - self._start + self._length

    def receive_data(self, data: bytes) -> None:
        """Take octets from the server; `next_reply` makes sense of them."""
        if self._violation is not None:
            return
        self._octets = self._octets[self._start :] + data
        self._start = 0
        if len(self._octets) > UNREAD_LIMIT:
            self._break(FLOOD)

    def next_reply(self) -> Reply | ProtocolViolation | None:
        """The next whole reply; None when more octets are needed."""
        while (end := self._octets.find(b"\r\n", self._start)) >= 0:
            line = _parse(self._octets[self._start : end])
            self._start = end + 2
            if isinstance(line, ProtocolViolation):
                self._break(line)
            elif line.last and not self._parts:
                return line.reply
            elif (flaw := self._add(line)) is not None:
                self._break(flaw)
            elif line.last:
                return self._whole()
        if len(self._octets) > self._start and self._unfinished_is_bad():
            self._break(BAD_LINE)
        return self._violation

    def clear(self) -> None:
        """Forget what was received and not read."""
        self._octets, self._start = b"", 0
        self._parts, self._length = [], 0

    def _break(self, violation: ProtocolViolation) -> None:
        self.clear()
        self._violation = violation

    def _unfinished_is_bad(self) -> bool:
        octets, start = self._octets, self._start
        return len(octets) - start > LINE_LIMIT or octets.find(b"\n", start) >= 0

    def _add(self, line: _Line) -> ProtocolViolation | None:
        if self._parts and self._parts[0].code != line.reply.code:
            return CODE_CHANGED
        self._parts.append(line.reply)
        self._length += line.length
        if len(self._parts) > LINES_LIMIT or self._length > REPLY_LIMIT:
            return LONG_REPLY
        return None

    def _whole(self) -> Reply:
        first = self._parts[0]
        lines = [
            part.text if part.status == first.status else f"{part.status} {part.text}".strip()
            for part in self._parts
        ]
        self._parts, self._length = [], 0
        return Reply(first.code, first.status, "\n".join(lines), final=first.final)


@lru_cache(maxsize=256)  # a server says the same few lines all day
def _parse(line: bytes) -> _Line | ProtocolViolation:
    if len(line) > LINE_LIMIT - 2 or b"\n" in line or b"\r" in line:
        return BAD_LINE
    match = _LINE.fullmatch(line)
    if match is None:
        return NO_REPLY
    code = int(match[1])
    text = printable((match[3] or b"").decode("utf-8", "replace"))
    status = ""
    if (found := _STATUS.match(text)) and found[1] == ("2" if code < 400 else str(code)[0]):
        status, text = found[0].strip(), text[found.end() :]
    reply = Reply(code, status, text, final=code in (221, 421))
    return _Line(reply, match[2] != b"-", len(line) + 2)
