"""Which decision earned a message its reply, or ended a session."""

from __future__ import annotations

import pytest

from gatepost import Accept, Decision, Defer, Deny, Reply, Verdict
from gatepost.journal.causes import cause_of_end, cause_of_reply
from gatepost.testing import a_session, a_transaction
from gatepost.trail import Mode

NO = Deny("No sales")
REFUSED = Reply(550, "5.7.1", "No sales")


def decided(
    hook: str, verdict: Verdict, *, plugin: str = "box", mode: Mode = "enforce", message: int = 1
) -> Decision:
    return Decision(plugin, hook, verdict, 0.0, mode, message)


# fmt: off
#: What was decided about a message, the last one at the end; its reply; who earned that, if anyone.
EARNED = [
    ([decided("queue", Accept())],                          Reply(250, "2.0.0", "Queued"), 0),
    ([decided("rcpt", Accept())],                           Reply(250, "2.0.0", "Queued"), None),
    ([decided("message", NO)],                              REFUSED, 0),
    ([decided("message", NO), decided("queue", Accept())],  REFUSED, 0),
    ([decided("headers", NO, message=2)],                   REFUSED, None),
    ([decided("headers", NO, message=0)],                   REFUSED, None),
    ([decided("message", NO, mode="report")],               REFUSED, None),
    ([decided("rcpt", NO)],                                 REFUSED, None),
    ([decided("message", Deny("Another reason"))],          REFUSED, None),
    ([decided("message", Deny())],                          REFUSED, 0),
    ([decided("message", Deny("No\x1bsales"))],             REFUSED, 0),
    ([decided("message", Defer("No sales"))],               REFUSED, None),
    ([decided("queue", Defer("Wait"))],                     Reply(451, "4.3.0", "Wait"), 0),
    ([decided("rcpt", NO)],                                 None, 0),
    ([decided("mail", Defer("Wait"))],                      None, 0),
    ([decided("rcpt", Accept())],                           None, None),
    ([decided("queue", NO)],                                None, None),
]
# fmt: on


@pytest.mark.parametrize(("decisions", "reply", "place"), EARNED)
def test_a_reply_is_earned_by_who_could_have_earned_it(
    decisions: list[Decision], reply: Reply | None, place: int | None
) -> None:
    transaction = a_transaction()
    for decision in decisions:
        transaction.session.trail.add(decision)
    expected = None if place is None else decisions[place]
    assert cause_of_reply(transaction, reply) is expected


def door(hook: str, verdict: Verdict, mode: Mode = "enforce") -> Decision:
    return decided(hook, verdict, mode=mode, message=0)


BYE, LISTED = Reply(221, "2.0.0", "mx says goodbye"), Reply(554, "5.7.1", "Listed")
BUSY = Reply(421, "4.7.0", "Busy", final=True)

# fmt: off
#: What was decided in a session, its farewell, its messages, and whether the last of it ended it.
ENDED = [
    ([],                                                   None,   0, False),
    ([door("connect", Deny("Listed"))],                    None,   0, True),
    ([door("connect", Deny("Listed"))],                    BYE,    0, True),
    ([door("connect", Deny("Listed"), "report")],          BYE,    0, False),
    ([door("connect", Accept())],                          BYE,    0, False),
    ([door("helo", Deny("A liar")), door("auth", Accept())], BYE,  0, False),
    ([door("helo", Deny("A liar"))],                       BYE,    1, False),
    ([door("helo", Deny("A liar"))],                       BUSY,   0, False),
    ([door("vrfy", Deny("No"))],                           BYE,    0, False),
    ([door("starttls", Deny("No TLS"))],                   BYE,    0, True),
    ([door("auth", Deny("Who?"))],                         BYE,    0, True),
    ([door("connect", Defer("Busy"))],                     BUSY,   0, True),
    ([door("connect", Defer())],                           BUSY,   0, True),
    ([door("connect", Defer("Too much load"))],            BUSY,   0, False),
    ([door("helo", Defer("Busy"))],                        BUSY,   0, False),
    ([door("helo", Defer("Busy", code=421))],              BUSY,   0, True),
    ([door("helo", Defer("Busy", disconnect=True))],       BUSY,   3, True),
    ([door("connect", Deny("Listed", disconnect=True))],   LISTED, 0, True),
    ([door("connect", Deny("Listed"))],                    LISTED, 0, False),
    ([door("connect", Deny("Listed", disconnect=True))],   BUSY,   0, False),
    ([decided("rcpt", Deny("Listed", disconnect=True))],   LISTED, 1, True),
]
# fmt: on


@pytest.mark.parametrize(("decisions", "farewell", "messages", "is_it"), ENDED)
def test_a_session_ends_by_a_decision_or_by_none(
    decisions: list[Decision], farewell: Reply | None, messages: int, is_it: bool
) -> None:
    session = a_session()
    session.farewell, session.messages = farewell, messages
    for decision in decisions:
        session.trail.add(decision)
    assert cause_of_end(session) is (decisions[-1] if is_it else None)
