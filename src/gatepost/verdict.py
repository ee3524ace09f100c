"""What a plugin may answer: Accept, Deny or Defer.

A verdict is a value.  It can be compared, logged and stored, and no plugin needs to know how it
is spelled on the wire: the reply that a verdict earns stands in `gatepost.hooks.replies`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeAlias

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Accept:
    """Yes.  No further plugin is asked."""

    text: str = ""  #: words for the client instead of the usual ones

    def __post_init__(self) -> None:
        _require_text(self.text)


@dataclass(frozen=True, slots=True)
class Deny:
    """No, and do not try again: the client gets a 5xx reply."""

    text: str = ""  #: words for the client instead of the usual ones
    code: int | None = None  #: a 5xx code instead of the hook's own
    status: str = ""  #: a 5.x.x status (RFC 3463) instead of the hook's own
    disconnect: bool = False  #: hang up afterwards

    def __post_init__(self) -> None:
        _require_text(self.text)
        _require_class(5, self.code, self.status)


@dataclass(frozen=True, slots=True)
class Defer:
    """Not now, try again later: the client gets a 4xx reply."""

    text: str = ""  #: words for the client instead of the usual ones
    code: int | None = None  #: a 4xx code instead of the hook's own
    status: str = ""  #: a 4.x.x status (RFC 3463) instead of the hook's own
    disconnect: bool = False  #: hang up afterwards

    def __post_init__(self) -> None:
        _require_text(self.text)
        _require_class(4, self.code, self.status)


Verdict: TypeAlias = Accept | Deny | Defer


#: What a deciding hook returns: a verdict, None for "I have no opinion, ask the next", or either
#: of them after a wait.
Answer: TypeAlias = Verdict | Awaitable[Verdict | None] | None

#: What a listening hook returns: nothing, at once or after a wait.
Heard: TypeAlias = Awaitable[None] | None


def _require_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text for the client")


def _require_class(digit: int, code: int | None, status: str) -> None:
    if code is not None and code // 100 != digit:
        raise ValueError(f"code {code} is no {digit}xx code")
    if status and not (_STATUS.fullmatch(status) and status.startswith(f"{digit}.")):
        raise ValueError(f"status {status!r} is not of the form {digit}.x.x")
