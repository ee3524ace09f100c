"""What follows from a verdict: the configuration decides, and a plugin writes no line for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    Defer,
    Deny,
    Each,
    Plugin,
    Recipient,
    Session,
    Transaction,
    Verdict,
)
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.hooks.turn import Turn
from gatepost.testing import a_recipient, a_session, a_transaction, run

NO, LATER, YES = Deny("No"), Defer("Later"), Accept("Yes")


def turn(**keys: Any) -> Turn:
    return Turn("it", lambda *_: None, Placement("it", **keys))


@pytest.mark.parametrize(
    ("keys", "verdict", "consequence"),
    [
        ({}, NO, NO),
        ({"soften": True}, NO, Defer("No")),
        ({"soften": True}, LATER, LATER),
        ({"soften": True}, YES, YES),
        ({"soften": True}, Deny("No", code=554, status="5.7.25"), Defer("No", status="4.7.25")),
        ({"soften": True}, Deny("No", disconnect=True), Defer("No", disconnect=True)),
        ({"disconnect": True}, NO, Deny("No", disconnect=True)),
        ({"disconnect": True}, LATER, Defer("Later", disconnect=True)),
        ({"disconnect": True}, YES, YES),
        (
            {"disconnect": True},
            Deny("No", code=554, status="5.7.25"),
            Deny("No", code=554, status="5.7.25", disconnect=True),
        ),
        ({"soften": True, "disconnect": True}, NO, Defer("No", disconnect=True)),
    ],
)
def test_consequences(keys: dict[str, bool], verdict: Verdict, consequence: Verdict) -> None:
    assert turn(**keys).consequence(verdict) == consequence
    bob, carol = a_recipient(), a_recipient()
    each = Each({bob: verdict, carol: YES})
    assert turn(**keys).consequence(each) == Each({bob: consequence, carol: YES})
    if verdict != consequence:
        assert turn(**keys).adjusts


@pytest.mark.parametrize("verdict", [NO, LATER, YES, Each({})])
def test_modes(verdict: Verdict | Each) -> None:
    assert turn().mode_of(verdict) == "enforce"
    assert turn(mode="report").mode_of(verdict) == "report"
    assert turn(mode="later").mode_of(verdict) == "enforce"
    held = "later" if isinstance(verdict, Deny | Defer) else "enforce"
    assert Turn("it", print, Placement("it", mode="later"), holds=True).mode_of(verdict) == held


# -- Later ----------------------------------------------------------------------------------------


@dataclass
class Judge(Plugin):
    """Answers on many hooks, each time what was put here for it."""

    on_connect: Verdict | None = None
    on_helo: Verdict | None = None
    on_mail: Verdict | None = None
    on_rcpt: Verdict | None = None
    on_data: Verdict | None = None

    def connect(self, session: Session) -> Answer:
        return self.on_connect

    def helo(self, session: Session, name: str) -> Answer:
        return self.on_helo

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        return self.on_mail

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return self.on_rcpt

    def data(self, transaction: Transaction) -> Answer:
        return self.on_data


def whole_session(
    *parts: tuple[Plugin, Placement], session: Session | None = None
) -> dict[str, Verdict | Each | None]:
    """What a chain answers on all hooks of one message, as far as somebody does."""
    session = session or a_session()
    transaction = a_transaction(session)
    chain = Chain(parts)
    told: dict[str, Verdict | Each | None] = {}
    moments: Sequence[tuple[str, Session | Transaction, tuple[object, ...]]] = [
        ("connect", session, ()),
        ("helo", session, ("client.example",)),
        ("mail", transaction, (transaction.sender,)),
        ("rcpt", transaction, (a_recipient(),)),
        ("data", transaction, ()),
        ("headers", transaction, ()),
        ("message", transaction, ()),
        ("queue", transaction, ()),
    ]
    for hook, holder, arguments in moments:
        answer = run(chain.ask(hook, session, holder, *arguments))
        if answer is not None:
            told[hook] = answer
    return told


def later(plugin: Plugin, **keys: Any) -> tuple[Plugin, Placement]:
    return plugin, Placement("it", mode="later", **keys)


@pytest.mark.parametrize("hook", ["connect", "helo", "mail"])
@pytest.mark.parametrize("verdict", [NO, LATER])
def test_a_refusal_is_held_back_until_rcpt(hook: str, verdict: Verdict) -> None:
    session = a_session()
    judge = Judge(**{f"on_{hook}": verdict})
    assert whole_session(later(judge), session=session) == {"rcpt": verdict}
    assert [(one.hook, one.verdict, one.mode) for one in session.trail.decisions] == [
        (hook, verdict, "later"),
        ("rcpt", verdict, "enforce"),
    ]


@pytest.mark.parametrize("moment", ["mail", "rcpt", "data", "headers", "message"])
def test_it_is_pronounced_where_the_configuration_says(moment: Any) -> None:
    assert whole_session(later(Judge(on_connect=NO), pronounce=moment)) == {moment: NO}


def test_a_refusal_behind_its_moment_takes_effect_at_once() -> None:
    assert whole_session(later(Judge(on_rcpt=NO))) == {"rcpt": NO}
    assert whole_session(later(Judge(on_data=NO))) == {"data": NO}
    assert whole_session(later(Judge(on_data=NO), pronounce="mail")) == {"data": NO}


def test_an_accept_is_not_held_back() -> None:
    assert whole_session(later(Judge(on_connect=YES, on_mail=NO))) == {"connect": YES, "rcpt": NO}


def test_others_are_still_asked() -> None:
    parts = later(Judge(on_mail=NO)), (Judge(on_mail=YES), Placement("other"))
    assert whole_session(*parts) == {"mail": YES, "rcpt": NO}


def test_it_is_pronounced_in_the_plugins_own_turn() -> None:
    first = Judge(on_rcpt=YES), Placement("first")
    assert whole_session(first, later(Judge(on_mail=NO))) == {"rcpt": YES}
    assert whole_session(later(Judge(on_mail=NO)), first) == {"rcpt": NO}


def test_the_last_refusal_of_a_plugin_counts() -> None:
    judge = Judge(on_connect=Deny("first"), on_mail=Deny("last"))
    assert whole_session(later(judge)) == {"rcpt": Deny("last")}


def test_plugins_hold_back_each_for_itself() -> None:
    first = Judge(on_mail=NO), Placement("first", mode="later", pronounce="data")
    second = Judge(on_mail=LATER), Placement("second", mode="later")
    assert whole_session(first, second) == {"rcpt": LATER, "data": NO}
    named = Judge(on_mail=LATER), Placement("first", name="again", mode="later")
    assert whole_session(first, named) == {"rcpt": LATER, "data": NO}


def test_a_held_refusal_has_its_consequences() -> None:
    assert whole_session(later(Judge(on_mail=NO), soften=True, disconnect=True)) == {
        "rcpt": Defer("No", disconnect=True)
    }


def test_a_refusal_of_the_sender_is_forgotten_with_its_message() -> None:
    session = a_session()
    judge = Judge(on_mail=NO)
    assert whole_session(later(judge), session=session) == {"rcpt": NO}
    judge.on_mail = None
    assert whole_session(later(judge), session=session) == {}


def test_a_refusal_of_the_client_holds_for_all_its_messages() -> None:
    session = a_session()
    judge = Judge(on_connect=NO)
    assert whole_session(later(judge), session=session) == {"rcpt": NO}
    judge.on_connect = None
    assert whole_session(later(judge), session=session) == {"rcpt": NO}


def test_who_is_exempt_by_then_is_not_refused() -> None:
    class Friends(Plugin):
        """Knows better by the time of MAIL."""

        def mail(self, transaction: Transaction, sender: Address) -> Answer:
            transaction.session.allow("a friend")
            return None

    dnsbl = later(Judge(on_connect=NO), unless=("allowed",))
    assert whole_session(dnsbl) == {"rcpt": NO}
    assert whole_session(dnsbl, (Friends(), Placement("friends"))) == {}
