"""Patience: how many errors and idle commands a client may spend before it is sent away."""

from __future__ import annotations

from gatepost.limits import Limits
from gatepost.protocol.events import (
    Ehlo,
    EndOfData,
    Event,
    Expn,
    Helo,
    Help,
    Lhlo,
    Noop,
    Rset,
    Spoiled,
    Vrfy,
)
from gatepost.reply import Reply

#: Commands that bring no message nearer.
_IDLE: frozenset[type[Event]] = frozenset({Ehlo, Helo, Lhlo, Noop, Rset, Vrfy, Expn, Help})

TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors", final=True)
TOO_MANY_IDLE = Reply(421, "4.7.0", "Too many commands without a message", final=True)


class Patience:
    """Counts against the limits; a message that was accepted wipes the slate clean."""

    __slots__ = ("_errors", "_idle", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._errors = 0
        self._idle = 0

    def judge(self, event: Event, reply: Reply) -> Reply:
        """The reply to a command, or the one that ends the session instead."""
        kind = type(event)
        if kind is EndOfData or kind is Spoiled:
            # What became of a message must be told, whatever was wrong before.
            if reply.positive:
                self._errors = self._idle = 0
            return reply
        if kind in _IDLE:
            self._idle += 1
            if self._idle > self._limits.idle_commands:
                return TOO_MANY_IDLE
        if reply.code >= 500:
            self.lose()
        return TOO_MANY_ERRORS if self._errors > self._limits.errors else reply

    def lose(self) -> None:
        """Count one error."""
        self._errors += 1
