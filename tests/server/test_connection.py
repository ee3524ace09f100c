"""One client's transport: clocks, back-pressure, half-closed and vanishing clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Deny,
    Plugin,
    Recipient,
    Reply,
    Session,
    Site,
    Transaction,
)
from gatepost.config import Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.identifier import SESSION_ID
from gatepost.limits import Limits
from gatepost.server.connection import AHEAD, GOODBYE, Connection
from gatepost.server.connections import Connections
from gatepost.server.conversation import BATCH, Conversation
from gatepost.server.outbox import Outbox
from gatepost.server.tls_channel import TlsChannel
from gatepost.server.waiting_room import SHARE
from gatepost.testing import MX

HELLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@example.org>\r\n"
MAIL = HELLO + ENVELOPE + b"DATA\r\n"
CHUNKED = HELLO + ENVELOPE + b"BDAT 7 LAST\r\nHello\r\n"
SESSION = MAIL + b"Subject: Hello\r\n\r\nHow are you?\r\n.\r\n" + ENVELOPE + b"QUIT\r\n"

BANNER = b"220 mx.example ESMTP\r\n"
TIME_IS_OVER = b"421 4.4.2 Time is over\r\n"
GOING_DOWN = b"421 4.3.2 The server is going down\r\n"


class Wire(asyncio.Transport):
    """A transport that writes down what is done to it."""

    def __init__(self, peer: object = ("192.0.2.1", 49152), *, takes_eof: bool = True) -> None:
        super().__init__({"peername": peer, "sockname": ("198.51.100.1", 25)})
        self.written = b""
        self.takes_eof = takes_eof
        self.eof = self.closed = self.aborted = self.paused = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.eof, "nothing is written behind the end"
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.eof = True

    def can_write_eof(self) -> bool:
        return self.takes_eof

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> bytes:
        """What was written since somebody looked."""
        written, self.written = self.written, b""
        return written


class Broken(Wire):
    """A transport whose client has reset the connection, and nobody has heard of it."""

    def write_eof(self) -> None:
        raise OSError(107, "Transport endpoint is not connected")


@dataclass
class TakesAll(Plugin):
    """Accepts everything, and counts what it hears."""

    heard: list[str] = field(default_factory=list)

    def mail(self, transaction: Transaction, sender: Address) -> None:
        self.heard.append("mail")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        self.heard.append("queue")
        return Accept()

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        self.heard.append(f"queued {reply.code}")

    def reset(self, transaction: Transaction) -> None:
        self.heard.append("reset")

    def disconnect(self, session: Session) -> None:
        self.heard.append("disconnect")


@dataclass
class Waits(Plugin):
    """Waits on one hook until the test lets it go on, and writes down what became of it."""

    on: str
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    fate: list[str] = field(default_factory=list)

    def helo(self, session: Session, name: str) -> Answer:
        return self._wait("helo")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return self._wait("rcpt")

    def message(self, transaction: Transaction) -> AnswerForEach:
        return self._wait("message")

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return self._wait("queue")

    def queued(self, transaction: Transaction, reply: Reply) -> Awaitable[None] | None:
        return self._wait("queued")

    def reset(self, transaction: Transaction) -> Awaitable[None] | None:
        return self._wait("reset")

    def disconnect(self, session: Session) -> Awaitable[None] | None:
        return self._wait("disconnect")

    def _wait(self, hook: str) -> Awaitable[None] | None:
        return self._until_told() if hook == self.on else None

    async def _until_told(self) -> None:
        self.fate.append("began")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.fate.append("cancelled")
            raise
        self.fate.append("finished")


@dataclass
class Scene:
    """A server without sockets, and a clock that the test sets."""

    plugins: list[Plugin]
    limits: Limits = field(default_factory=Limits)
    now: float = 0.0
    listen: Listen = MX

    def __post_init__(self) -> None:
        self.chain = Chain([(plugin, Placement(type(plugin).__name__)) for plugin in self.plugins])
        self.connections = Connections(self.limits, Outbox(lambda empty: empty()))

    def client(self, wire: Wire | None = None) -> tuple[Connection, Wire]:
        """A client comes."""
        wire = wire or Wire()
        connection = Connection(self, lambda: self.now)
        connection.connection_made(wire)
        return connection, wire

    def converse(self, session: Session) -> Conversation:
        return Conversation(session, self.chain, Site("mx.example", limits=self.limits))

    def new_channel(self) -> TlsChannel:
        raise NotImplementedError("nobody speaks TLS here")

    def pass_time(self, seconds: float) -> None:
        """The clock goes on, and is held against all."""
        self.now += seconds
        self.connections.sweep(self.now)


def in_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test that runs in an event loop, and under which nothing is logged as an error."""

    def run() -> None:
        async def whole() -> None:
            faults: list[dict[str, Any]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
            await test()
            await settled()
            assert faults == []

        asyncio.run(whole())

    return run


async def settled() -> None:
    """Everything that can happen has happened."""
    for _ in range(30):
        await asyncio.sleep(0)


# -- Coming and going -----------------------------------------------------------------------------


@in_loop
async def test_a_whole_session() -> None:
    ear = TakesAll()
    scene = Scene([ear])
    connection, wire = scene.client()
    assert wire.take() == BANNER
    connection.data_received(SESSION)
    codes = [line[:4] for line in wire.take().splitlines()]
    assert codes[-8:] == [b"250 "] * 3 + [b"354 "] + [b"250 "] * 3 + [b"221 "]
    assert (wire.eof, wire.closed) == (True, False)
    connection.eof_received()
    assert wire.closed
    connection.connection_lost(None)
    assert ear.heard == ["mail", "queue", "queued 250", "reset", "mail", "reset", "disconnect"]
    assert len(scene.connections) == 0


@in_loop
async def test_replies_to_a_batch_go_out_in_one_piece() -> None:
    pieces: list[bytes] = []

    class Counts(Wire):
        """Keeps the pieces apart."""

        def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
            pieces.append(bytes(data))

    connection, _ = Scene([TakesAll()]).client(Counts())
    connection.data_received(HELLO)
    connection.data_received(ENVELOPE + b"DATA\r\n")
    assert [len(piece.splitlines()) for piece in pieces][2:] == [3]


@in_loop
async def test_where_the_end_cannot_be_told_it_is_closed_at_once() -> None:
    connection, wire = Scene([]).client(Wire(takes_eof=False))
    connection.data_received(b"QUIT\r\n")
    assert (wire.eof, wire.closed) == (False, True)


@in_loop
async def test_a_client_that_was_gone_before_it_was_told_the_end_harms_nobody() -> None:
    scene = Scene([], Limits(command_timeout=5))
    _, first = scene.client(Broken())
    _, second = scene.client()
    scene.pass_time(0)
    scene.pass_time(5)
    assert first.written.endswith(TIME_IS_OVER)
    assert second.written.endswith(TIME_IS_OVER)
    scene.pass_time(GOODBYE)
    assert first.aborted


@in_loop
async def test_what_is_said_behind_the_end_is_not_heard() -> None:
    connection, wire = Scene([]).client()
    connection.data_received(b"QUIT\r\n")
    wire.take()
    connection.data_received(b"NOOP\r\n")
    assert wire.take() == b""


@pytest.mark.parametrize(
    ("peer", "host", "port"),
    [
        (("192.0.2.1", 7), "192.0.2.1", 7),
        (("2001:db8::1", 7, 0, 0), "2001:db8::1", 7),
        (("::ffff:192.0.2.1", 7, 0, 0), "192.0.2.1", 7),
        (("fe80::1%eth0", 7, 0, 2), "fe80::1", 7),
        ("/run/client", "/run/client", 0),
        ("", "", 0),
        (None, "", 0),
    ],
)
def test_what_the_client_is_called(peer: object, host: str, port: int) -> None:
    seen: list[tuple[str, int]] = []

    class Looks(Plugin):
        """Notes who comes."""

        def connect(self, session: Session) -> None:
            seen.append((session.client.host, session.client.port))

    @in_loop
    async def test() -> None:
        Scene([Looks()]).client(Wire(peer))

    test()
    assert seen == [(host, port)]


# -- Limits ---------------------------------------------------------------------------------------


@in_loop
async def test_one_client_too_many_is_turned_away_and_the_place_is_free_again() -> None:
    scene = Scene([], Limits(connections=2))
    first, _ = scene.client()
    scene.client()
    refused, wire = scene.client()
    assert wire.take() == b"421 4.7.0 Too many connections\r\n"
    assert wire.closed, "nobody would hang up on it later"
    refused.connection_lost(None)
    assert len(scene.connections) == 2
    first.connection_lost(None)
    assert scene.client()[1].take() == BANNER


@in_loop
async def test_a_client_that_is_turned_away_cannot_go_on() -> None:
    ear = TakesAll()
    scene = Scene([ear], Limits(connections=1))
    scene.client()
    refused, wire = scene.client()
    wire.take()
    refused.data_received(MAIL)
    await settled()
    assert (wire.take(), ear.heard) == (b"", [])


# -- Clocks ---------------------------------------------------------------------------------------


@in_loop
async def test_a_silent_client_is_hung_up_on() -> None:
    scene = Scene([], Limits(command_timeout=300))
    connection, wire = scene.client()
    wire.take()
    scene.pass_time(1)
    scene.pass_time(299)
    assert wire.take() == b""
    scene.pass_time(1)
    assert wire.take() == TIME_IS_OVER
    assert (wire.eof, wire.closed, wire.aborted) == (True, False, False)
    connection.eof_received()
    assert wire.closed


@in_loop
async def test_a_command_that_drips_is_no_command() -> None:
    scene = Scene([], Limits(command_timeout=10))
    connection, wire = scene.client()
    scene.pass_time(0)
    for octet in b"NOOP abcdef"[:9]:
        connection.data_received(bytes((octet,)))
        scene.pass_time(1)
    wire.take()
    connection.data_received(b"g")
    scene.pass_time(1)
    assert wire.take() == TIME_IS_OVER


@in_loop
async def test_each_command_gets_the_whole_time() -> None:
    scene = Scene([], Limits(command_timeout=10))
    connection, wire = scene.client()
    for _ in range(20):
        scene.pass_time(0)
        scene.pass_time(9)
        connection.data_received(b"NOOP\r\n")
    assert TIME_IS_OVER not in wire.take()


@in_loop
async def test_a_message_that_drips_is_given_up() -> None:
    ear = TakesAll()
    scene = Scene([ear], Limits(command_timeout=10, data_timeout=100))
    connection, wire = scene.client()
    connection.data_received(MAIL)
    wire.take()
    scene.pass_time(0)
    for _ in range(99):
        connection.data_received(b"x")
        scene.pass_time(1)
    assert wire.take() == b""
    scene.pass_time(1)
    assert wire.take() == TIME_IS_OVER
    connection.connection_lost(None)
    assert ear.heard == ["mail", "reset", "disconnect"]


@in_loop
async def test_a_message_that_began_well_and_drips_is_given_up() -> None:
    scene = Scene([TakesAll()], Limits(data_timeout=100))
    connection, wire = scene.client()
    connection.data_received(MAIL)
    wire.take()
    scene.pass_time(0)
    for _ in range(64):
        connection.data_received(b"x" * 1022 + b"\r\n")
    scene.pass_time(50)
    for _ in range(99):
        connection.data_received(b"x")
        scene.pass_time(1)
    assert wire.take() == b""
    scene.pass_time(1)
    assert wire.take() == TIME_IS_OVER


@in_loop
async def test_a_message_that_keeps_coming_is_waited_for() -> None:
    scene = Scene([TakesAll()], Limits(data_timeout=100))
    connection, wire = scene.client()
    connection.data_received(MAIL)
    wire.take()
    scene.pass_time(0)
    for _ in range(20):
        for _ in range(64):
            connection.data_received(b"x" * 1022 + b"\r\n")
        scene.pass_time(99)
    connection.data_received(b".\r\n")
    assert wire.take().startswith(b"250 ")


@in_loop
async def test_nobody_stays_for_ever() -> None:
    scene = Scene([], Limits(command_timeout=100, session_timeout=150))
    connection, wire = scene.client()
    scene.pass_time(90)
    connection.data_received(b"NOOP\r\n")
    scene.pass_time(59)
    assert TIME_IS_OVER not in wire.take()
    connection.data_received(b"NOOP\r\n")
    scene.pass_time(1)
    assert wire.take().endswith(TIME_IS_OVER)


@in_loop
async def test_a_client_that_does_not_take_its_last_reply_is_cut_off() -> None:
    scene = Scene([])
    connection, wire = scene.client()
    connection.data_received(b"QUIT\r\n")
    scene.pass_time(GOODBYE - 1)
    assert not wire.aborted
    scene.pass_time(1)
    assert wire.aborted


@in_loop
async def test_a_client_that_waits_for_a_plugin_is_not_silent() -> None:
    waits = Waits("helo")
    scene = Scene([waits], Limits(command_timeout=5))
    connection, wire = scene.client()
    scene.pass_time(0)
    connection.data_received(HELLO)
    wire.take()
    scene.pass_time(100)
    assert wire.take() == b""
    waits.gate.set()
    await settled()
    scene.pass_time(1)
    assert wire.take().startswith(b"250-")


# -- Back-pressure --------------------------------------------------------------------------------


@in_loop
async def test_a_client_that_sends_ahead_is_read_up_to_a_bound() -> None:
    waits = Waits("helo")
    connection, wire = Scene([waits, TakesAll()]).client()
    connection.data_received(HELLO + b"x" * AHEAD)
    assert not wire.paused
    connection.data_received(b"x")
    assert wire.paused
    waits.gate.set()
    await settled()
    assert not wire.paused
    wire.take()
    connection.data_received(b"\r\nRSET\r\n")
    assert wire.take() == b"500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n"


@in_loop
async def test_a_client_that_does_not_read_gets_no_more_until_it_does() -> None:
    connection, wire = Scene([TakesAll()]).client()
    connection.data_received(HELLO + ENVELOPE)
    connection.pause_writing()
    wire.take()
    for _ in range(200):
        if not wire.paused:
            connection.data_received(b"BDAT 1\r\nx" * 1000)
    await settled()
    assert wire.take() == b""
    assert wire.paused
    connection.resume_writing()
    while (before := len(wire.written)) or wire.paused:
        await settled()
        if before == len(wire.written):
            break
    assert not wire.paused
    assert wire.take() == b"250 2.0.0 Chunk taken\r\n" * 8000


@in_loop
async def test_others_have_their_turn_between_two_batches() -> None:
    connection, wire = Scene([TakesAll()]).client()
    connection.data_received(HELLO + ENVELOPE)
    wire.take()
    for _ in range(3):  # more that arrives earns no further turn
        connection.data_received(b"BDAT 1\r\nx" * 2 * BATCH)
    turns: list[int] = []
    while written := wire.take():
        turns.append(written.count(b"\r\n"))
        await asyncio.sleep(0)
    assert turns[0] <= BATCH
    assert max(turns) <= BATCH
    assert sum(turns) == 6 * BATCH


@in_loop
async def test_who_sends_a_lot_at_a_time_is_heard_again_when_others_were() -> None:
    connection, wire = Scene([TakesAll()]).client()
    connection.data_received(MAIL)
    line = b"x" * 1022 + b"\r\n"
    for _ in range(3):
        connection.data_received(line * (SHARE // len(line)))
        assert wire.paused
        await settled()
        assert not wire.paused
    connection.data_received(line)
    assert not wire.paused
    wire.take()
    connection.data_received(b".\r\n")
    assert wire.take().startswith(b"250 ")


@in_loop
async def test_who_goes_on_sending_behind_the_end_holds_nobody_up_either() -> None:
    connection, wire = Scene([]).client()
    connection.data_received(b"QUIT\r\n")
    connection.data_received(b"x" * SHARE)
    assert wire.paused
    await settled()
    assert not wire.paused


@in_loop
async def test_who_sends_a_lot_is_not_heard_while_his_hook_waits() -> None:
    waits = Waits("helo")
    connection, wire = Scene([waits]).client()
    connection.data_received(HELLO + b"NOOP\r\n" * (SHARE // 6))
    await settled()
    assert wire.paused
    waits.gate.set()
    await settled()
    assert wire.eof, "he asks for nothing but nothing"


@in_loop
async def test_who_is_gone_is_not_listened_to_again() -> None:
    class Strict(Wire):
        """As strict as uvloop is about those that are gone."""

        def resume_reading(self) -> None:
            assert not self.closed, "it is gone"

    connection, wire = Scene([TakesAll()]).client(Strict())
    connection.data_received(MAIL + b"x" * SHARE)
    wire.close()
    connection.connection_lost(None)
    await settled()


# -- Half-closed clients --------------------------------------------------------------------------


@in_loop
async def test_a_client_that_sends_no_more_still_gets_its_replies() -> None:
    connection, wire = Scene([TakesAll()]).client()
    connection.data_received(HELLO + ENVELOPE + b"BDAT 1\r\nx" * 3 * BATCH)
    assert connection.eof_received()
    assert not wire.closed
    await settled()
    assert wire.take().count(b"Chunk taken") == 3 * BATCH
    assert wire.closed


@in_loop
async def test_an_idle_client_that_sends_no_more_is_closed() -> None:
    connection, wire = Scene([]).client()
    connection.eof_received()
    assert wire.closed


@in_loop
async def test_what_was_sent_before_the_end_is_answered_after_a_wait() -> None:
    waits = Waits("rcpt")
    connection, wire = Scene([waits, TakesAll()]).client()
    connection.data_received(CHUNKED)
    connection.eof_received()
    await settled()
    assert not wire.closed
    waits.gate.set()
    await settled()
    assert b"250 2.1.5" in wire.take()
    assert wire.closed


# -- Vanishing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True], ids=["reset", "closed"])
def test_a_client_may_vanish_at_any_octet(half: bool, caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def test() -> None:
        for cut in range(len(SESSION) + 1):
            ear = TakesAll()
            scene = Scene([ear])
            connection, wire = scene.client()
            connection.data_received(SESSION[:cut])
            if half:
                connection.eof_received()
                await asyncio.sleep(0)
                assert wire.closed, cut
            connection.connection_lost(None if half else ConnectionResetError())
            assert ear.heard.count("disconnect") == 1, cut
            assert ear.heard[-1] == "disconnect"
            assert ear.heard.count("reset") == ear.heard.count("mail"), cut
            assert len(scene.connections) == 0, cut

    with caplog.at_level(logging.INFO):
        test()
    assert caplog.records == []


@pytest.mark.parametrize("hook", ["helo", "rcpt", "message"])
def test_a_client_that_goes_away_cancels_what_its_hook_waits_for(hook: str) -> None:
    @in_loop
    async def test() -> None:
        ear, waits = TakesAll(), Waits(hook)
        scene = Scene([waits, ear])
        connection, _ = scene.client()
        connection.data_received(SESSION)
        await settled()
        assert waits.fate == ["began"]
        connection.connection_lost(ConnectionResetError())
        await settled()
        assert waits.fate == ["began", "cancelled"]
        assert ear.heard.count("disconnect") == 1
        assert ear.heard.count("reset") == ear.heard.count("mail")
        assert len(scene.connections) == 0

    test()


@pytest.mark.parametrize("hook", ["queue", "queued", "reset"])
def test_a_message_that_may_be_taken_is_finished_without_its_client(hook: str) -> None:
    @in_loop
    async def test() -> None:
        ear, waits = TakesAll(), Waits(hook)
        scene = Scene([waits, ear])
        connection, wire = scene.client()
        connection.data_received(SESSION)
        await settled()
        connection.connection_lost(ConnectionResetError())
        await settled()
        assert len(scene.connections) == 1
        waits.gate.set()
        await settled()
        assert waits.fate == ["began", "finished"]
        # What was sent ahead of the reply is not begun any more.
        assert ear.heard == ["mail", "queue", "queued 250", "reset", "disconnect"]
        assert len(scene.connections) == 0
        assert not wire.aborted

    test()


@in_loop
async def test_a_place_is_taken_until_all_have_heard_of_the_end() -> None:
    waits = Waits("disconnect")
    scene = Scene([waits])
    connection, _ = scene.client()
    connection.connection_lost(None)
    assert len(scene.connections) == 1
    waits.gate.set()
    await settled()
    assert len(scene.connections) == 0


@in_loop
async def test_a_turn_that_was_due_is_not_taken_by_one_who_is_gone() -> None:
    ear = TakesAll()
    scene = Scene([ear])
    connection, wire = scene.client()
    connection.data_received(HELLO + ENVELOPE + b"BDAT 1\r\nx" * 3 * BATCH)
    wire.take()
    connection.connection_lost(None)
    await settled()
    assert wire.take() == b""
    assert ear.heard == ["mail", "reset", "disconnect"]


def test_a_plugin_that_breaks_the_conversation_loses_its_connection_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Cancels(Plugin):
        """Raises what is no Exception."""

        def helo(self, session: Session, name: str) -> Answer:
            raise asyncio.CancelledError

        def disconnect(self, session: Session) -> None:
            raise asyncio.CancelledError

    @in_loop
    async def test() -> None:
        scene = Scene([Cancels()])
        connection, wire = scene.client()
        connection.data_received(HELLO)
        assert wire.aborted
        connection.connection_lost(None)
        assert len(scene.connections) == 0

    test()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


# -- Going down -----------------------------------------------------------------------------------


@in_loop
async def test_an_idle_client_is_sent_away_when_the_server_goes_down() -> None:
    scene = Scene([])
    _, wire = scene.client()
    wire.take()
    scene.connections.drain()
    assert wire.take() == GOING_DOWN
    scene.connections.drain()
    assert wire.take() == b""


@in_loop
async def test_a_message_under_way_may_be_finished_when_the_server_goes_down() -> None:
    ear = TakesAll()
    scene = Scene([ear])
    connection, wire = scene.client()
    connection.data_received(MAIL)
    wire.take()
    scene.connections.drain()
    assert wire.take() == b""
    connection.data_received(b"Hello\r\n.\r\n")
    answer, farewell = wire.take().splitlines(keepends=True)
    assert answer.startswith(b"250 ")
    assert farewell == GOING_DOWN
    assert "queued 250" in ear.heard


@in_loop
async def test_a_client_is_answered_before_it_is_sent_away() -> None:
    waits = Waits("helo")
    scene = Scene([waits])
    connection, wire = scene.client()
    connection.data_received(HELLO)
    scene.connections.drain()
    wire.take()
    waits.gate.set()
    await settled()
    replies = wire.take()
    assert replies.startswith(b"250-")
    assert replies.endswith(GOING_DOWN)


@in_loop
async def test_a_refusal_may_hang_up() -> None:
    class Hates(Plugin):
        """Hangs up on everybody."""

        def helo(self, session: Session, name: str) -> Answer:
            return Deny("Go away", disconnect=True)

    connection, wire = Scene([Hates()]).client()
    wire.take()
    connection.data_received(HELLO + b"NOOP\r\n")
    assert wire.take().count(b"\r\n") == 1
    assert wire.eof


@dataclass
class Looks(Plugin):
    """Sees whose turn it is, and breaks where the server itself would break."""

    seen: list[str] = field(default_factory=list)

    def helo(self, session: Session, name: str) -> None:
        self.seen.append(SESSION_ID.get())

    def noop(self, session: Session, text: str) -> Answer:
        raise asyncio.CancelledError

    def disconnect(self, session: Session) -> None:
        self.seen.append(SESSION_ID.get())


@in_loop
async def test_a_session_has_its_turn_for_as_long_as_it_is_answered() -> None:
    looks, waits = Looks(), Waits("helo")
    scene = Scene([looks, waits])
    connection, _ = scene.client()
    assert SESSION_ID.get() == ""
    connection.data_received(HELLO)
    assert waits.fate == []
    assert SESSION_ID.get() == "", "a hook waits"
    waits.gate.set()
    await settled()
    connection.data_received(b"HELP\r\n")
    assert SESSION_ID.get() == "", "all is answered"
    connection.data_received(b"NOOP\r\n")
    assert SESSION_ID.get() == "", "it broke"
    connection.connection_lost(None)
    assert SESSION_ID.get() == "", "it is gone"
    assert len(set(looks.seen)) == 1
    assert len(looks.seen) == 2
    assert looks.seen[0] != ""


@in_loop
async def test_whoever_answers_another_meanwhile_gets_his_turn_back() -> None:
    token = SESSION_ID.set("another")
    connection, _ = Scene([Looks()]).client()
    connection.data_received(HELLO)
    assert SESSION_ID.get() == "another"
    SESSION_ID.reset(token)
