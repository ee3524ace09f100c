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


class State(IntEnum):  # an int hashes faster, and states are looked up on every command
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


#: The states by themselves: `State.READY` costs as much as a call, and these are asked often.
(CONNECT, HELLO, READY, MAIL, NOBODY, RCPT, DATA, BDAT, TURNED_AWAY, CLOSED) = State

# fmt: off
#: Where a positive reply leads, and with that which events are in turn.
TRANSITIONS: dict[State, dict[type[Event], State]] = {
    CONNECT: {Connected: HELLO},
    HELLO:   {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: HELLO},
    READY:   {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Mail: MAIL},
    MAIL:    {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Rcpt: RCPT},
    NOBODY:  {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Rcpt: RCPT},
    RCPT:    {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Rcpt: RCPT,
                    Data: DATA, Bdat: BDAT, EndOfChunk: BDAT, EndOfData: READY},
    DATA:    {EndOfData: READY},
    BDAT:    {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY,
                    Bdat: BDAT, EndOfChunk: BDAT, EndOfData: READY},
    TURNED_AWAY: {},
    CLOSED:  {},
}

#: Where a negative reply leads.  All other refusals leave the state as it is.
REFUSALS: dict[State, dict[type[Event], State]] = {state: {} for state in State} | {
    CONNECT: {Connected: TURNED_AWAY},
    MAIL:    {Rcpt: NOBODY},
    RCPT:    {EndOfChunk: READY, EndOfData: READY, Spoiled: READY, Data: READY},
    DATA:    {EndOfData: READY, Spoiled: READY},
    BDAT:    {EndOfChunk: READY, EndOfData: READY, Spoiled: READY},
}

#: Commands that are in turn wherever a command is, and leave the state as it is.
ANYWHERE: frozenset[type[Event]] = frozenset({Noop, Quit, Vrfy, Expn, Help, Unrecognized, Malformed})

#: What a command out of turn is told: the state's own words, or else the command's.
OUT_OF_TURN: dict[tuple[State | None, type[Event]], Reply] = {
    (NOBODY, Data): Reply(554, "5.5.1", "No valid recipients"),
    (NOBODY, Bdat): Reply(554, "5.5.1", "No valid recipients"),
    (HELLO, Mail):  Reply(503, "5.5.1", "Say EHLO first"),
    (BDAT, Data):   Reply(503, "5.5.1", "A message that began with BDAT goes on with BDAT"),
    (None, Mail):         Reply(503, "5.5.1", "Finish one message before the next"),
    (None, Rcpt):         Reply(503, "5.5.1", "MAIL comes before RCPT"),
    (None, Data):         Reply(503, "5.5.1", "MAIL and RCPT come before DATA"),
    (None, Bdat):         Reply(503, "5.5.1", "MAIL and RCPT come before BDAT"),
}
# fmt: on

#: The events that are in turn in each state.
IN_TURN: dict[State, frozenset[type[Event]]] = {
    state: frozenset(moves) | ANYWHERE for state, moves in TRANSITIONS.items()
} | {TURNED_AWAY: frozenset({Quit})}

#: The states in which no message is under way.
AT_REST = frozenset({HELLO, READY, TURNED_AWAY, CLOSED})

YOU_WERE_TURNED_AWAY = Reply(503, "5.5.1", "You were turned away; all that is left is QUIT")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")


def out_of_turn(state: State, event: Event) -> Reply:
    """What the client is told about an event that is out of turn."""
    if state is TURNED_AWAY:
        return YOU_WERE_TURNED_AWAY
    kind = type(event)
    return OUT_OF_TURN.get((state, kind)) or OUT_OF_TURN.get((None, kind), BAD_SEQUENCE)


def state_after(state: State, event: Event, reply: Reply) -> State:
    """Where a reply to an event leads."""
    if reply.final:
        return CLOSED
    return (TRANSITIONS if reply.positive else REFUSALS)[state].get(type(event), state)
