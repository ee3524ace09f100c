"""Headers: a header block that keeps its bytes (RFC 5322, 2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from gatepost.encoded_word import decode_words, encode_words

#: Octets of one line without its CRLF (RFC 5322, 2.1.1).
LINE_LIMIT = 998

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_START = re.compile(rb"([!-9;-~]++)[ \t]*+:")
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\ud800-\udfff]")
# A line of blanks alone would end the header for some readers (RFC 5322, 3.2.2).
_VALUE = re.compile(
    r"(?:[\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]++|\r\n[ \t]++(?=[^ \t\r\n]))*"
)
_FOLD = re.compile(rb"[ \t]*+[^ \t](?:.{0,900}|.*?)(?=[ \t][^ \t])", re.DOTALL)
_NOTHING = re.compile(rb"(?!)")
#: RFC 2047, 5: an encoded word must not be used in a Received field; RFC 6531, 3.7.3: UTF-8 may.
_NEVER_ENCODED = frozenset({"received"})


class Headers:
    r"""The header fields of a message, in order, each with exactly the bytes that it came with.

    `Headers(b"Subject: hi\r\nFrom: <anne@a.example>\r\n")`.  Names match in any case.  Values are
    read decoded (unfolded, RFC 2047, UTF-8) and never raise; a change touches only the field that
    it names.  A line that is no field keeps its place and is never found.  Fields are looked for by
    their names: the block is taken to pieces only for who goes through all of them, because it may
    be made of nothing but fields, a hundred thousand of them.

    What is written is made fit for the wire: other than ASCII becomes encoded words, or UTF-8
    (RFC 6532) with `utf8=True`, for messages that travel with SMTPUTF8; a line beyond 998 octets
    is folded where it has a blank.  ValueError is raised for a name that is no field name and for
    a value with a control character or a line break that is no fold (CRLF, blanks, more text).
    """

    __slots__ = ("_block",)

    def __init__(self, block: bytes = b"") -> None:
        self._block = block

    def get(self, name: str) -> str | None:
        """The decoded value of the first field of that name; None where there is none."""
        for start, end in self._places(name):
            return _value(self._block[start:end])
        return None

    def get_all(self, name: str) -> list[str]:
        """The decoded values of all fields of that name, from the top."""
        return [_value(octets) for octets in self.raw(name)]

    def raw(self, name: str) -> list[bytes]:
        """All fields of that name as they came: name, colon, value, continuation lines, CRLF."""
        return [self._block[start:end] for start, end in self._places(name)]

    def count(self, name: str) -> int:
        """How many fields have that name."""
        first, others = _finders(name)
        return bool(first.match(self._block)) + len(others.findall(self._block))

    def add(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field at the end of the block."""
        octets = _field(name, value, utf8)
        if not self.finished:
            self._block += b"\r\n"
        self._block += octets

    def prepend(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field on top of the block, where trace fields belong (RFC 5321, 4.4)."""
        self._block = _field(name, value, utf8) + self._block

    def replace(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field in the place of the first of that name and remove its namesakes.

        Where there is none, it is put at the end.
        """
        places = list(self._places(name))
        if places:
            self._block = _without(self._block, places, _field(name, value, utf8))
        else:
            self.add(name, value, utf8=utf8)

    def remove(self, name: str, where: Callable[[bytes], bool] | None = None) -> int:
        """Remove all fields of that name, or those `where` says so; returns how many there were.

        `where` is given each as `raw` gives it.
        """
        block = self._block
        places = [
            (start, end)
            for start, end in self._places(name)
            if where is None or where(block[start:end])
        ]
        if places:
            self._block = _without(block, places)
        return len(places)

    @property
    def size(self) -> int:
        """Octets of the block."""
        return len(self._block)

    @property
    def finished(self) -> bool:
        """Whether the last line has its CRLF; a message may break off inside its header."""
        return not self._block or self._block.endswith(b"\r\n")

    def __contains__(self, name: str) -> bool:
        return self.count(name) > 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for octets in _split(self._block):
            if start := _FIELD_START.match(octets):
                yield start[1].decode("ascii"), _value(octets)

    def __len__(self) -> int:
        return sum(_FIELD_START.match(octets) is not None for octets in _split(self._block))

    def __bytes__(self) -> bytes:
        return self._block

    def __repr__(self) -> str:
        return f"Headers({self._block[:200]!r})"

    def _places(self, name: str) -> Iterator[tuple[int, int]]:
        """Where the fields of that name begin and end, from the top."""
        block = self._block
        first, others = _finders(name)
        if first.match(block):
            yield 0, _end_of_field(block, 0)
        for found in others.finditer(block):
            start = found.start() + 1
            yield start, _end_of_field(block, start)


def _split(block: bytes) -> Iterator[bytes]:
    start = 0
    for end in _FIELD_END.finditer(block):
        yield block[start : end.end()]
        start = end.end()
    if start < len(block):
        yield block[start:]


def _end_of_field(block: bytes, start: int) -> int:
    end = block.find(b"\r\n", start)
    while end >= 0 and block[end + 2 : end + 3] in (b" ", b"\t"):  # the next line continues it
        end = block.find(b"\r\n", end + 2)
    return end + 2 if end >= 0 else len(block)


def _without(block: bytes, places: Iterable[tuple[int, int]], instead: bytes = b"") -> bytes:
    """The block without what stands at these places, and with something at the first of them."""
    pieces: list[bytes] = []
    behind = 0
    for start, end in places:
        pieces += block[behind:start], instead
        instead, behind = b"", end
    return b"".join((*pieces, block[behind:]))


def _value(octets: bytes) -> str:
    text = octets[octets.index(b":") + 1 :].decode("utf-8", "replace").strip(" \t\r\n")
    if text.isprintable() and "=?" not in text:
        return text
    decoded = decode_words(text.replace("\r\n", ""))
    # Line breaks can hide in encoded words; what is read here may be written again.
    return _UNPRINTABLE.sub(" ", decoded).strip(" \t")


def _field(name: str, value: str, utf8: bool) -> bytes:
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no field name")
    if not value.isprintable() and not _VALUE.fullmatch(value):
        raise ValueError(f"{name}: a control character or a broken fold in {value!r}")
    if not (utf8 or value.isascii() or name.lower() in _NEVER_ENCODED):
        value = encode_words(value)
    octets = f"{name}: {value}\r\n".encode()
    return octets if len(octets) <= LINE_LIMIT else _folded(octets)


def _folded(octets: bytes) -> bytes:
    lines: list[bytes] = []
    for line in octets[:-2].split(b"\r\n"):
        start = 0
        while len(line) - start > LINE_LIMIT and (fold := _FOLD.match(line, start)):
            lines.append(fold[0])
            start = fold.end()
        lines.append(line[start:])
    return b"\r\n".join(lines) + b"\r\n"


@lru_cache(maxsize=256)
def _finders(name: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Patterns that find a field of that name on the first line and on the others."""
    if not _FIELD_NAME.fullmatch(name):
        return _NOTHING, _NOTHING
    start = b"(?i:%s)[ \\t]*:" % re.escape(name.encode())
    return re.compile(start), re.compile(rb"\n(?<=\r\n)" + start)
