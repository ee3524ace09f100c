"""A list of senders, each with what becomes of its mail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatepost import (
    Accept,
    Address,
    Entries,
    Plugin,
    Recipient,
    Rule,
    Rules,
    Session,
    Transaction,
    Verdict,
)


@dataclass
class Senders(Plugin):
    """Accept, deny or defer senders by a list, with codes and texts of your own.

    Each line of `rules` is a pattern, a verdict, and what to tell the client, as in `recipients`;
    `<>` is the null sender, from which notifications come, and no other pattern matches it.  Each
    line of `pairs` begins with two patterns, for the sender and for the recipient, and is asked
    for every recipient.

    A sender is easily forged.  So `accept` in `rules` only spares the sender what other plugins
    would say of it at this moment, and `pairs` knows no `accept`: an exception says `none`.

        rules = ["@spam.example deny 550 5.7.1 Not from you"]
        pairs = ["@shop.example bob@example.org deny Bob is no customer of yours"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@spam.example>
        S: 550 5.7.1 Not from you
        C: MAIL FROM:<offers@shop.example>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@example.org>
        S: 550 5.7.1 Bob is no customer of yours
    """

    rules: Entries | Iterable[str] = ()  #: lines of a pattern, a verdict and words
    #: lines of a sender's pattern, a recipient's pattern, a verdict and words
    pairs: Entries | Iterable[str] = ()

    def __post_init__(self) -> None:
        self._rules = Rules(self.rules, option="rules")
        self._pairs = Rules(self.pairs, option="pairs", subjects=2, check=_check_pair)

    def mail(self, transaction: Transaction, sender: Address) -> Verdict | None:
        return _judged(transaction.session, self._rules.find(sender))

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Verdict | None:
        rule = self._pairs.find(transaction.sender, recipient.address)
        return _judged(transaction.session, rule)


def _judged(session: Session, rule: Rule | None) -> Verdict | None:
    """The verdict of a rule, which goes on the trail."""
    if rule is None:
        return None
    session.found("senders", rule.outcome, rule.text)
    return rule.verdict


def _check_pair(rule: Rule) -> None:
    if isinstance(rule.verdict, Accept):
        raise ValueError("whoever forges the sender could relay: an exception says 'none'")
