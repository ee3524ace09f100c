"""Faults, to see what clients make of them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from gatepost import Address, Defer, Plugin, Recipient, Session, Transaction

_Moment: TypeAlias = Literal["connect", "helo", "mail", "rcpt", "data", "message"]

_TEXT = "A fault at random, to test you"
_GO_ON = Defer(_TEXT)
_GO_AWAY = Defer(_TEXT, disconnect=True)


@dataclass
class RandomError(Plugin):
    """Defer at random, to test how clients deal with a server that has its faults.

    No mail is lost by it where clients do what they must (RFC 5321, 4.5.4.1) and try again.  It is
    not for a server whose mail matters: use it to test your own programs.  Put it first, so that no
    other plugin accepts before it is asked.

        percent = 100
        moments = ["rcpt"]
        hang_up = 0

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@example.org>
        S: 450 4.2.1 A fault at random, to test you
        C: RCPT TO:<bob@example.org>
        S: 450 4.2.1 A fault at random, to test you
    """

    percent: float = 1.0  #: how many of the questions at each of these moments fail, 0 to 100
    #: where it may fail; `message` is the end of the message
    moments: tuple[_Moment, ...] = ("connect", "helo", "mail", "rcpt", "data", "message")
    hang_up: float = 40.0  #: percent of the faults that end the connection, 0 to 100
    #: the same number makes the same faults in the same order; when left out, they differ
    seed: int | None = None

    def __post_init__(self) -> None:
        for option, value in (("percent", self.percent), ("hang_up", self.hang_up)):
            if not 0 <= value <= 100:
                raise ValueError(f"option {option!r} must be from 0 to 100, not {value}")
        self._chance = Random(self.seed)  # noqa: S311  # nothing that is secret hangs on it

    def connect(self, session: Session) -> Defer | None:
        return self._fault("connect")

    def helo(self, session: Session, name: str) -> Defer | None:
        return self._fault("helo")

    def mail(self, transaction: Transaction, sender: Address) -> Defer | None:
        return self._fault("mail")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Defer | None:
        return self._fault("rcpt")

    def data(self, transaction: Transaction) -> Defer | None:
        return self._fault("data")

    def message(self, transaction: Transaction) -> Defer | None:
        return self._fault("message")

    def _fault(self, moment: _Moment) -> Defer | None:
        if moment not in self.moments or not self._happens(self.percent):
            return None
        return _GO_AWAY if self._happens(self.hang_up) else _GO_ON

    def _happens(self, percent: float) -> bool:
        return self._chance.random() < percent / 100
