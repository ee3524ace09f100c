"""Which limits a client has run into: each of them stands on the trail, once for each message."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    AnswerForEach,
    Credentials,
    Defer,
    Deny,
    Plugin,
    Recipient,
    Session,
    Transaction,
)
from gatepost.config import Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.server.connection import Connection
from gatepost.server.connections import Connections
from gatepost.server.conversation import Conversation
from gatepost.server.outbox import Outbox
from gatepost.server.proxied import Proxied
from gatepost.server.tls_channel import TlsChannel
from gatepost.site import Site
from gatepost.testing import LMTP, MX, converse, run
from gatepost.tls_context import new_context

#: Limits that nobody runs into: they say how others are meant.
SILENT = {"memory", "ipv4_prefix", "ipv6_prefix"}

HELLO = "S: 220 ...\nC: EHLO client.example\nS: 250 ...\n"
MAIL = "C: MAIL FROM:<anne@client.example>\nS: 250 ...\n"
RCPT = "C: RCPT TO:<bob@example.org>\nS: 250 ...\n"
DATA = "C: DATA\nS: 354 ...\n"
RSET = "C: RSET\nS: 250 ...\n"
ENVELOPE = MAIL + RCPT + DATA
CLOSED = "S: <closed>\n"


class TakesAll(Plugin):
    """Accepts every recipient and every message, and nobody's password."""

    def auth(self, session: Session, credentials: Credentials) -> Deny:
        return Deny()

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


@dataclass
class Sets(Plugin):
    """Sets a limit for the addresses of a domain."""

    limit: str
    to: int
    domain: str = "client.example"

    def setting(self, name: str, value: int, address: Address | None) -> int:
        is_meant = name == self.limit and address is not None and address.domain == self.domain
        return self.to if is_meant else value


def hits(session: Session) -> list[tuple[str, str, int]]:
    """The limits on a trail, each with its value and with the number of the message."""
    found = [entry for entry in session.trail.results if entry.plugin == "limits"]
    assert {entry.outcome for entry in found} <= {"fail"}
    return [(entry.text, entry.word, entry.message) for entry in found]


def said(
    script: str,
    *plugins: Plugin,
    listen: Listen = MX,
    **limits: Any,
) -> list[tuple[str, str, int]]:
    """The limits on the trail after a dialogue."""
    return hits(
        run(converse([*plugins, TakesAll()], script, limits=Limits(**limits), listen=listen))
    )


# -- In a conversation ----------------------------------------------------------------------------

PASSWORD = base64.b64encode(b"\0anne\0guess").decode()
GUESS = f"C: AUTH PLAIN {PASSWORD}\nS: 535 5.7.8 ...\n"
CLEAR = replace(MX, auth_without_tls=True)

# fmt: off
#: The limit, its value, the message it is about, and what is said where it holds.
DIALOGUES: list[tuple[str, int, int, str]] = [
    ("message_size",    10, 1, "C: MAIL FROM:<anne@client.example> SIZE=11\nS: 552 5.3.4 ...\n"),
    ("message_size",    10, 1, ENVELOPE + "C: Subject: Hello\nC: .\nS: 552 5.3.4 ...\n"),
    ("message_size",    10, 1, MAIL + RCPT + "C: BDAT 12 LAST\nC: 0123456789\nS: 552 5.3.4 ...\n"),
    ("header_size",     10, 1, ENVELOPE + "C: Subject: Hello\nC: .\nS: 554 5.6.0 ...\n"),
    ("header_lines",     1, 1, ENVELOPE + "C: A: b\nC: C: d\nC:\nC: .\nS: 554 5.6.0 ...\n"),
    ("text_line",     1000, 1, ENVELOPE + f"C: {'x' * 999}\nC: .\nS: 554 5.6.0 ...\n"),
    ("received",         2, 1, ENVELOPE + "C: Received: a\n" * 2 + "C:\nC: .\nS: 554 5.4.6 ...\n"),
    ("line",           512, 0, f"C: NOOP {'x' * 506}\nS: 500 5.5.2 ...\n"),
    ("recipients",     100, 1, MAIL + RCPT * 100 + RCPT.replace("250", "452 4.5.3")),
    ("errors",           1, 0, "C: FROB\nS: 500 ...\nC: FROB\nS: 421 4.7.0 ...\n" + CLOSED),
    ("idle_commands",    2, 0, "C: NOOP\nS: 250 ...\nC: NOOP\nS: 421 4.7.0 ...\n" + CLOSED),
    ("messages",         1, 0, MAIL + RSET + MAIL.replace("250", "421 4.7.0") + CLOSED),
    ("auth_failures",    2, 0, GUESS + GUESS.replace("535 5.7.8", "421 4.7.0") + CLOSED),
    ("auth_failures_per_address", 1, 0, GUESS + GUESS.replace("535 5.7.8", "421 4.7.0") + CLOSED),
]
# fmt: on


@pytest.mark.parametrize(("limit", "value", "message", "script"), DIALOGUES)
def test_a_limit_that_is_told(limit: str, value: int, message: int, script: str) -> None:
    assert said(HELLO + script, listen=CLEAR, **{limit: value}) == [(limit, str(value), message)]


def test_who_keeps_within_the_limits_leaves_no_trace() -> None:
    letter = ENVELOPE + "C: Subject: Hello\nC:\nC: How are you?\nC: .\nS: 250 ...\n"
    assert said(HELLO + letter * 3 + "C: NOOP\nS: 250 ...\nC: FROB\nS: 500 ...\n") == []


def test_a_long_line_that_may_announce_a_message() -> None:
    script = HELLO + MAIL + RCPT + f"C: DATA {'x' * 600}\nS: 500 5.5.2 ...\n" + CLOSED
    assert said(script, line=512) == [("line", "512", 0)]


def test_a_limit_is_told_of_once_for_each_message() -> None:
    beyond = RCPT.replace("250", "452")
    message = MAIL + RCPT * 100 + beyond * 7 + "C: RSET\nS: 250 ...\n"
    assert said(HELLO + message * 2, recipients=100) == [
        ("recipients", "100", 1),
        ("recipients", "100", 2),
    ]


def test_in_lmtp_the_recipients_hear_of_it_and_the_trail_once() -> None:
    hello = HELLO.replace("EHLO", "LHLO")
    end = "C: Subject: Hello\nC: .\n" + "S: 552 5.3.4 ...\n" * 3
    assert said(hello + MAIL + RCPT * 3 + DATA + end, listen=LMTP, message_size=10) == [
        ("message_size", "10", 1)
    ]


def test_both_the_last_error_and_that_it_was_the_last() -> None:
    script = HELLO + f"C: {'x' * 600}\nS: 421 4.7.0 Too many errors\n" + CLOSED
    assert said(script, line=512, errors=0) == [("line", "512", 0), ("errors", "0", 0)]


def test_a_refusal_that_ends_the_session_is_there_as_well() -> None:
    class Sceptic(Plugin):
        """Refuses everybody."""

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> Deny:
            return Deny("Not here")

    script = HELLO + MAIL + "C: RCPT TO:<bob@example.org>\nS: 421 4.7.0 Too many errors\n" + CLOSED
    session = run(converse([Sceptic()], script, limits=Limits(errors=0)))
    assert [decision.verdict for decision in session.trail.decisions] == [Deny("Not here")]
    assert hits(session) == [("errors", "0", 0)]


def test_a_plugin_that_says_the_same_is_no_limit() -> None:
    class Sceptic(Plugin):
        """Takes no message, and says what the server says of big ones."""

        def queue(self, transaction: Transaction) -> Deny:
            return Deny("Message too big", code=552, status="5.3.4")

    letter = ENVELOPE + "C: .\nS: 552 5.3.4 Message too big\n"
    assert said(HELLO + letter, Sceptic()) == []


def test_the_first_refusal_of_a_message_counts() -> None:
    class Sceptic(Plugin):
        """Takes no message."""

        def data(self, transaction: Transaction) -> Defer:
            return Defer()

    chunk = "C: BDAT 12 LAST\nC: 0123456789\nS: 451 ...\n"
    assert said(HELLO + MAIL + RCPT + chunk, Sceptic(), message_size=5) == []


@pytest.mark.parametrize(
    ("plugin", "script", "hit"),
    [
        (Sets("message_size", 7), HELLO + DIALOGUES[0][3], ("message_size", "7", 1)),
        (Sets("message_size", 7), HELLO + DIALOGUES[1][3], ("message_size", "7", 1)),
        (Sets("recipients", 1), HELLO + MAIL + RCPT + RCPT.replace("250", "452 4.5.3"),
         ("recipients", "1", 1)),
        (Sets("message_size", 7, "example.org"),
         HELLO + MAIL.replace("anne@client.example>", "anne@client.example> SIZE=8")
         + RCPT.replace("250", "552 5.3.4"), ("message_size", "7", 1)),
    ],
)  # fmt: skip
def test_a_limit_that_a_plugin_has_set(plugin: Sets, script: str, hit: object) -> None:
    assert said(script, plugin) == [hit]


# -- At the door and by the clock -----------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport that does not lead anywhere."""

    def __init__(self, host: str) -> None:
        super().__init__({"peername": (host, 49152), "sockname": ("198.51.100.1", 25)})
        self.written = b""
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        protocol, self.protocol = self.protocol, None
        if isinstance(protocol, asyncio.Protocol):
            protocol.connection_lost(None)


@dataclass
class Keeps(TakesAll):
    """Keeps the sessions that are over."""

    over: list[Session] = field(default_factory=list)

    def disconnect(self, session: Session) -> None:
        self.over.append(session)


@dataclass
class Door:
    """A server without sockets, and a clock that the test sets."""

    limits: Limits
    listen: Listen = MX
    now: float = 0.0
    keeps: Keeps = field(default_factory=Keeps)

    def __post_init__(self) -> None:
        self.chain = Chain([(self.keeps, Placement("keeps"))])
        self.connections = Connections(
            self.limits, Outbox(lambda empty: empty()), clock=lambda: self.now
        )

    def converse(self, session: Session) -> Conversation:
        return Conversation(session, self.chain, Site("mx.example", limits=self.limits))

    def new_channel(self) -> TlsChannel:
        return TlsChannel(new_context())

    def come(self, octets: bytes = b"", host: str = "192.0.2.1") -> Wire:
        """A client comes, and says something."""
        wire = Wire(host)
        if self.listen.proxy_protocol_from:
            wire.protocol = Proxied(self, self.limits, lambda: self.now)
        else:
            wire.protocol = Connection(self, lambda: self.now)
        wire.protocol.connection_made(wire)
        assert isinstance(wire.protocol, asyncio.Protocol)
        if octets:
            wire.protocol.data_received(octets)
        return wire

    async def pass_time(self, *moments: float) -> None:
        """The clock is held against all at each of these moments."""
        for self.now in moments:
            self.connections.sweep(self.now)
            await asyncio.sleep(0)

    def hits(self) -> list[tuple[str, str, int]]:
        return [hit for session in self.keeps.over for hit in hits(session)]


def test_connections() -> None:
    async def whole() -> None:
        door = Door(Limits(connections=2))
        for number in range(3):
            door.come(host=f"192.0.2.{number}")
        await asyncio.sleep(0)
        assert door.hits() == [("connections", "2", 0)]

    asyncio.run(whole())


def test_connections_per_address() -> None:
    async def whole() -> None:
        door = Door(Limits(connections_per_address=2))
        for _ in range(3):
            door.come()
        await asyncio.sleep(0)
        assert door.hits() == [("connections_per_address", "2", 0)]

    asyncio.run(whole())


def test_connection_rate() -> None:
    async def whole() -> None:
        door = Door(Limits(connection_rate=2))
        for _ in range(3):
            door.come()
        await asyncio.sleep(0)
        assert door.hits() == [("connection_rate", "2", 0)]

    asyncio.run(whole())


#: What was said, the moments of the clock, and the limit that one of them is beyond.
WAITING: list[tuple[str, bytes, tuple[float, ...]]] = [
    ("command_timeout", b"EHLO client.example\r\n", (1, 302)),
    ("data_timeout", b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@c.example>\r\nDATA\r\n", (1, 602)),
    ("session_timeout", b"EHLO client.example\r\n", (3601,)),
]


@pytest.mark.parametrize(("limit", "octets", "moments"), WAITING)
def test_time_that_is_over(limit: str, octets: bytes, moments: tuple[float, ...]) -> None:
    async def whole() -> None:
        limits = Limits()
        door = Door(limits)
        wire = door.come(octets)
        await asyncio.sleep(0)
        await door.pass_time(*moments[:-1], moments[-1] - 2)
        assert b"421" not in wire.written
        await door.pass_time(moments[-1])
        assert wire.written.endswith(b"421 4.4.2 Time is over\r\n")
        await asyncio.sleep(0)
        message = 1 if limit == "data_timeout" else 0
        assert door.hits() == [(limit, str(getattr(limits, limit)), message)]

    asyncio.run(whole())


HANDSHAKES = [
    replace(MX, tls="implicit"),
    replace(MX, proxy_protocol_from=("192.0.2.0/24",)),
]


@pytest.mark.parametrize("listen", HANDSHAKES)
def test_a_handshake_that_does_not_end(listen: Listen) -> None:
    async def whole() -> None:
        door = Door(Limits(), listen)
        wire = door.come()
        await door.pass_time(29, 31)
        await asyncio.sleep(0)
        assert door.hits() == [("handshake_timeout", "30", 0)]
        assert wire.written == b""
        assert len(door.connections) == 0

    asyncio.run(whole())


def test_of_a_proxy_that_is_turned_away_nobody_knows_for_whom_it_came() -> None:
    async def whole() -> None:
        door = Door(Limits(connections=1), HANDSHAKES[1])
        wires = [door.come() for _ in range(2)]
        await asyncio.sleep(0)
        (session,) = door.keeps.over
        assert hits(session) == [("connections", "1", 0)]
        assert session.client.host == "192.0.2.1"
        assert [wire.written for wire in wires] == [b"", b""]
        assert len(door.connections) == 1

    asyncio.run(whole())


def test_who_is_let_in_leaves_no_trace() -> None:
    async def whole() -> None:
        door = Door(Limits(connections=2, connections_per_address=2))
        for _ in range(2):
            door.come(b"QUIT\r\n")
        await asyncio.sleep(0)
        assert len(door.keeps.over) == 2
        assert door.hits() == []

    asyncio.run(whole())


def test_every_limit_is_here() -> None:
    here = {limit for limit, *_ in (*DIALOGUES, *WAITING)} | {
        "connections", "connections_per_address", "connection_rate", "handshake_timeout",
    }  # fmt: skip
    assert here | SILENT == {limit.name for limit in fields(Limits)}
    assert not here & SILENT
