"""Session, Transaction, Recipient: what is known so far; notes and the trail."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from gatepost import Accept, Address, Decision, Endpoint, Note, Recipient, Result, Session
from gatepost.testing import LETTER, a_recipient, a_session, a_transaction
from gatepost.trail import RESERVE, TRAIL_LIMIT


@pytest.mark.parametrize(
    ("endpoint", "text", "ip"),
    [
        (Endpoint("192.0.2.1", 25), "192.0.2.1:25", IPv4Address("192.0.2.1")),
        (Endpoint("2001:db8::1", 25), "[2001:db8::1]:25", IPv6Address("2001:db8::1")),
        (Endpoint("/run/mail.sock"), "/run/mail.sock", None),
        (Endpoint(""), "unix", None),
    ],
)
def test_endpoints(endpoint: Endpoint, text: str, ip: IPv4Address | IPv6Address | None) -> None:
    assert str(endpoint) == text
    assert endpoint.ip == ip


def test_sessions_are_told_apart_by_their_ids() -> None:
    first, second = Session(Endpoint("192.0.2.1", 1)), Session(Endpoint("192.0.2.1", 1))
    assert first != second
    assert first.id < second.id
    assert a_transaction(first).id == f"{first.id}.1"


def test_to_be_allowed_is_not_to_be_allowed_to_relay() -> None:
    session = a_session()
    session.allow("a friend")
    assert (session.allowed, session.relaying, session.user) == ("a friend", False, "")


def test_recipients_are_told_apart_although_their_addresses_are_alike() -> None:
    first, second = a_recipient(), a_recipient()
    assert first != second
    assert first.address == second.address
    assert str(first) == "<bob@example.org>"
    assert Recipient(Address("", "")).parameters.notify == frozenset()


def test_notes_are_typed_and_each_holder_has_its_own() -> None:
    karma, seen = Note(0), Note(0)
    session, other = a_session(), a_session()
    assert karma not in session.notes
    session.notes[karma] -= 1
    assert (session.notes[karma], session.notes[seen], other.notes[karma]) == (-1, 0, 0)
    assert karma in session.notes
    assert seen not in session.notes
    recipient = a_recipient()
    recipient.notes[karma] = 5
    assert recipient.notes[karma] == 5


def test_the_trail_holds_decisions_and_results_in_order() -> None:
    session = a_session()
    decision = Decision("domains", "rcpt", Accept(), 0.001)
    session.found("spf", "pass", "for client.example")
    session.trail.add(decision)
    assert list(session.trail) == [Result("spf", "pass", "for client.example"), decision]
    assert session.trail.decisions == [decision]
    assert session.trail.results == [Result("spf", "pass", "for client.example")]


def test_the_trail_does_not_grow_without_bound() -> None:
    session = a_session()
    for _ in range(TRAIL_LIMIT + 10):
        session.found("spf", "pass")
    assert len(session.trail) == TRAIL_LIMIT
    assert session.trail.dropped == 10


def test_the_many_recipients_of_a_message_do_not_push_out_what_became_of_it() -> None:
    transaction = a_transaction()
    trail = transaction.session.trail
    for _ in range(TRAIL_LIMIT + 10):
        trail.add(Decision("domains", "rcpt", Accept(), 0.0, message=1))
    transaction.found("limits", "fail", "recipients")
    transaction.found("spf", "pass")
    taken = Decision("maildir", "queue", Accept(), 0.0, message=1)
    trail.add(taken)
    assert list(trail)[TRAIL_LIMIT:] == [Result("limits", "fail", "recipients", message=1), taken]
    for _ in range(RESERVE):
        trail.add(taken)
    assert len(trail) == TRAIL_LIMIT + RESERVE
    assert trail.dropped == 10 + 1 + 2


def test_the_latest_message_is_found_from_the_end() -> None:
    trail = a_session().trail
    for plugin, message in (("a", 0), ("b", 1), ("c", 0), ("d", 2), ("e", 0), ("f", 2)):
        trail.add(Result(plugin, "pass", message=message))
    assert [entry.plugin for entry in trail.latest(2)] == ["f", "d"]
    assert list(trail.latest(1)) == list(trail.latest(3)) == []


def test_samples() -> None:
    session = a_session("2001:db8::1", hello="x.example", verb="HELO", relaying=True, user="anne")
    assert session.client.ip == IPv6Address("2001:db8::1")
    assert (session.hello, session.verb, session.user) == ("x.example", "HELO", "anne")
    transaction = a_transaction(session, recipients=("a@x", "b@x"), message=LETTER)
    assert [str(recipient) for recipient in transaction.recipients] == ["<a@x>", "<b@x>"]
    assert str(transaction.sender) == "<anne@client.example>"
    assert bytes(transaction.message) == LETTER
    assert transaction.message.headers.get("subject") == "Hello"
    assert a_transaction(sender="<>").sender.is_null
