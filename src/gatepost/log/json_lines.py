"""The log as a program reads it: one JSON object an event, each on a line of its own."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping

import msgspec

from gatepost.log.record import fields_of, text_of
from gatepost.visible import visible

_SURROGATE = re.compile("[\ud800-\udfff]")
_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonLines(logging.Formatter):
    r"""Writes an event as an object with `time` (RFC 3339, UTC), `level`, `logger` and `text`.

    What else is known stands beside them: `session`, `message`, `event` and the event's fields.
    All of a line is printable: an escape stands there as `\u001b`, inside a string.  `text` is what
    a person would read, and in it control characters are spelled out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = (-1, "")  # the last second, and how it is told

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event, without its line end."""
        head: dict[str, object] = {
            "time": self._at(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": visible(text_of(record)),
        }
        line = as_json(head | fields_of(record) | head)
        if line.isprintable():
            return line
        return "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)

    def _at(self, moment: float) -> str:
        second = int(moment)
        known, told = self._told  # together, because several threads log
        if second != known:
            told = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._told = second, told
        return f"{told}.{int(moment * 1000) % 1000:03d}Z"


def as_json(value: object) -> str:
    """Any value as JSON, on one line; what JSON does not know becomes text."""
    try:
        return _encode(value).decode()
    except (TypeError, ValueError):
        return _encode(_plain(value)).decode()


def _plain(value: object) -> object:
    r"""The value made of what JSON knows, with `\udcff` spelled out, for which it has no room."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))


def _escaped(letter: str) -> str:
    """A character as JSON escapes it (RFC 8259, 7)."""
    units = letter.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
