"""Summaries: one line about each message and one about each session, with all that matters."""

from __future__ import annotations

import logging
import time

from gatepost.address import Address
from gatepost.config.log import MESSAGE_LOGGER, SESSION_LOGGER
from gatepost.journal.causes import cause_of_end, cause_of_reply
from gatepost.journal.lines import (
    client_fields,
    client_words,
    decision_fields,
    decision_words,
    is_read,
    tell,
)
from gatepost.notes import Note
from gatepost.plugin import Plugin
from gatepost.reply import Reply
from gatepost.session import Session, Transaction
from gatepost.trail import Decision, limits_hit

MESSAGES = logging.getLogger(MESSAGE_LOGGER)
SESSIONS = logging.getLogger(SESSION_LOGGER)

#: How many recipients of a message are named; the others are counted.
_NAMED = 5
#: What a reply amounts to in a field, by the first digit of its code.
_ANSWERED = {"2": "accept", "4": "defer", "5": "deny"}

#: When a transaction began, by the monotonic clock; None: its line is written.
_BEGUN: Note[float | None] = Note(None)
#: How many messages of a session were taken, and how many octets they had together.
_TAKEN: Note[tuple[int, int]] = Note((0, 0))


class Summaries(Plugin):
    """Log one line about each message and one about each session, at the level INFO."""

    def mail(self, transaction: Transaction, sender: Address) -> None:
        transaction.notes[_BEGUN] = time.monotonic()

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        if reply.positive:
            taken, octets = transaction.session.notes[_TAKEN]
            transaction.session.notes[_TAKEN] = taken + 1, octets + transaction.message.size
        if is_read(MESSAGES):
            _tell_of_message(transaction, reply)
        transaction.notes[_BEGUN] = None

    def reset(self, transaction: Transaction) -> None:
        if transaction.notes[_BEGUN] is not None and is_read(MESSAGES):
            _tell_of_message(transaction, None)

    def disconnect(self, session: Session) -> None:
        if is_read(SESSIONS):
            _tell_of_session(session)


# -- A message ------------------------------------------------------------------------------------


def _tell_of_message(transaction: Transaction, reply: Reply | None) -> None:
    """One line about a message: the reply behind its last octet, or that it was not sent at all."""
    session, begun = transaction.session, transaction.notes[_BEGUN]
    # In LMTP those are left in `recipients` whom nobody has refused.
    recipients = list(transaction.replies) or transaction.recipients
    named = [recipient.address.mailbox for recipient in recipients[:_NAMED]]
    limits = limits_hit(session.trail.latest(transaction.number))
    limit = reply.limit if reply else ", ".join(limits)
    cause = None if limit else cause_of_reply(transaction, reply)
    seconds = 0.0 if begun is None else time.monotonic() - begun
    is_taken = reply is not None and reply.positive
    size = transaction.message.size if is_taken else transaction.arrived
    fields = {
        **client_fields(session),
        "message": transaction.id,
        "from": transaction.sender.mailbox,
        "to": named,
        "recipients": len(recipients),
        "size": size,
        "limits": limits,
        **decision_fields(cause),
        **_answer_fields(transaction, reply),
        "seconds": round(seconds, 3),
    }
    tell(
        MESSAGES, "message", fields,
        "%s %s -> %s, %d octets from %s in %.2f s: %s",
        transaction.id, transaction.sender, _listed(named, len(recipients)), size,
        client_words(session), seconds, _outcome(transaction, reply, cause, limit),
    )  # fmt: skip


def _outcome(
    transaction: Transaction, reply: Reply | None, cause: Decision | None, limit: str
) -> str:
    """What became of a message: `250 2.0.0 Queued (maildir on queue)`, or why it was not sent."""
    if limit:
        return f"{reply or 'not sent'} (limit {limit})"
    if reply is not None:
        others = "".join(
            f"; <{who}> {other} ({decision_words(cause_of_reply(transaction, other))})"
            for who, other in _others(transaction, reply).items()
        )
        return f"{reply} ({decision_words(cause)}){others}"
    farewell = transaction.session.farewell
    hung_up = "" if farewell is None or farewell.positive else f"; {farewell}"
    return f"not sent; {cause}{hung_up}" if cause else f"not sent{hung_up}"


def _answer_fields(transaction: Transaction, reply: Reply | None) -> dict[str, object]:
    """What the end of a message was told."""
    if reply is None:
        return {}
    answer = str(reply)
    fields = {"verdict": _ANSWERED[answer[0]], "code": reply.code, "reply": answer}
    others = {who: str(other) for who, other in _others(transaction, reply).items()}
    return fields | {"others": others} if others else fields


def _others(transaction: Transaction, reply: Reply) -> dict[str, Reply]:
    """The first recipients of an LMTP message that were told something else than most."""
    others = [(who, one) for who, one in transaction.replies.items() if one != reply]
    return {who.address.mailbox: one for who, one in others[:_NAMED]}


def _listed(named: list[str], count: int) -> str:
    """Recipients in words: `<bob@example.org> <eve@example.org> and 3 more`."""
    words = " ".join(f"<{recipient}>" for recipient in named) or "(nobody)"
    return f"{words} and {count - len(named)} more" if count > len(named) else words


# -- A session ------------------------------------------------------------------------------------


def _tell_of_session(session: Session) -> None:
    seconds = max(0.0, time.time() - session.started)  # the time of day may be set back
    taken, octets = session.notes[_TAKEN]
    farewell, cause = session.farewell, cause_of_end(session)
    limits = limits_hit(entry for entry in session.trail if not entry.message)
    fields = {
        **client_fields(session),
        "messages": session.messages,
        "taken": taken,
        "octets": octets,
        "limits": limits,
        **decision_fields(cause),
        "seconds": round(seconds, 3),
    }
    if farewell is not None:
        fields |= {"code": farewell.code, "reply": str(farewell)}
        if not farewell.positive:
            fields["verdict"] = _ANSWERED[str(farewell)[0]]
    tell(
        SESSIONS, "session", fields,
        "%s %s %s after %.2f s and %d %s%s%s",
        session.id, client_words(session), _manner(farewell), seconds, session.messages,
        "message" if session.messages == 1 else "messages",
        f", {taken} taken, {octets} octets" if session.messages else "",
        _why(farewell, cause),
    )  # fmt: skip


def _manner(farewell: Reply | None) -> str:
    """How a client left."""
    if farewell is None:
        return "gone without a goodbye"
    return "gone" if farewell.positive else "sent away"


def _why(farewell: Reply | None, cause: Decision | None) -> str:
    """Why a client was sent away, or brought no message."""
    if farewell is not None and not farewell.positive:
        who = f"limit {farewell.limit}" if farewell.limit else decision_words(cause)
        return f": {farewell} ({who})"
    return f"; {cause}" if cause else ""
