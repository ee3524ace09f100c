"""Clients that speak no SMTP."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost import Defer, Note, Plugin, Session

_UNRECOGNIZED = Note(0)
_ENOUGH = Defer("Too many unrecognized commands", code=421, status="4.7.0")


@dataclass
class CountUnrecognized(Plugin):
    """Hang up on clients that keep saying what is no command.

    A program that speaks another protocol, or sends what it read from somewhere else, is not worth
    the patience that a mail server is given for its mistakes: the limit `errors` counts every
    command that is refused, and this plugin those only that nobody knows.  They are counted over
    the whole session.

        most = 2

        S: 220 ...
        C: HALLO client.example
        S: 500 5.5.2 Command not recognized
        C: EHLO client.example
        S: 250 ...
        C: X-Forwarded-For: 192.0.2.7
        S: 500 5.5.2 Command not recognized
        C: Accept: text/html
        S: 421 4.7.0 Too many unrecognized commands
        S: <closed>
    """

    most: int = 4  #: unrecognized commands that a session may say; the next one ends it

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ValueError(f"option 'most' must be 0 or more, not {self.most}")

    def unrecognized(self, session: Session, verb: str, text: str) -> Defer | None:
        session.notes[_UNRECOGNIZED] += 1
        return _ENOUGH if session.notes[_UNRECOGNIZED] > self.most else None
