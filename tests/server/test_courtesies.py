"""Commands that the server itself refuses, as the trail tells of them."""

from __future__ import annotations

from gatepost import Accept, Plugin, Recipient, Session, Transaction
from gatepost.limits import Limits
from gatepost.testing import converse, run

HELLO = "S: 220 ...\nC: EHLO client.example\nS: 250 ...\n"
MAIL = "C: MAIL FROM:<anne@client.example>\nS: 250 ...\n"
RCPT = "C: RCPT TO:<bob@example.org>\nS: 250 ...\n"


class TakesAll(Plugin):
    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> Accept:
        return Accept()


def told(script: str) -> list[tuple[str, int]]:
    """What the trail says that the server refused, each with the number of the message."""
    session: Session = run(converse([TakesAll()], script, limits=Limits(errors=1000)))
    found = [one for one in session.trail.results if one.plugin == "protocol"]
    assert {one.outcome for one in found} <= {"fail"}
    return [(one.text.split(" ")[0], one.message) for one in found]


def test_a_greeting_that_is_none_and_a_command_out_of_turn() -> None:
    script = "S: 220 ...\nC: EHLO two words\nS: 501 ...\nC: MAIL FROM:<a@b.example>\nS: 503 ...\n"
    assert told(script) == [("501", 0), ("503", 0)]


def test_what_is_wrong_about_a_message_goes_with_it() -> None:
    wrong = "C: RCPT TO:bob@example.org\nS: 501 ...\n"
    assert told(HELLO + (MAIL + wrong + wrong + "C: RSET\nS: 250 ...\n") * 2) == [
        ("501", 1),
        ("501", 2),
    ]


def test_who_errs_again_and_again_fills_no_trail() -> None:
    letter = MAIL + RCPT + "C: DATA\nS: 354 ...\nC: .\nS: 250 ...\n"
    assert told(HELLO + ("C: RCPT TO:<b@example.org>\nS: 503 ...\n" * 3 + letter) * 3) == [
        ("503", 0)
    ]


def test_no_word_of_the_client_is_repeated() -> None:
    session = run(converse([TakesAll()], HELLO + "C: MAIL FROM:secret\nS: 501 ...\n"))
    assert "secret" not in str(list(session.trail))


def test_who_keeps_the_rules_leaves_no_trace() -> None:
    assert told(HELLO + MAIL + RCPT + "C: DATA\nS: 354 ...\nC: .\nS: 250 ...\n") == []
