"""The state machine of a session, as data.

The reply moves the state, not the command: what the client was told and what the server believes
cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, auto

from gatepost.protocol.events import (
    Auth,
    AuthResponse,
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
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
    XForward,
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
    AUTH = auto()  #: an answer to a challenge is awaited; lines are no commands
    HANDSHAKE = auto()  #: TLS begins; nothing is read in clear any more
    TURNED_AWAY = auto()  #: refused at the door: nothing but QUIT is in order (RFC 5321, 3.1)
    CLOSED = auto()  #: nothing is read any more


#: The states by themselves: `State.READY` costs as much as a call, and these are asked often.
(
    CONNECT, HELLO, READY, MAIL, NOBODY, RCPT, DATA, BDAT, AUTH, HANDSHAKE, TURNED_AWAY, CLOSED,
) = State  # fmt: skip

# fmt: off
#: Where a positive reply leads, and with that which events are in turn.
TRANSITIONS: dict[State, dict[type[Event], State]] = {
    CONNECT: {Connected: HELLO},
    HELLO:   {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: HELLO, XClient: HELLO,
                    StartTls: HANDSHAKE},
    READY:   {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Mail: MAIL,
                    Auth: READY, StartTls: HANDSHAKE, XClient: HELLO, XForward: READY},
    MAIL:    {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Rcpt: RCPT},
    NOBODY:  {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Rcpt: RCPT},
    RCPT:    {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY, Rcpt: RCPT,
                    Data: DATA, Bdat: BDAT, EndOfChunk: BDAT, EndOfData: READY},
    DATA:    {EndOfData: READY},
    BDAT:    {Helo: READY, Ehlo: READY, Lhlo: READY, Rset: READY,
                    Bdat: BDAT, EndOfChunk: BDAT, EndOfData: READY},
    AUTH:    {AuthResponse: READY},
    HANDSHAKE: {},
    TURNED_AWAY: {},
    CLOSED:  {},
}

#: Where a reply leads that asks for more (3xx), if not to where other positive ones do.
CHALLENGES: dict[State, dict[type[Event], State]] = {state: {} for state in State} | {
    READY:   {Auth: AUTH},
    AUTH:    {AuthResponse: AUTH},
}

#: Where a negative reply leads.  All other refusals leave the state as it is.
REFUSALS: dict[State, dict[type[Event], State]] = {state: {} for state in State} | {
    CONNECT: {Connected: TURNED_AWAY},
    MAIL:    {Rcpt: NOBODY},
    RCPT:    {EndOfChunk: READY, EndOfData: READY, Spoiled: READY, Data: READY},
    DATA:    {EndOfData: READY, Spoiled: READY},
    BDAT:    {EndOfChunk: READY, EndOfData: READY, Spoiled: READY},
    HELLO:   {XClient: TURNED_AWAY},
    READY:   {XClient: TURNED_AWAY},
    AUTH:    {AuthResponse: READY, Malformed: READY},
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
    (None, Auth):         Reply(503, "5.5.1", "Not while a message is under way"),
    (None, StartTls):     Reply(503, "5.5.1", "Not while a message is under way"),
    (None, XClient):      Reply(503, "5.5.1", "Not while a message is under way"),
    (None, XForward):     Reply(503, "5.5.1", "Not while a message is under way"),
}


class Circumstance(IntEnum):
    """What is so for a while and forbids commands that would be in turn."""

    TLS_REQUIRED = auto()  #: the listener demands TLS, and it is not up yet
    AUTH_REQUIRED = auto()  #: the listener demands authentication
    SECURED = auto()  #: TLS is up
    AUTHENTICATED = auto()  #: it is known who the client is
    AUTH_IS_DONE = auto()  #: the client has shown it by AUTH
    NO_XCLIENT = auto()  #: the client is not one whose XCLIENT is believed
    NO_XFORWARD = auto()  #: the client is not one whose XFORWARD is believed


_TLS_FIRST = Reply(530, "5.7.0", "Must issue a STARTTLS command first")
_NOT_TRUSTED = Reply(550, "5.7.0", "You are not trusted with that")

#: What each circumstance forbids, and what the client is told; the first that forbids counts.
GUARDS: dict[Circumstance, dict[type[Event], Reply]] = {
    # All but EHLO, NOOP, STARTTLS and QUIT (RFC 3207, 4).
    Circumstance.TLS_REQUIRED:  dict.fromkeys(
        (Helo, Mail, Rcpt, Data, Bdat, Rset, Vrfy, Expn, Help, Auth, XForward), _TLS_FIRST),
    Circumstance.AUTH_REQUIRED: {Mail: Reply(530, "5.7.0", "Authentication required")},
    Circumstance.SECURED:       {StartTls: Reply(503, "5.5.1", "TLS is up already")},
    Circumstance.AUTHENTICATED: {Auth: Reply(503, "5.5.1", "You are authenticated already")},
    Circumstance.AUTH_IS_DONE:  {StartTls: Reply(503, "5.5.1", "TLS comes before AUTH")},
    Circumstance.NO_XCLIENT:    {XClient: _NOT_TRUSTED},
    Circumstance.NO_XFORWARD:   {XForward: _NOT_TRUSTED},
}
# fmt: on

#: The events that are in turn in each state.
IN_TURN: dict[State, frozenset[type[Event]]] = {
    state: frozenset(moves) | ANYWHERE for state, moves in TRANSITIONS.items()
} | {TURNED_AWAY: frozenset({Quit})}

#: The states in which no message is under way.
AT_REST = frozenset({HELLO, READY, AUTH, HANDSHAKE, TURNED_AWAY, CLOSED})

YOU_WERE_TURNED_AWAY = Reply(503, "5.5.1", "You were turned away; all that is left is QUIT")
BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands")


def out_of_turn(state: State, event: Event) -> Reply:
    """What the client is told about an event that is out of turn."""
    if state is TURNED_AWAY:
        return YOU_WERE_TURNED_AWAY
    kind = type(event)
    return OUT_OF_TURN.get((state, kind)) or OUT_OF_TURN.get((None, kind), BAD_SEQUENCE)


def forbidden(circumstances: Iterable[Circumstance]) -> dict[type[Event], Reply]:
    """What clients may not do in these circumstances, and what they are told."""
    together: dict[type[Event], Reply] = {}
    for circumstance in sorted(circumstances):
        together = GUARDS[circumstance] | together
    return together


def state_after(state: State, event: Event, reply: Reply) -> State:
    """Where a reply to an event leads."""
    if reply.final:
        return CLOSED
    kind = type(event)
    if reply.code < 400 and reply.code >= 300 and kind in CHALLENGES[state]:
        return CHALLENGES[state][kind]
    return (TRANSITIONS if reply.positive else REFUSALS)[state].get(kind, state)
