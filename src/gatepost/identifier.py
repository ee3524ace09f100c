"""Identifiers of sessions: short, sortable by time, unique across processes."""

from __future__ import annotations

import os
import time
from contextvars import ContextVar
from itertools import count

#: The id of the session that is being answered, for whoever logs meanwhile; empty: none is.
SESSION_ID: ContextVar[str] = ContextVar("gatepost_session", default="")

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_counter = count(int.from_bytes(os.urandom(2)))  # so that machines differ


def new_identifier(now: float | None = None) -> str:
    """Twelve characters of base 36: milliseconds since 1970, the process, and a counter.

    `now` is in seconds since 1970; the clock's time when it is left out.  In 2059 the milliseconds
    begin anew.
    """
    milliseconds = int((time.time() if now is None else now) * 1000)
    process, number = _PAIRS[os.getpid() % 1296], _PAIRS[next(_counter) % 1296]
    return _base36(milliseconds, 4) + process + number


def _base36(number: int, pairs: int) -> str:
    """The last digits of a number in base 36, two for each pair."""
    digits = ""
    for _ in range(pairs):
        number, pair = divmod(number, len(_PAIRS))
        digits = _PAIRS[pair] + digits
    return digits
