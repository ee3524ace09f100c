"""Conclusions: what became of a message, or of a session that brought none, and who settled it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, TypeAlias

from gatepost.archive.records import Record, RecordedDecision
from gatepost.hooks.replies import reply_to
from gatepost.reply import Reply
from gatepost.trail import LIMITS, PROTOCOL

#: `unfinished`: a message whose end never came; `idle`: a session that was welcome, and no more.
Word: TypeAlias = Literal["accepted", "deferred", "refused", "unfinished", "idle"]

#: The hooks whose verdicts are told at the end of a message.
AT_THE_END = frozenset({"data", "headers", "message", "queue"})
#: The hooks on which a client is turned away before it has brought a message.
AT_THE_DOOR = frozenset({"connect", "helo", "starttls", "auth"})
#: The limits for which a message is refused at its end, and those for which a client may not come.
_LIMITS_AT_THE_END = frozenset(
    {"message_size", "header_size", "header_lines", "text_line", "received"}
)
_LIMITS_AT_THE_DOOR = frozenset({"connections", "connections_per_address", "connection_rate"})


class Conclusion(NamedTuple):
    """How it ended."""

    word: Word
    reply: str = ""  #: what the client was told; empty: that is not known
    decision: RecordedDecision | None = None  #: what settled it; None: no plugin did
    limit: str = ""  #: the name of the limit that settled it; empty: none did

    @property
    def is_refusal(self) -> bool:
        """Whether the client was told no, for now or for good."""
        return self.word in ("refused", "deferred")


def conclusion_of(record: Record) -> Conclusion:
    """What became of it, as far as that is recorded."""
    if not record.message:
        return _of_session(record)
    own = [one for one in record.decisions if one.message == record.message]
    if record.reply:
        word = _word(record.reply)
        settling = next((one for one in reversed(own) if _settles(one, word)), None)
        is_ours = word != "accepted" and settling is None
        limit = _limit_of(record, _LIMITS_AT_THE_END) if is_ours else ""
        return Conclusion(word, record.reply, settling, limit)
    refusals = [one for one in own if one.refuses and one.hook in ("mail", "data")]
    if not refusals and record.recipients:
        by_recipient = {one.recipient: one for one in refused_recipients(record)}
        if len(by_recipient) == len(record.recipients) + record.more_recipients:
            refusals = list(by_recipient.values())
    return _refusal(record, refusals[-1]) if refusals else _by_protocol(record, "unfinished")


def refused_recipients(record: Record) -> Iterator[RecordedDecision]:
    """The decisions that refused a recipient each."""
    return (one for one in record.decisions if one.hook == "rcpt" and one.refuses)


def reply_of(record: Record, decision: RecordedDecision) -> Reply:
    """The reply that a decision earned, as the reply table has it."""
    recipient = ""
    if decision.recipient is not None:
        recipient = f"<{record.recipients[decision.recipient]}>"
    words = {
        "sender": f"<{record.sender}>",
        "recipient": recipient,
        "name": record.hello,
        "id": record.id,
        "greeting": "",
        "me": "",
        "text": "",
        "commands": "",
    }
    return reply_to(decision.hook, decision.as_verdict(), words)


def _of_session(record: Record) -> Conclusion:
    at_the_door = [
        one for one in record.decisions if one.hook in AT_THE_DOOR and one.mode == "enforce"
    ]
    if at_the_door and at_the_door[-1].refuses:
        return _refusal(record, at_the_door[-1])
    if limit := _limit_of(record, _LIMITS_AT_THE_DOOR):
        return Conclusion("deferred", limit=limit)
    return Conclusion("idle") if record.messages else _by_protocol(record, "idle")


def _by_protocol(record: Record, otherwise: Word) -> Conclusion:
    """That the server itself has refused a command, if nothing else has become of it."""
    told = [
        one.text
        for one in record.results
        if one.plugin == PROTOCOL and one.message == record.message
    ]
    return Conclusion(_word(told[-1]), told[-1]) if told else Conclusion(otherwise)


def _limit_of(record: Record, limits: Collection[str]) -> str:
    """The limit that settled what became of it, if it was one of these."""
    found = (one.text for one in record.results if one.plugin == LIMITS and one.text in limits)
    return next(found, "")


def _refusal(record: Record, decision: RecordedDecision) -> Conclusion:
    reply = str(reply_of(record, decision))
    return Conclusion(_word(reply), reply, decision)


def _settles(decision: RecordedDecision, word: Word) -> bool:
    if word == "accepted":
        return decision.hook == "queue" and decision.verdict == "accept"
    return decision.hook in AT_THE_END and decision.refuses


def _word(reply: str) -> Word:
    return "accepted" if reply.startswith("2") else "deferred" if reply[0] == "4" else "refused"
