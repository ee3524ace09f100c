"""The words by which figures and traces tell what became of something."""

from __future__ import annotations

from gatepost.reply import Reply
from gatepost.verdict import Accept, Defer, Deny, Verdict

_VERDICTS: dict[type[Verdict], str] = {Accept: "accept", Deny: "deny", Defer: "defer"}
#: By the first digit of a reply.
_OUTCOMES = {2: "accepted", 4: "deferred", 5: "refused"}


def verdict_word(verdict: Verdict) -> str:
    """`accept`, `deny` or `defer`."""
    return _VERDICTS[type(verdict)]


def outcome_word(reply: Reply) -> str:
    """What a reply at the end of a message says: `accepted`, `deferred` or `refused`."""
    return _OUTCOMES[reply.code // 100]
