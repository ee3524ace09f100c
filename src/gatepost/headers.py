"""Headers: a header block that keeps its bytes (RFC 5322, 2.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeAlias

from gatepost.encoded_word import decode_words, encode_words

#: Octets of one line without its CRLF (RFC 5322, 2.1.1).
LINE_LIMIT = 998

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_START = re.compile(rb"([!-9;-~]++)[ \t]*+:")
_FIELD_NAME = re.compile(r"[!-9;-~]+")
_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u2029\ud800-\udfff]")
# A line of blanks alone would end the header for some readers (RFC 5322, 3.2.2).
_VALUE = re.compile(
    r"(?:[\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]++|\r\n[ \t]++(?=[^ \t\r\n]))*+"
)
_FOLD = re.compile(rb"[ \t]*+[^ \t](?:.{0,900}|.*?)(?=[ \t][^ \t])", re.DOTALL)
_NOTHING = re.compile(rb"(?!)")
#: RFC 2047, 5: an encoded word must not be used in a Received field; RFC 6531, 3.7.3: UTF-8 may.
_NEVER_ENCODED = frozenset({"received"})


#: The name in lower case, None for a line that is no field; then all of it, with its CRLF.
_Field: TypeAlias = tuple[str | None, bytes]


class Headers:
    r"""The header fields of a message, in order, each with exactly the bytes that it came with.

    `Headers(b"Subject: hi\r\nFrom: <anne@a.example>\r\n")`.  Names match in any case.  Values are
    read decoded (unfolded, RFC 2047, UTF-8) and never raise; a change touches only the field that
    it names.  A line that is no field keeps its place and is never found.

    What is written is made fit for the wire: other than ASCII becomes encoded words, or UTF-8
    (RFC 6532) with `utf8=True`, for messages that travel with SMTPUTF8; a line beyond 998 octets
    is folded where it has a blank.  ValueError is raised for a name that is no field name and for
    a value with a control character or a line break that is no fold (CRLF, blanks, more text).
    """

    __slots__ = ("_block", "_fields")

    def __init__(self, block: bytes = b"") -> None:
        self._block = block
        self._fields: list[_Field] | None = None  # nobody has looked yet

    def get(self, name: str) -> str | None:
        """The decoded value of the first field of that name; None where there is none."""
        key = name.lower()
        for found, octets in self._parsed():
            if found == key:
                return _value(octets)
        return None

    def get_all(self, name: str) -> list[str]:
        """The decoded values of all fields of that name, from the top."""
        return [_value(octets) for octets in self.raw(name)]

    def raw(self, name: str) -> list[bytes]:
        """All fields of that name as they came: name, colon, value, continuation lines, CRLF."""
        key = name.lower()
        return [octets for found, octets in self._parsed() if found == key]

    def count(self, name: str) -> int:
        """How many fields have that name; does not parse the block."""
        first, others = _counters(name)
        return bool(first.match(self._block)) + len(others.findall(self._block))

    def add(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field at the end of the block."""
        octets = _field(name, value, utf8)
        if not self.finished:
            self._block += b"\r\n"
            self._fields = None
        self._block += octets
        if self._fields is not None:
            self._fields.append((name.lower(), octets))

    def prepend(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field on top of the block, where trace fields belong (RFC 5321, 4.4)."""
        octets = _field(name, value, utf8)
        self._block = octets + self._block
        if self._fields is not None:
            self._fields.insert(0, (name.lower(), octets))

    def replace(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field in the place of the first of that name and remove its namesakes.

        Where there is none, it is put at the end.
        """
        key = name.lower()
        fields = self._parsed()
        place = next((place for place, (found, _) in enumerate(fields) if found == key), None)
        if place is None:
            self.add(name, value, utf8=utf8)
            return
        octets = _field(name, value, utf8)
        others = [field for field in fields[place + 1 :] if field[0] != key]
        self._rebuild([*fields[:place], (key, octets), *others])

    def remove(self, name: str, where: Callable[[bytes], bool] | None = None) -> int:
        """Remove all fields of that name, or those `where` says so; returns how many there were.

        `where` is given each as `raw` gives it.
        """
        key = name.lower()
        fields = self._parsed()
        others = [
            (found, octets)
            for found, octets in fields
            if found != key or (where is not None and not where(octets))
        ]
        if len(others) < len(fields):
            self._rebuild(others)
        return len(fields) - len(others)

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
        for key, octets in tuple(self._parsed()):
            if key is not None:
                yield octets[: len(key)].decode("ascii"), _value(octets)

    def __len__(self) -> int:
        return sum(key is not None for key, _ in self._parsed())

    def __bytes__(self) -> bytes:
        return self._block

    def __repr__(self) -> str:
        return f"Headers({self._block[:200]!r})"

    def _parsed(self) -> list[_Field]:
        if self._fields is None:
            self._fields = [(_key(octets), octets) for octets in _split(self._block)]
        return self._fields

    def _rebuild(self, fields: list[_Field]) -> None:
        self._fields = fields
        self._block = b"".join([octets for _, octets in fields])


def _split(block: bytes) -> Iterator[bytes]:
    start = 0
    for end in _FIELD_END.finditer(block):
        yield block[start : end.end()]
        start = end.end()
    if start < len(block):
        yield block[start:]


def _key(octets: bytes) -> str | None:
    match = _FIELD_START.match(octets)
    return match[1].decode("ascii").lower() if match else None


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
def _counters(name: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Patterns that find a field of that name on the first line and on the others."""
    if not _FIELD_NAME.fullmatch(name):
        return _NOTHING, _NOTHING
    start = b"(?i:%s)[ \\t]*:" % re.escape(name.encode())
    return re.compile(start), re.compile(rb"\n(?<=\r\n)" + start)
