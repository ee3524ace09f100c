"""The domains that we take mail for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatepost import Accept, DomainList, Entries, Plugin, Recipient, Transaction


@dataclass
class Domains(Plugin):
    """Accept recipients in the domains that are ours, and any recipient from a relay client.

    It has no opinion on the others, and where nobody accepts a recipient it is refused.  Whoever
    wants to refuse a recipient of ours has to speak before, so this plugin stands behind those
    that do.  `<Postmaster>` without a domain is always accepted (RFC 5321, 4.5.1).

        domains = ["example.org", ".example.org"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@Example.ORG>
        S: 250 2.1.5 Recipient ok
        C: RCPT TO:<carol@lists.example.org>
        S: 250 2.1.5 Recipient ok
        C: RCPT TO:<Postmaster>
        S: 250 2.1.5 Recipient ok
        C: RCPT TO:<bob@elsewhere.example>
        S: 550 5.7.1 We do not relay
    """

    #: domains (`example.org`), everything below one (`.example.org`), address literals
    domains: Entries | Iterable[str]

    def __post_init__(self) -> None:
        self._ours = DomainList(self.domains, option="domains")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept | None:
        address = recipient.address
        # An address without a domain is the postmaster's: Address knows no other.
        anybody = transaction.session.relaying or not (address.domain or address.is_null)
        return Accept() if anybody or self._ours.covers(address) else None
