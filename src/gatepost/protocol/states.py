"""The state machine of a session, as data.

The reply moves the state, not the command: what the client was told and what the server believes
cannot differ.
"""

from __future__ import annotations

from enum import IntEnum, auto

from gatepost.protocol.events import (
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
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Spoiled,
    Unrecognized,
    Vrfy,
)
from gatepost.reply import Reply


class State(IntEnum):  # an int is its own hash, and states are looked up on every command
    """Where a session stands."""

    CONNECT = auto()  #: no banner yet
    HELLO = auto()  #: the client has not given its name
    READY = auto()  #: between two messages
    MAIL = auto()  #: a sender, and nobody tried as a recipient
    NOBODY = auto()  #: a sender, and every recipient so far was refused
    RCPT = auto()  #: a sender and at least one recipient
    DATA = auto()  #: the message is arriving, up to the dot
    BDAT = auto()  #: some chunks of the message are in
    TURNED_AWAY = auto()  #: refused at the door: nothing but QUIT is in order (RFC 5321, 3.1)
    CLOSED = auto()  #: nothing is read any more


# fmt: off
#: Where a positive reply leads, and with that which events are in turn.
TRANSITIONS: dict[State, dict[type[Event], State]] = {
    State.CONNECT: {Connected: State.HELLO},
    State.HELLO:   {Helo: State.READY, Ehlo: State.READY, Lhlo: State.READY, Rset: State.HELLO},
    State.READY:   {Helo: State.READY, Ehlo: State.READY, Lhlo: State.READY, Rset: State.READY, Mail: State.MAIL},
    State.MAIL:    {Helo: State.READY, Ehlo: State.READY, Lhlo: State.READY, Rset: State.READY, Rcpt: State.RCPT},
    State.NOBODY:  {Helo: State.READY, Ehlo: State.READY, Lhlo: State.READY, Rset: State.READY, Rcpt: State.RCPT},
    State.RCPT:    {Helo: State.READY, Ehlo: State.READY, Lhlo: State.READY, Rset: State.READY, Rcpt: State.RCPT,
                    Data: State.DATA, Bdat: State.BDAT, EndOfChunk: State.BDAT, EndOfData: State.READY},
    State.DATA:    {EndOfData: State.READY},
    State.BDAT:    {Helo: State.READY, Ehlo: State.READY, Lhlo: State.READY, Rset: State.READY,
                    Bdat: State.BDAT, EndOfChunk: State.BDAT, EndOfData: State.READY},
    State.TURNED_AWAY: {},
    State.CLOSED:  {},
}

#: Where a negative reply leads.  All other refusals leave the state as it is.
REFUSALS: dict[State, dict[type[Event], State]] = {
    State.CONNECT: {Connected: State.TURNED_AWAY},
    State.MAIL:    {Rcpt: State.NOBODY},
    State.RCPT:    {EndOfChunk: State.READY, EndOfData: State.READY, Spoiled: State.READY, Data: State.READY},
    State.DATA:    {EndOfData: State.READY, Spoiled: State.READY},
    State.BDAT:    {EndOfChunk: State.READY, EndOfData: State.READY, Spoiled: State.READY},
}

#: Commands that are in turn wherever a command is, and leave the state as it is.
ANYWHERE: frozenset[type[Event]] = frozenset({Noop, Quit, Vrfy, Expn, Help, Unrecognized, Malformed})

#: What a command out of turn is told: the state's own words, or else the command's.
OUT_OF_TURN: dict[tuple[State | None, type[Event]], Reply] = {
    (State.NOBODY, Data): Reply(554, "5.5.1", "No valid recipients"),
    (State.NOBODY, Bdat): Reply(554, "5.5.1", "No valid recipients"),
    (State.HELLO, Mail):  Reply(503, "5.5.1", "Say EHLO first"),
    (State.BDAT, Data):   Reply(503, "5.5.1", "A message that began with BDAT goes on with BDAT"),
    (None, Mail):         Reply(503, "5.5.1", "Finish one message before the next"),
    (None, Rcpt):         Reply(503, "5.5.1", "MAIL comes before RCPT"),
    (None, Data):         Reply(503, "5.5.1", "MAIL and RCPT come before DATA"),
    (None, Bdat):         Reply(503, "5.5.1", "MAIL and RCPT come before BDAT"),
}
# fmt: on
TURNED_AWAY = Reply(503, "5.5.1", "You were turned away; all that is left is QUIT")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")


def in_turn(state: State, event: Event) -> bool:
    """Whether an event may happen in a state."""
    kind = type(event)
    if state is State.TURNED_AWAY:
        return kind is Quit
    return kind in TRANSITIONS[state] or kind in ANYWHERE


def out_of_turn(state: State, event: Event) -> Reply:
    """What the client is told about an event that is out of turn."""
    if state is State.TURNED_AWAY:
        return TURNED_AWAY
    kind = type(event)
    return OUT_OF_TURN.get((state, kind)) or OUT_OF_TURN.get((None, kind), BAD_SEQUENCE)


def state_after(state: State, event: Event, reply: Reply) -> State:
    """Where a reply to an event leads."""
    if reply.final:
        return State.CLOSED
    moves = TRANSITIONS if reply.positive else REFUSALS
    return moves.get(state, {}).get(type(event), state)
