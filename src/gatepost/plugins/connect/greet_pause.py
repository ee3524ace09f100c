"""Clients that talk before it is their turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from gatepost import Answer, Deny, Plugin, Session, Transaction

#: RFC 5321, 4.5.3.2.1: a client waits five minutes for the banner.
_LONGEST = 300

_BEFORE_BANNER = Deny("You spoke before you were greeted", status="5.5.0", disconnect=True)
_BEFORE_DATA = Deny("You sent the message before it was asked for", status="5.5.0", disconnect=True)


@dataclass
class GreetPause(Plugin):
    """Keep new clients waiting for the banner, and refuse those that talk before they hear it.

    A client must wait for the banner (RFC 5321, 3.1), and for the 354 before it sends the message
    (RFC 2920, 3.1).  Programs that only pour out spam often do neither: they send their lines
    blindly.  The pause stands in front of every conversation, so put `relay` before this plugin
    and give it `unless = ["relay"]`.  Its `timeout` must be longer than the pause.  A chunk behind
    BDAT needs no waiting for, and none is asked.

        C: EHLO client.example
        C: MAIL FROM:<anne@client.example>
        S: 554 5.5.0 You spoke before you were greeted
        S: <closed>

        [[plugin]]
        use = "greet_pause"
        seconds = 5
        [[plugin]]
        use = "domains"
        domains = ["example.org"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.0 ...
        S: 250 2.1.5 ...
        C: DATA
        C: Subject: Hello
        S: 554 5.5.0 You sent the message before it was asked for
        S: <closed>
    """

    seconds: float = 1.0  #: how long the banner is held back, 0 to 300
    #: when to look: before the banner, before the message, or both
    check: tuple[Literal["connect", "data"], ...] = ("connect", "data")

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= _LONGEST:
            raise ValueError(f"option 'seconds' must be from 0 to {_LONGEST}, not {self.seconds}")

    def connect(self, session: Session) -> Answer:
        return self._pause(session) if "connect" in self.check else None

    def data(self, transaction: Transaction) -> Deny | None:
        if "data" in self.check and transaction.session.unread and not transaction.chunked:
            return _BEFORE_DATA
        return None

    async def _pause(self, session: Session) -> Deny | None:
        await asyncio.sleep(self.seconds)
        return _BEFORE_BANNER if session.unread else None
