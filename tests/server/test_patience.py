"""How many errors and idle commands a client may spend, and what wins them back."""

from __future__ import annotations

import pytest

from gatepost import Accept, Answer, AnswerForEach, Plugin, Recipient, Transaction
from gatepost.limits import Limits
from gatepost.protocol.events import (
    Auth,
    AuthResponse,
    Ehlo,
    EndOfData,
    Event,
    Malformed,
    Noop,
    Quit,
    Rset,
    StartTls,
    Vrfy,
)
from gatepost.reply import Reply
from gatepost.server.patience import TOO_MANY_ERRORS, TOO_MANY_IDLE, Patience
from gatepost.testing import LMTP, MX, a_session, converse, run

YES, NO, LATER = Reply(250), Reply(550), Reply(450)
WRONG = Malformed(NO)


def judged(*exchanges: tuple[Event, Reply], limits: Limits) -> list[Reply]:
    patience = Patience(limits, a_session())
    return [patience.judge(event, reply) for event, reply in exchanges]


def test_one_error_too_many() -> None:
    limits = Limits(errors=2)
    assert judged((WRONG, NO), (WRONG, NO), (WRONG, NO), limits=limits) == [NO, NO, TOO_MANY_ERRORS]
    assert judged((WRONG, NO), limits=Limits(errors=0)) == [TOO_MANY_ERRORS]


def test_what_is_put_off_is_no_error() -> None:
    assert judged(*[(WRONG, LATER)] * 10, limits=Limits(errors=2)) == [LATER] * 10


@pytest.mark.parametrize("event", [Noop(), Rset(), Vrfy("x"), Ehlo("x")])
def test_one_idle_command_too_many(event: Event) -> None:
    limits = Limits(idle_commands=2)
    exchange = (event, YES)
    assert judged(exchange, exchange, exchange, limits=limits) == [YES, YES, TOO_MANY_IDLE]


@pytest.mark.parametrize("event", [Auth("PLAIN"), AuthResponse("*"), StartTls()])
def test_what_is_put_off_may_be_tried_again_only_so_often(event: Event) -> None:
    limits = Limits(idle_commands=2)
    put_off = (event, LATER)
    assert judged(put_off, (event, YES), put_off, put_off, limits=limits) == [
        LATER,
        YES,
        LATER,
        TOO_MANY_IDLE,
    ]


def test_goodbye_is_not_idle() -> None:
    assert judged((Noop(), YES), (Quit(), Reply(221)), limits=Limits(idle_commands=1)) == [
        YES,
        Reply(221),
    ]


def test_what_became_of_a_message_is_always_told() -> None:
    spent, refused = (WRONG, NO), (EndOfData(), NO)
    assert judged(spent, refused, refused, spent, limits=Limits(errors=1)) == [
        NO,
        NO,
        NO,
        TOO_MANY_ERRORS,
    ]


class TakesAll(Plugin):
    """Accepts every recipient and every message."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


MESSAGE = """
    C: MAIL FROM:<anne@client.example>
    S: 250 ...
    C: RCPT TO:<bob@example.org>
    S: 250 ...
    C: DATA
    S: 354 ...
    C: .
    S: 250 ...
"""
ERROR = "C: FROB\nS: 500 ...\n"
IDLE = "C: NOOP\nS: 250 ...\n"
START = "S: 220 ...\nC: {greeting} client.example\nS: 250 ...\n"


@pytest.mark.parametrize("greeting", ["EHLO", "LHLO"])
def test_a_message_that_was_taken_wipes_the_slate_clean(greeting: str) -> None:
    start = START.format(greeting=greeting)
    listen = LMTP if greeting == "LHLO" else MX
    limits = Limits(errors=2, idle_commands=3)
    script = start + ERROR * 2 + IDLE * 2 + MESSAGE + ERROR * 2 + IDLE * 3 + MESSAGE + ERROR * 2
    end = "C: FROB\nS: 421 4.7.0 Too many errors\nS: <closed>"
    run(converse([TakesAll()], script + end, limits=limits, listen=listen))


def test_the_limits_of_a_conversation() -> None:
    start = START.format(greeting="EHLO")
    end = "C: FROB\nS: 421 4.7.0 Too many errors\nS: <closed>"
    run(converse([], start + ERROR * 20 + end))
    end = "C: NOOP\nS: 421 4.7.0 Too many commands without a message\nS: <closed>"
    run(converse([], start + IDLE * 99 + end))
