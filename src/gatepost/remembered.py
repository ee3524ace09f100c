"""Remembered: passwords that were right a moment ago, so that they need not be checked again."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable


class Remembered:
    """Remembers `size` users' last right passwords for some seconds, as keyed hashes.

    To check a hashed password is made to be slow, and clients authenticate for every message.
    The key is random and leaves the process never; a user has one password here at a time.
    """

    def __init__(
        self,
        seconds: float,
        *,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: dict[str, tuple[float, bytes]] = {}  # the oldest first

    def knows(self, user: str, password: str) -> bool:
        """Whether this password was right a moment ago."""
        until, digest = self._known.get(user, (0.0, b""))
        return hmac.compare_digest(digest, self._digest(user, password)) and self._clock() < until

    def remember(self, user: str, password: str) -> None:
        """This password is right."""
        if self._seconds <= 0:
            return
        self._known.pop(user, None)
        while len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[user] = (self._clock() + self._seconds, self._digest(user, password))

    def forget(self) -> None:
        """Passwords may have changed."""
        self._known.clear()

    def _digest(self, user: str, password: str) -> bytes:
        return hmac.digest(self._key, b"\0".join((user.encode(), password.encode())), "sha256")
