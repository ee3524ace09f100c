"""Which recipient a decision is about, also where the trail has overflowed."""

from __future__ import annotations

import weakref

from gatepost import Accept, Address, Decision, Deny, Result
from gatepost.archive.drafts import ENTRIES, RECIPIENTS, EndedMessage, Facts, MessageUnderWay
from gatepost.archive.records import Record
from gatepost.session import Session
from gatepost.testing.samples import a_session
from gatepost.tls import Tls


class Told:
    """A message that is told of as the recorder does it."""

    def __init__(self, session: Session, number: int = 1) -> None:
        self.session = session
        self.number = number
        self.heard = MessageUnderWay(1.0, session.trail.dropped)

    def propose(self, name: str, *decisions: Decision) -> None:
        trail = self.session.trail
        address = Address.of(f"{name}@example.org")
        self.heard.recipients.append((address, len(trail) + trail.dropped))
        for decision in decisions:
            trail.add(decision)

    def record(self) -> Record:
        facts, sender = Facts.of(self.session, ""), Address.of("<>")
        dropped = self.session.trail.dropped
        return EndedMessage(facts, self.number, sender, self.heard, 2.0, dropped).record()


def rcpt(verdict: Accept | Deny, number: int = 1) -> Decision:
    return Decision("rules", "rcpt", verdict, 0.0, message=number)


def about(record: Record) -> list[tuple[str, str | None]]:
    """The verdicts on recipients, each with the one that it is about."""
    return [
        (one.verdict, None if one.recipient is None else record.recipients[one.recipient])
        for one in record.decisions
        if one.hook == "rcpt"
    ]


def test_each_decision_is_about_the_recipient_before_it() -> None:
    told = Told(a_session())
    told.session.trail.add(Decision("dnsbl", "connect", Accept(), 0.0))
    told.propose("bob", rcpt(Accept()))
    told.propose("nobody-spoke-of")
    told.propose("carol", Decision("dnsbl", "rcpt", Deny(), 0.0, "report", 1), rcpt(Deny()))
    record = told.record()
    assert about(record) == [
        ("accept", "bob@example.org"),
        ("deny", "carol@example.org"),
        ("deny", "carol@example.org"),
    ]
    assert record.decisions[0].hook == "connect"
    assert record.decisions[0].recipient is None


def test_the_connection_is_not_kept_until_the_record_is_written() -> None:
    class Connection:
        """Stands for OpenSSL's part of it."""

        def binding(self, name: str) -> None:
            """Has none."""

    connection = Connection()
    is_there = weakref.ref(connection)
    session = a_session()
    session.tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", binding=connection.binding)
    facts = Facts.of(session, "")
    del connection, session
    assert is_there() is None
    assert facts.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384"


def test_results_in_between_change_nothing() -> None:
    told = Told(a_session())
    told.propose("bob", rcpt(Accept()))
    told.session.found("spf", "pass")
    told.propose("carol", rcpt(Deny()))
    assert about(told.record()) == [("accept", "bob@example.org"), ("deny", "carol@example.org")]


def test_other_messages_have_records_of_their_own() -> None:
    session = a_session()
    first = Told(session)
    first.propose("bob", rcpt(Accept()))
    session.trail.add(Result("spf", "pass", message=1))
    second = Told(session, 2)
    second.propose("carol", rcpt(Deny(), 2))
    session.found("fcrdns", "fail")
    record = second.record()
    assert about(record) == [("deny", "carol@example.org")]
    assert [one.plugin for one in record.results] == ["fcrdns"]


def overflowing(message: int) -> Session:
    """A session whose trail has room for one more entry, and is full of messages before."""
    session = a_session()
    for number in range(999):
        session.trail.add(Decision("rules", "mail", Accept(), 0.0, message=number % message + 1))
    return session


def test_an_entry_that_moved_is_about_nobody_in_particular() -> None:
    told = Told(overflowing(5), 6)
    told.propose("bob", rcpt(Accept(), 6))
    told.propose("carol", rcpt(Deny(), 6))
    assert told.session.trail.dropped > 0
    assert about(told.record()) == [("accept", None), ("deny", None)]


def test_an_entry_about_the_only_recipient_may_move() -> None:
    told = Told(overflowing(5), 6)
    told.propose("bob", rcpt(Accept(), 6), rcpt(Deny(), 6))
    assert told.session.trail.dropped > 0
    assert about(told.record()) == [("accept", "bob@example.org"), ("deny", "bob@example.org")]


def test_places_count_from_what_was_dropped_before() -> None:
    session = overflowing(5)
    for _ in range(2):
        session.trail.add(rcpt(Accept(), 6))
    told = Told(session, 7)
    told.propose("bob", rcpt(Accept(), 7))
    told.propose("carol", rcpt(Deny(), 7))
    assert about(told.record()) == [("accept", "bob@example.org"), ("deny", "carol@example.org")]


def test_many_recipients_are_counted() -> None:
    told = Told(a_session())
    for number in range(RECIPIENTS + 10):
        told.propose(f"r{number}", rcpt(Deny()))
    told.session.trail.add(Decision("maildir", "queue", Accept(), 0.0, message=1))
    record = told.record()
    assert len(record.recipients) == RECIPIENTS
    assert record.more_recipients == 10
    assert len(about(record)) == RECIPIENTS
    assert record.decisions[-1].hook == "queue"


def test_many_entries_are_counted() -> None:
    told = Told(a_session())
    for number in range(ENTRIES + 5):
        told.session.trail.add(Result("spf", "pass", str(number), message=1))
    record = told.record()
    assert [len(record.results), record.omitted] == [ENTRIES, 5]
    assert record.results[-1].text == str(ENTRIES + 4)
