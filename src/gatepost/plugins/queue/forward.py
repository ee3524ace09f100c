"""Hand messages on to the next hop, over SMTP or LMTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gatepost import (
    Destination,
    Each,
    NextHops,
    Plugin,
    Site,
    Timeouts,
    TlsPolicy,
    Transaction,
    Verdict,
    passed_back,
)


@dataclass
class Forward(Plugin):
    """Hand messages on to the next hop, over SMTP or LMTP.

    It accepts a message only when the next hop has, and passes a refusal back with its code, so
    nothing is kept here and nothing can be lost.  Several next hops are tried in their order; the
    next one only while this one has not judged the message, because it is down or turns everybody
    away.  LMTP answers for each recipient, and so does this plugin on an LMTP listener.

    What the next hop offers is used: PIPELINING, SIZE, 8BITMIME, SMTPUTF8, CHUNKING, DSN.
    Connections are kept for a while and used again.

        to = ["lmtp:unix:/nowhere/lmtp.sock"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 Sender ok
    """

    to: tuple[str, ...]  #: next hops in order: `mail.example:25`, `lmtp:unix:/run/lmtp.sock`
    tls: TlsPolicy = "may"  #: STARTTLS: off; may: where it is offered; must: or not at all
    verify: bool | None = None  #: whether certificates must be right; when left out: with `must`
    authorities: Path | None = None  #: a PEM file of the authorities to trust; else the system's
    hostname: str = ""  #: the name to give at EHLO; empty: the server's own
    at_once: int = 20  #: connections to one next hop; more messages wait for their turn
    idle: float = 20.0  #: seconds to keep a connection that nobody needs
    patience: float = 590.0  #: seconds to wait for the reply behind the message
    _hops: NextHops = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError("option 'to' must name at least one next hop")
        self._destinations = tuple(Destination.parse(text) for text in self.to)
        self._connect_as(self.hostname or "localhost")

    def startup(self, site: Site) -> None:
        self._connect_as(self.hostname or site.hostname)

    async def shutdown(self, site: Site) -> None:
        await self._hops.close()

    async def queue(self, transaction: Transaction) -> Verdict | Each:
        outcome = await self._hops.hand_on(transaction, self._destinations)
        return passed_back(outcome, transaction.recipients)

    def _connect_as(self, hostname: str) -> None:
        self._hops = NextHops(
            hostname=hostname,
            tls=self.tls,
            verify=self.verify,
            authorities=self.authorities,
            timeouts=Timeouts(end_of_data=self.patience),
            most=self.at_once,
            idle_seconds=self.idle,
        )
