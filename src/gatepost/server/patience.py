"""Patience: how much a client may spend before it is sent away, and which limits it runs into."""

from __future__ import annotations

from gatepost.limits import Limits
from gatepost.protocol.events import (
    Auth,
    AuthResponse,
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
    StartTls,
    Vrfy,
)
from gatepost.reply import Reply
from gatepost.session import Session
from gatepost.trail import LIMITS, Result

#: Commands that bring no message nearer.
_IDLE: frozenset[type[Event]] = frozenset({Ehlo, Helo, Lhlo, Noop, Rset, Vrfy, Expn, Help})
#: Commands that do so when they are refused.  To be put off is no error, but to try again and again
#: makes work: passwords are checked.
_IDLE_IF_REFUSED: frozenset[type[Event]] = frozenset({Auth, AuthResponse, StartTls})

#: The limits that one message runs into; the others concern the session.
_OF_MESSAGE = frozenset(
    {
        "message_size", "header_size", "header_lines", "text_line", "received", "recipients",
        "data_timeout",
    }
)  # fmt: skip

TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors", final=True, limit="errors")
TOO_MANY_IDLE = Reply(
    421, "4.7.0", "Too many commands without a message", final=True, limit="idle_commands"
)


class Patience:
    """Counts against the limits; a message that was accepted wipes the slate clean.

    Which limits the client runs into is put on the trail, as results of the "plugin" `limits`.
    """

    __slots__ = ("_errors", "_idle", "_limits", "_noted", "_session")

    def __init__(self, limits: Limits, session: Session) -> None:
        self._limits = limits
        self._session = session
        self._errors = 0
        self._idle = 0
        self._noted: dict[str, int] = {}  #: limits, and the last message at which each was hit

    def judge(self, event: Event, reply: Reply) -> Reply:
        """The reply to a command, or the one that ends the session instead."""
        kind = type(event)
        if kind is EndOfData or kind is Spoiled:
            # What became of a message must be told, whatever was wrong before.
            if reply.positive:
                self._errors = self._idle = 0
            return self.note(reply) if reply.limit else reply
        if reply.limit:
            self.note(reply)
        if kind in _IDLE or (reply.code >= 400 and kind in _IDLE_IF_REFUSED):
            self._idle += 1
            if self._idle > self._limits.idle_commands:
                return self.note(TOO_MANY_IDLE)
        if reply.code >= 500:
            self.lose()
        return self.note(TOO_MANY_ERRORS) if self._errors > self._limits.errors else reply

    def lose(self) -> None:
        """Count one error."""
        self._errors += 1

    def note(self, reply: Reply, value: int | None = None) -> Reply:
        """Put the limit on the trail that earned a reply, if one did, once for each message.

        `value` is the limit's where plugins may have set it.
        """
        limit, session = reply.limit, self._session
        if limit and self._noted.get(limit) != session.messages:
            self._noted[limit] = session.messages
            value = getattr(self._limits, limit) if value is None else value
            number = session.messages if limit in _OF_MESSAGE else 0
            session.trail.add(Result(LIMITS, "fail", limit, word=str(value), message=number))
        return reply
