"""The tables of the state machine, as wholes."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest

from gatepost.address import Address
from gatepost.protocol.events import (
    Auth,
    Bdat,
    Connected,
    Data,
    Ehlo,
    EndOfChunk,
    EndOfData,
    Event,
    Expn,
    Helo,
    Help,
    Lhlo,
    Line,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Spoiled,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
)
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.states import (
    ANYWHERE,
    BAD_SEQUENCE,
    CHALLENGES,
    IN_TURN,
    OUT_OF_TURN,
    REFUSALS,
    TRANSITIONS,
    YOU_WERE_TURNED_AWAY,
    State,
    out_of_turn,
    state_after,
)
from gatepost.protocol.xclient import XClientFacts
from gatepost.reply import Reply

YES, GO_ON, NO, LATER = Reply(250), Reply(354), Reply(550), Reply(450)
BYE = Reply(221, final=True)
REFUSED = Reply(501)

MAIL = Mail(Address("anne", "client.example"), MailParameters())
RCPT = Rcpt(Address("bob", "example.org"), RcptParameters())
GREETINGS: list[Event] = [Helo("x"), Ehlo("x"), Lhlo("x")]
HARMLESS: list[Event] = [
    Noop(),
    Vrfy("x"),
    Expn("x"),
    Help(),
    Unrecognized("X"),
    Malformed(REFUSED),
]
EVENTS: list[Event] = [
    Connected(), *GREETINGS, MAIL, RCPT, Data(), Bdat(5), EndOfChunk(), EndOfData(),
    Spoiled(NO), Rset(), Quit(), *HARMLESS,
]  # fmt: skip

OPEN = [State.HELLO, State.READY, State.MAIL, State.NOBODY, State.RCPT, State.BDAT]


def name(value: object) -> str:
    return value.name if isinstance(value, State) else type(value).__name__


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(REFUSALS) <= set(State)


def test_every_state_can_be_reached() -> None:
    targets = {
        state
        for row in (*TRANSITIONS.values(), *CHALLENGES.values(), *REFUSALS.values())
        for state in row.values()
    }
    # The first is where all begins, and the last is where a final reply leads.
    assert targets | {State.CONNECT, State.CLOSED} == set(State)


def test_every_event_has_its_turn_somewhere_or_is_no_command_of_ours() -> None:
    known = ANYWHERE.union(*TRANSITIONS.values(), *REFUSALS.values())
    elsewhere = {"Line", "Chunk"}
    events: set[Any] = {
        kind for member in get_args(Event) for kind in (get_args(member) or (member,))
    }
    assert {kind.__name__ for kind in events - known} <= elsewhere


def test_what_is_refused_could_have_been_accepted() -> None:
    for state, row in REFUSALS.items():
        assert row.keys() - {Spoiled, Malformed} <= TRANSITIONS[state].keys()


@pytest.mark.parametrize(("state", "greeting"), list(product(OPEN, GREETINGS)), ids=name)
def test_a_greeting_begins_anew_at_any_time(state: State, greeting: Event) -> None:
    assert type(greeting) in IN_TURN[state]
    assert state_after(state, greeting, YES) is State.READY
    assert state_after(state, greeting, NO) is state  # RFC 5321, 4.1.4
    assert state_after(state, greeting, LATER) is state


@pytest.mark.parametrize("state", OPEN, ids=name)
def test_rset_forgets_the_message_and_not_the_greeting(state: State) -> None:
    assert Rset in IN_TURN[state]
    assert state_after(state, Rset(), YES) is (State.HELLO if state is State.HELLO else State.READY)
    assert state_after(state, Rset(), NO) is state


@pytest.mark.parametrize(("state", "event"), list(product(OPEN, HARMLESS)), ids=name)
def test_harmless_commands_are_always_in_turn(state: State, event: Event) -> None:
    assert type(event) in IN_TURN[state]
    assert state_after(state, event, YES) is state
    assert state_after(state, event, NO) is state


@pytest.mark.parametrize(("state", "event"), list(product(State, EVENTS)), ids=name)
def test_a_final_reply_closes(state: State, event: Event) -> None:
    assert state_after(state, event, BYE) is State.CLOSED


@pytest.mark.parametrize(
    ("state", "event", "reply", "next_state"),
    [
        (State.CONNECT, Connected(), Reply(220), State.HELLO),
        (State.CONNECT, Connected(), Reply(554), State.TURNED_AWAY),
        (State.READY, MAIL, YES, State.MAIL),
        (State.READY, MAIL, NO, State.READY),
        (State.MAIL, RCPT, YES, State.RCPT),
        (State.MAIL, RCPT, NO, State.NOBODY),
        (State.MAIL, RCPT, LATER, State.NOBODY),
        (State.NOBODY, RCPT, NO, State.NOBODY),
        (State.NOBODY, RCPT, YES, State.RCPT),
        (State.RCPT, RCPT, NO, State.RCPT),
        (State.RCPT, RCPT, YES, State.RCPT),
        (State.RCPT, Data(), GO_ON, State.DATA),
        (State.RCPT, Data(), NO, State.READY),
        (State.DATA, EndOfData(), YES, State.READY),
        (State.DATA, EndOfData(), LATER, State.READY),
        (State.DATA, Spoiled(NO), NO, State.READY),
        (State.RCPT, EndOfChunk(), YES, State.BDAT),
        (State.RCPT, EndOfChunk(), NO, State.READY),
        (State.RCPT, EndOfData(), YES, State.READY),
        (State.RCPT, Spoiled(NO), NO, State.READY),
        (State.BDAT, EndOfChunk(), YES, State.BDAT),
        (State.BDAT, EndOfChunk(), LATER, State.READY),
        (State.BDAT, EndOfData(), YES, State.READY),
        (State.BDAT, EndOfData(), NO, State.READY),
        (State.BDAT, Spoiled(NO), NO, State.READY),
    ],
    ids=name,
)
def test_where_replies_lead(state: State, event: Event, reply: Reply, next_state: State) -> None:
    assert (type(event) in IN_TURN[state]) or isinstance(event, Spoiled)
    assert state_after(state, event, reply) is next_state


@pytest.mark.parametrize(
    ("state", "event", "code", "words"),
    [
        (State.HELLO, MAIL, 503, "EHLO"),
        (State.HELLO, RCPT, 503, "MAIL"),
        (State.HELLO, Data(), 503, "RCPT"),
        (State.HELLO, Bdat(5), 503, "RCPT"),
        (State.READY, RCPT, 503, "MAIL"),
        (State.READY, Data(), 503, "RCPT"),
        (State.READY, Bdat(5), 503, "RCPT"),
        (State.MAIL, MAIL, 503, "one message"),
        (State.MAIL, Data(), 503, "RCPT"),
        (State.NOBODY, MAIL, 503, "one message"),
        (State.NOBODY, Data(), 554, "No valid recipients"),
        (State.NOBODY, Bdat(5), 554, "No valid recipients"),
        (State.RCPT, MAIL, 503, "one message"),
        (State.BDAT, MAIL, 503, "one message"),
        (State.BDAT, RCPT, 503, "MAIL"),
        (State.BDAT, Data(), 503, "BDAT"),
        (State.MAIL, StartTls(), 503, "message"),
        (State.RCPT, Auth("PLAIN"), 503, "message"),
        (State.BDAT, XClient(XClientFacts()), 503, "message"),
    ],
    ids=name,
)
def test_what_is_out_of_turn(state: State, event: Event, code: int, words: str) -> None:
    assert type(event) not in IN_TURN[state]
    reply = out_of_turn(state, event)
    assert (reply.code, reply.status, reply.final) == (code, "5.5.1", False)
    assert words in reply.text
    assert state_after(state, Malformed(reply), reply) is state


def test_who_is_turned_away_may_only_quit() -> None:
    for event in EVENTS:
        assert (type(event) in IN_TURN[State.TURNED_AWAY]) is isinstance(event, Quit)
        assert out_of_turn(State.TURNED_AWAY, event) is YOU_WERE_TURNED_AWAY
        assert state_after(State.TURNED_AWAY, event, YOU_WERE_TURNED_AWAY) is State.TURNED_AWAY


def test_commands_of_a_closed_session_have_no_turn() -> None:
    assert TRANSITIONS[State.CLOSED] == {}


@pytest.mark.parametrize(
    "reply", [*OUT_OF_TURN.values(), YOU_WERE_TURNED_AWAY, BAD_SEQUENCE], ids=str
)
def test_replies_to_what_is_out_of_turn(reply: Reply) -> None:
    assert reply.code in (503, 554)
    assert reply.status == "5.5.1"


def test_a_line_is_answered_like_any_other() -> None:
    assert state_after(State.READY, Line("MAIL", ""), LATER) is State.READY
