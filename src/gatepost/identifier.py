"""Identifiers of sessions: short, sortable by time, unique across processes."""

from __future__ import annotations

import os
import time
from itertools import count

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_counter = count(int.from_bytes(os.urandom(2)))


def new_identifier(now: float | None = None) -> str:
    """Twelve characters of base 36: milliseconds since 1970, then a counter with a random start.

    `now` is in seconds since 1970; the clock's time when it is left out.
    """
    milliseconds = int((time.time() if now is None else now) * 1000)
    return _base36(milliseconds, 8) + _base36(next(_counter) % 36**4, 4)


def _base36(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _ALPHABET[digit] + digits
    return digits
