"""Explanations: what is recorded of a message or a session, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gatepost.archive.conclusions import Word, conclusion_of, reply_of
from gatepost.archive.configurations import Configuration, PlacedPlugin
from gatepost.archive.records import Record, RecordedDecision
from gatepost.cli.wording import (
    client,
    finding,
    listed,
    local_time,
    moment,
    paths,
    plugin_name,
    sentence,
    subject,
    verb,
)
from gatepost.hooks.chain import BROKEN
from gatepost.trail import LIMITS

#: What stands on the trail for a plugin where none has spoken.
NOBODY = "nobody"

#: What it means that nobody spoke, where that refuses.
_SILENCE = {
    "rcpt": "Nobody accepted the recipient",
    "queue": "Nobody took the message",
    "auth": "Nobody knew the user",
}
_ENDS: dict[Word, str] = {
    "accepted": "was accepted",
    "deferred": "was refused for now",
    "refused": "was refused",
    "unfinished": "was never finished",
    "idle": "brought no message",
}


class Explanation:
    """One record in sentences: the first says what became of it, the others why.

    `about` are addresses in small letters; where the message was for them, nothing is said of how
    its other recipients fared.
    """

    def __init__(
        self, record: Record, plugins: Configuration, about: frozenset[str] = frozenset()
    ) -> None:
        self._record = record
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self._told: set[str] = set()  #: plugins whose options have been told
        self._conclusion = conclusion_of(record)
        self._about = {place for place, who in enumerate(record.recipients) if who.lower() in about}
        decision = self._conclusion.decision
        several = len(record.recipients) + record.more_recipients > 1
        #: what settled it for all, if one decision did
        self._settled = None if several and decision and decision.hook == "rcpt" else decision

    @property
    def word(self) -> Word:
        """What became of it, in one word."""
        return self._conclusion.word

    def sentences(self) -> Iterator[str]:
        """All that is known, the most important first."""
        others = [one for one in self._record.decisions if self._is_left(one)]
        yield self._headline()
        if self._conclusion.decision is None and self._conclusion.is_refusal:
            yield "No plugin decided that: the server did."
        elif self._settled is not None and self._conclusion.is_refusal:
            yield self._reason(self._settled)
        results = self._record.results
        yield from (finding(one) for one in results if one.plugin == LIMITS)
        for refusal in (one for one in others if one.refuses):
            yield self._refusal(refusal)
            yield self._reason(refusal)
        yield from self._acceptances([one for one in others if one.verdict == "accept"])
        for one in others:
            if one.verdict != "accept" and not one.refuses:
                yield self._without_effect(one)
        yield from (finding(one) for one in results if one.plugin != LIMITS)
        yield from self._circumstances()

    # -- What became of it ------------------------------------------------------------------------

    def _headline(self) -> str:
        record, reply = self._record, self._conclusion.reply
        if record.message:
            to = listed(self._recipients(), len(record.recipients) + record.more_recipients)
            who = f"Message {record.id} from <{record.sender}> ({client(record)}) to {to}"
        else:
            who = f"Session {record.id} from {client(record)}"
        end = _ENDS[self._conclusion.word]
        if record.messages and self._conclusion.word == "idle":
            end = f"brought {record.messages} {'messages' if record.messages > 1 else 'message'}"
        if self._settled is not None and self._conclusion.is_refusal:
            end += f" {moment(self._settled)}"
        elif self._conclusion.decision is not None and self._settled is None:
            return sentence(f"{who} {end} at RCPT for every recipient")
        return sentence(f"{who} {end}: {reply}" if reply else f"{who} {end}")

    def _recipients(self) -> list[str]:
        """Those that the question is about, then the others."""
        recipients = self._record.recipients
        first = [recipients[place] for place in sorted(self._about)]
        others = [who for place, who in enumerate(recipients) if place not in self._about]
        return paths([*first, *others]) or ["nobody"]

    # -- Why --------------------------------------------------------------------------------------

    def _is_left(self, decision: RecordedDecision) -> bool:
        """Whether a decision is still to be told of, once the headline is written."""
        if decision is self._settled and self._conclusion.is_refusal:
            return False
        return not self._about or decision.recipient is None or decision.recipient in self._about

    def _reason(self, decision: RecordedDecision) -> str:
        """Who refused, and what is known of why."""
        if decision.plugin == NOBODY:
            return f"{_SILENCE.get(decision.hook, 'Nobody spoke')}: {self._silent(decision)}."
        name = self._named(decision.plugin)
        if decision.as_verdict() == BROKEN:
            return f"{name} failed {moment(decision)}; the log says how."
        if decision.refuses:  # the reply has been told, and the words are in there
            return f"{name} {verb(decision)} it."
        what = f"{name} {verb(decision)} {subject(decision, self._record)} {moment(decision)}"
        return sentence(f"{what}: {decision.text}" if decision.text else what)

    def _silent(self, decision: RecordedDecision) -> str:
        """The plugins that were asked and did not answer."""
        asked = [plugin for plugin in self._plugins.values() if self._was_asked(plugin, decision)]
        if not asked:
            known = "no plugin speaks" if self._plugins else "it is not known who was asked"
            return f"{known} {moment(decision)}"
        exempt = self._record.exemptions
        certain: list[str] = []
        doubtful: list[str] = []
        for one in asked:
            name = self._named(one.name)
            doubts = ["was not asked"] if exempt.intersection(one.unless) else []
            doubts += ["failed"] if one.may_fail else []
            if doubts:
                doubtful.append(f"{name} had no opinion, or {' or '.join(doubts)}")
            else:
                certain.append(name)
        return "; ".join([*([f"{listed(certain)} had no opinion"] if certain else []), *doubtful])

    def _was_asked(self, plugin: PlacedPlugin, decision: RecordedDecision) -> bool:
        if decision.hook not in plugin.hooks:
            return False
        if plugin.listeners and self._record.listener not in plugin.listeners:
            return False
        return not any(
            (one.plugin, one.hook, one.recipient, one.message)
            == (plugin.name, decision.hook, decision.recipient, decision.message)
            for one in self._record.decisions
        )

    def _refusal(self, decision: RecordedDecision) -> str:
        what = subject(decision, self._record).removeprefix("the recipient ")
        reply = reply_of(self._record, decision)
        return sentence(f"{what[0].upper()}{what[1:]} was refused {moment(decision)}: {reply}")

    def _acceptances(self, decisions: Sequence[RecordedDecision]) -> Iterator[str]:
        """Who accepted what, the recipients of one plugin together."""
        recipients: dict[str, list[str]] = {}
        others: list[RecordedDecision] = []
        for one in decisions:
            if one.recipient is None or one.mode != "enforce" or one.text:
                others.append(one)
            else:
                who = self._record.recipients[one.recipient]
                recipients.setdefault(one.plugin, []).append(f"<{who}>")
        for plugin, addresses in recipients.items():
            one_or_more = "recipients" if len(addresses) > 1 else "recipient"
            yield f"{self._named(plugin)} accepted the {one_or_more} {listed(addresses)}."
        yield from map(self._acceptance, others)

    def _acceptance(self, decision: RecordedDecision) -> str:
        name = self._named(decision.plugin)
        if decision.hook == "queue" and decision.mode == "enforce":
            what = f"{name} took the message"
        else:
            what = f"{name} {verb(decision)} {subject(decision, self._record)} {moment(decision)}"
        slow = f" after {decision.seconds:.1f} s" if decision.seconds >= 1 else ""
        return sentence(f"{what}{slow}: {decision.text}" if decision.text else f"{what}{slow}")

    def _without_effect(self, decision: RecordedDecision) -> str:
        reason = self._reason(decision).removesuffix(".")
        return f"{reason}; that was {'held back' if decision.mode == 'later' else 'only noted'}."

    def _named(self, plugin: str) -> str:
        """A plugin, the first time with its options."""
        options = None if plugin in self._told else self._plugins.get(plugin)
        self._told.add(plugin)
        return plugin_name(plugin, options)

    # -- And besides ------------------------------------------------------------------------------

    def _circumstances(self) -> Iterator[str]:
        record = self._record
        if record.allowed:
            yield sentence(f"The client was exempt from checks: {record.allowed}")
        if record.relaying:
            yield "The client was allowed to relay."
        if record.omitted:
            yield f"Of {record.omitted} more decisions and results nothing was kept."
        size = f", had {record.size} octets" if record.size else ""
        where = f"through the listener {record.listener} on {local_time(record.started)}"
        took = f"{record.seconds:.2f} s" if record.seconds >= 0.01 else "less than 0.01 s"
        yield f"It came {where}{size} and took {took}."
