"""Drafts: what an event loop notes of a message or a session, for a thread to make a record of."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeAlias

from gatepost.address import Address
from gatepost.archive.records import Record, kept, recorded_decision, recorded_result
from gatepost.reply import Reply
from gatepost.session import Session
from gatepost.trail import Decision, Result

#: Recipients of one message that are kept with what was decided about them.
RECIPIENTS = 200
#: Decisions and results of one record that are kept: the last ones.
ENTRIES = 400

#: An entry of the trail, and which of the recipients it is about, if it is about one.
_Placed: TypeAlias = tuple[Decision | Result, int | None]


class Facts(NamedTuple):
    """What was known of a session at one moment."""

    session: str
    listener: str
    client: str
    client_name: str
    verb: str
    hello: str
    tls: str  #: not the `Tls` itself, which keeps 30 KB of OpenSSL's for its bindings
    user: str
    mechanism: str
    relaying: bool
    allowed: str
    trail: tuple[Decision | Result, ...]

    @classmethod
    def of(cls, session: Session, name: str) -> Facts:
        """Those of now; `name` is what the client called itself, though it may be refused."""
        return cls(
            session.id,
            session.listener,
            session.client.host,
            session.client_name,
            session.verb,
            session.hello or name,
            str(session.tls) if session.tls else "",
            session.user,
            session.mechanism,
            session.relaying,
            session.allowed,
            tuple(session.trail),
        )


@dataclass(slots=True, eq=False)
class MessageUnderWay:
    """What is heard of a message before it is over."""

    started: float
    dropped: int  #: entries that the trail had let go by then
    #: those that were proposed, each with the number of entries that the trail had had by then
    recipients: list[tuple[Address, int]] = field(default_factory=list)
    size: int = 0
    reply: Reply | None = None  #: to the end of the message; None: it has not come


class Draft(Protocol):
    """What a record can be made of, in another thread and later."""

    @property
    def weight(self) -> int:
        """Roughly, how many hundreds of octets it takes."""

    def record(self) -> Record:
        """What is kept of it."""


@dataclass(frozen=True, slots=True, eq=False)
class EndedSession:
    """A session that is over."""

    facts: Facts
    started: float
    ended: float
    messages: int  #: how many of its messages have drafts of their own

    @property
    def weight(self) -> int:
        """Roughly, how many hundreds of octets it takes."""
        return _weight(self.facts)

    def record(self) -> Record:
        """What is kept of it."""
        entries = [(entry, None) for entry in self.facts.trail if not entry.message]
        return Record(
            **_told(self.facts),
            **_recorded(entries),
            started=self.started,
            seconds=_between(self.started, self.ended),
            messages=self.messages,
        )


@dataclass(frozen=True, slots=True, eq=False)
class EndedMessage:
    """A message that is over, finished or not."""

    facts: Facts
    number: int
    sender: Address
    heard: MessageUnderWay
    ended: float
    dropped: int  #: entries that the trail has let go by now

    @property
    def weight(self) -> int:
        """Roughly, how many hundreds of octets it takes."""
        return _weight(self.facts) + len(self.heard.recipients)

    def record(self) -> Record:
        """What is kept of it."""
        heard = self.heard
        proposed = [address.mailbox for address, _ in heard.recipients]
        return Record(
            **_told(self.facts),
            **_recorded(list(self._entries())),
            message=self.number,
            started=heard.started,
            seconds=_between(heard.started, self.ended),
            sender=self.sender.mailbox,
            recipients=tuple(proposed[:RECIPIENTS]),
            more_recipients=len(proposed[RECIPIENTS:]),
            size=heard.size,
            reply=kept(str(heard.reply)) if heard.reply else "",
        )

    def _entries(self) -> Iterator[_Placed]:
        """What concerns the message, without what is about recipients that are not kept."""
        for place, entry in enumerate(self.facts.trail, self.dropped):
            if entry.message not in (0, self.number):
                continue
            if isinstance(entry, Result) or entry.hook != "rcpt":
                yield entry, None
            else:
                recipient = self._recipient(place)
                if recipient is None or recipient < RECIPIENTS:
                    yield entry, recipient

    def _recipient(self, place: int) -> int | None:
        """Which recipient the trail's entry at a place is about; None: that cannot be told."""
        recipients = self.heard.recipients
        if len(recipients) > 1 and self.dropped != self.heard.dropped:
            return None  # the entries have moved meanwhile
        before = bisect_right(recipients, place, key=itemgetter(1))
        return min(before, len(recipients)) - 1 if before else None


def _told(facts: Facts) -> dict[str, Any]:
    """The fields that a session and its messages have in common."""
    return {
        "session": facts.session,
        "listener": facts.listener,
        "client": facts.client,
        "client_name": kept(facts.client_name),
        "verb": facts.verb,
        "hello": kept(facts.hello),
        "tls": facts.tls,
        "user": kept(facts.user),
        "mechanism": facts.mechanism,
        "relaying": facts.relaying,
        "allowed": kept(facts.allowed),
    }


def _recorded(entries: Sequence[_Placed]) -> dict[str, Any]:
    """The decisions and results, and how many are left out."""
    last = entries[-ENTRIES:]
    return {
        "decisions": tuple(
            recorded_decision(entry, recipient)
            for entry, recipient in last
            if isinstance(entry, Decision)
        ),
        "results": tuple(recorded_result(entry) for entry, _ in last if isinstance(entry, Result)),
        "omitted": len(entries) - len(last),
    }


def _weight(facts: Facts) -> int:
    return 10 + len(facts.trail) // 4  # other drafts of the session have the same entries


def _between(started: float, ended: float) -> float:
    return round(max(0.0, ended - started), 3)  # the time of day may be set back
