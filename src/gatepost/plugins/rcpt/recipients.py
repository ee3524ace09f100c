"""A list of recipients, each with what becomes of its mail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gatepost import (
    Accept,
    Address,
    Defer,
    Deny,
    DomainList,
    Entries,
    Plugin,
    Recipient,
    Rule,
    Rules,
    Transaction,
    Verdict,
)

_DEFAULTS: dict[str, Verdict | None] = {
    "none": None,
    "accept": Accept(),
    "deny": Deny("No such mailbox here", status="5.1.1"),
    "defer": Defer(),
}


@dataclass
class Recipients(Plugin):
    """Accept, deny or defer recipients by a list, with codes and texts of your own.

    Each line of `rules` is a pattern, a verdict, and what to tell the client:

    | pattern | matches |
    |---|---|
    | `bob@example.org` | this address |
    | `@example.org` | every address of this domain |
    | `.example.org` | those of every domain below it, but not of itself |
    | `bob@` | this local part at any domain |
    | `/^bob[0-9]+@/` | addresses in which this regular expression is found |

    The first line that matches counts.  Its verdict is `accept`, `deny`, `defer`, or `none`, which
    leaves the recipient to the next plugin.  Behind it may stand a code, an enhanced status and a
    text.  Letter case makes no difference.

    With `domains`, the plugin only speaks of recipients there, and `default` says what becomes of
    those that no line names: with `"deny"`, the list is the list of all mailboxes.

        rules = ["bob@example.org accept", "sales@ deny 550 5.1.6 Sales has moved"]
        domains = ["example.org"]
        default = "deny"

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.5 Recipient ok
        C: RCPT TO:<sales@example.org>
        S: 550 5.1.6 Sales has moved
        C: RCPT TO:<carol@example.org>
        S: 550 5.1.1 No such mailbox here
        C: RCPT TO:<bob@elsewhere.example>
        S: 550 5.7.1 We do not relay
    """

    rules: Entries | Iterable[str] = ()  #: lines of a pattern, a verdict and words
    #: speak only of recipients in these domains and `.suffix`es
    domains: Entries | Iterable[str] | None = None
    #: what becomes of recipients in `domains` that no line names
    default: Literal["none", "accept", "deny", "defer"] = "none"

    def __post_init__(self) -> None:
        if self.default != "none" and self.domains is None:
            raise ValueError(
                "option 'default' needs the option 'domains', or it would be for the whole world"
            )
        self._ours = DomainList(self.domains or (), option="domains")
        self._rules = Rules(self.rules, option="rules", check=self._check)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Verdict | None:
        address = recipient.address
        ours = self._ours.covers(address)
        if not ours and self._is_foreign(address):
            return None
        rule = self._rules.find(address)
        if rule is None:
            return _DEFAULTS[self.default] if ours else None
        transaction.session.found("recipients", rule.outcome, rule.text)
        return rule.verdict

    def _is_foreign(self, address: Address) -> bool:
        # `<Postmaster>` without a domain is the server's own, whatever it serves.
        return self.domains is not None and address.domain != ""

    def _check(self, rule: Rule) -> None:
        if isinstance(rule.verdict, Accept) and not rule.names_domains and self.domains is None:
            raise ValueError(
                "would relay to any domain: say with the option 'domains' which are meant"
            )
