"""The steps of a client's session, and what each leads to, as data.

The reply moves the state here as it does in the server; what the tables do not list, no sound
server says.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final


class Stage(StrEnum):
    """A step on a message's way to the next hop; the value is its verb or its name in words."""

    CHECK = "check"  #: our own look at message and peer, before MAIL
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    STARTTLS = "STARTTLS"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END_OF_DATA = "end of data"  #: after the dot or the last octet: the one that counts
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"


class ClientState(StrEnum):
    """Where a client's session stands."""

    CONNECT = auto()  #: no banner yet
    HELLO = auto()  #: we have not given our name
    READY = auto()  #: between two messages
    SECURING = auto()  #: the server waits for a TLS handshake; nothing in clear is heard
    MAIL = auto()  #: a sender, no recipient yet
    RCPT = auto()  #: a sender and at least one recipient
    DATA = auto()  #: the message goes out, up to its dot
    BDAT = auto()  #: the message goes out as one chunk
    TURNED_AWAY = auto()  #: refused at the door: QUIT is all that is left (RFC 5321, 3.1)
    CLOSED = auto()


# fmt: off
#: Where a positive reply leads, and with that which steps are in turn.
TRANSITIONS: Final[dict[ClientState, dict[Stage, ClientState]]] = {
    ClientState.CONNECT:  {Stage.BANNER: ClientState.HELLO},
    ClientState.HELLO:    {Stage.EHLO: ClientState.READY, Stage.HELO: ClientState.READY,
                           Stage.LHLO: ClientState.READY, Stage.QUIT: ClientState.CLOSED},
    ClientState.READY:    {Stage.STARTTLS: ClientState.SECURING, Stage.MAIL: ClientState.MAIL,
                           Stage.RSET: ClientState.READY, Stage.NOOP: ClientState.READY,
                           Stage.QUIT: ClientState.CLOSED},
    ClientState.SECURING: {},
    # A server may say 354 although it has refused every recipient (RFC 2920, 3.1).
    ClientState.MAIL:     {Stage.RCPT: ClientState.RCPT, Stage.DATA: ClientState.DATA,
                           Stage.RSET: ClientState.READY, Stage.NOOP: ClientState.MAIL,
                           Stage.QUIT: ClientState.CLOSED},
    ClientState.RCPT:     {Stage.RCPT: ClientState.RCPT, Stage.DATA: ClientState.DATA,
                           Stage.RSET: ClientState.READY, Stage.NOOP: ClientState.RCPT,
                           Stage.QUIT: ClientState.CLOSED},
    ClientState.DATA:     {Stage.END_OF_DATA: ClientState.READY},
    ClientState.BDAT:     {Stage.END_OF_DATA: ClientState.READY},
    ClientState.TURNED_AWAY: {Stage.QUIT: ClientState.CLOSED},
    ClientState.CLOSED:   {},
}

#: Where a negative reply leads.  All other refusals leave the state as it is.
REFUSALS: Final[dict[ClientState, dict[Stage, ClientState]]] = {
    ClientState.CONNECT: {Stage.BANNER: ClientState.TURNED_AWAY},
    ClientState.DATA:    {Stage.END_OF_DATA: ClientState.READY},
    # What a refused chunk leaves behind is known only after RSET (RFC 3030, 2).
    ClientState.BDAT:    {Stage.END_OF_DATA: ClientState.RCPT},
}

# fmt: on

#: The steps that a batch of commands may hold before its last (RFC 2920, 3.1).
BATCHED: Final = frozenset({Stage.MAIL, Stage.RCPT, Stage.RSET})
