"""Causes: which decision of a plugin earned a message its reply, or ended a session."""

from __future__ import annotations

from collections.abc import Collection

from gatepost.reply import Reply, printable
from gatepost.session import Session, Transaction
from gatepost.trail import Decision
from gatepost.verdict import Accept, Defer, Deny, Verdict

_AT_THE_END = ("data", "headers", "message", "queue")
#: The verdicts that earn a reply behind a message, by the first digit of its code, and the hooks on
#: which they are given; 0: there is no reply, for the message was not sent.
_EARNING: dict[int, tuple[Collection[type[Verdict]], Collection[str]]] = {
    0: ((Deny, Defer), ("mail", "rcpt", "data")),
    2: ((Accept,), ("queue",)),
    4: ((Defer,), _AT_THE_END),
    5: ((Deny,), _AT_THE_END),
}
#: The hooks on which a client is turned away before it has brought a message.
_AT_THE_DOOR = ("connect", "helo", "starttls", "auth")


def cause_of_reply(transaction: Transaction, reply: Reply | None) -> Decision | None:
    """The last decision that earned a message a reply, or that kept it from being sent.

    None where it was the server itself.
    """
    verdicts, hooks = _EARNING[reply.code // 100 if reply else 0]
    for decision in transaction.session.trail.latest(transaction.number):
        if (
            isinstance(decision, Decision)
            and decision.mode == "enforce"
            and decision.hook in hooks
            and type(decision.verdict) in verdicts
            and (reply is None or _is_in_its_words(decision.verdict, reply))
        ):
            return decision
    return None


def cause_of_end(session: Session) -> Decision | None:
    """The decision by which a client was sent away, or turned away before it brought a message.

    None where there is none: the client went by itself, or the server itself had had enough.
    """
    decisions = [one for one in session.trail.decisions if one.mode == "enforce"]
    farewell = session.farewell
    if farewell is not None and not farewell.positive:
        return decisions[-1] if decisions and _is_last_word(decisions[-1], farewell) else None
    if session.messages:
        return None
    at_the_door = [one for one in decisions if one.hook in _AT_THE_DOOR]
    return at_the_door[-1] if at_the_door and _refuses(at_the_door[-1]) else None


def _refuses(decision: Decision) -> bool:
    return not isinstance(decision.verdict, Accept)


def _is_last_word(decision: Decision, farewell: Reply) -> bool:
    """Whether a reply after which nothing follows was earned by a decision."""
    verdict = decision.verdict
    if isinstance(verdict, Accept) or not _is_in_its_words(verdict, farewell):
        return False
    if isinstance(verdict, Deny):
        return verdict.disconnect and farewell.code >= 500
    # A 421 is final whoever says it, and on `connect` a Defer is nothing else.
    is_final = verdict.disconnect or verdict.code == 421 or decision.hook == "connect"
    return is_final and farewell.code < 500


def _is_in_its_words(verdict: Verdict, reply: Reply) -> bool:
    """Whether a reply says what a verdict has it say; one without words has it say the usual."""
    return not verdict.text or printable(verdict.text) == reply.text
