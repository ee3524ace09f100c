"""What became of a message, as what a `queue` plugin answers."""

from __future__ import annotations

from collections.abc import Sequence

from gatepost.each import Each
from gatepost.protocol.transfer import Outcome
from gatepost.reply import Reply
from gatepost.session import Recipient
from gatepost.verdict import Accept, Defer, Deny, Verdict


def passed_back(outcome: Outcome, recipients: Sequence[Recipient]) -> Verdict | Each:
    """What the next hop said, as our own verdict: one for all recipients, or for each his own.

    `recipients` are those that the message was sent to, in the same order; at least one.
    """
    verdicts = [_verdict(reply) for reply in outcome.replies]
    if all(verdict == verdicts[0] for verdict in verdicts):
        return verdicts[0]
    return Each(dict(zip(recipients, verdicts, strict=True)))


def _verdict(reply: Reply) -> Verdict:
    if reply.positive:
        return Accept(reply.text)
    # The next hop hangs up on us, not on our client: 421 and 521 lose that meaning here.
    if reply.code >= 500:
        return Deny(reply.text, code=554 if reply.code == 521 else reply.code, status=reply.status)
    return Defer(reply.text, code=451 if reply.code == 421 else reply.code, status=reply.status)
