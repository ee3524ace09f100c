from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest
import uvloop

from gatepost.address import Address
from gatepost.client import Client, Destination, Outcome, Stage, Timeouts
from gatepost.message import Message
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.reply import Reply

ANNE = Address("anne", "a.example")
BOB = Address("bob", "b.example")
CARL = Address("carl", "b.example")
LETTER = b"Subject: a\r\n\r\n.b\r\n"
PLENTY = 5.0

Scenario = Callable[[], Coroutine[None, None, None]]
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


def run(scenario: Scenario, *, on: Callable[[], asyncio.AbstractEventLoop] = LOOPS[0]) -> None:
    with asyncio.Runner(loop_factory=on) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))


class Peer:
    """A server that holds the dialogues that it was given, one for each connection in turn.

    `S:` is said and `C:` must be heard.  `(close)` hangs up, `(wait)` says nothing more until the
    client has gone, and a dialogue that ends waits for the client to hang up as well.
    """

    def __init__(self, *dialogues: str, path: Path | None = None) -> None:
        self._dialogues = [dialogue.strip().split("\n") for dialogue in dialogues]
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self._mistakes: list[str] = []
        self.connections = 0
        self.heard = b""

    async def __aenter__(self) -> Peer:
        if self._path:
            self._server = await asyncio.start_unix_server(self._converse, self._path)
            self.destination = Destination(str(self._path), 0, lmtp=True)
        else:
            self._server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
            self.destination = Destination(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            if exc_type:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if exc_type is None:
            assert self._mistakes == []
            assert self.connections == len(self._dialogues)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        if self.connections > len(self._dialogues):
            writer.close()
            return
        with suppress(ConnectionError):
            for line in self._dialogues[self.connections - 1]:
                if not await self._step(line.strip(), reader, writer):
                    break
            writer.close()
            await writer.wait_closed()

    async def _step(
        self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        speaker, _, text = line.partition(" ")
        if speaker == "S:":
            writer.write(text.encode() + b"\r\n")
        elif speaker == "C:":
            octets = await reader.readline()
            self.heard += octets
            if octets != text.encode() + b"\r\n":
                self._mistakes.append(f"expected {text!r}, heard {octets!r}")
                return False
        elif line == "(wait)":
            while octets := await reader.read(65_536):
                self.heard += octets
        return line != "(close)"


OPEN = """\
S: 220 mx.example ESMTP
C: EHLO client.example
S: 250-mx.example
S: 250-PIPELINING
S: 250 SIZE 1000
"""
MAIL = """\
C: MAIL FROM:<anne@a.example> SIZE=18
C: RCPT TO:<bob@b.example>
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 Go on
C: Subject: a
C:
C: ..b
C: .
"""
TAKEN = "S: 250 2.0.0 Queued\n"
QUIT = "C: QUIT\nS: 221 2.0.0 Bye\n"
QUEUED = Outcome((Reply(250, "2.0.0", "Queued"),), Stage.END_OF_DATA, judged=True)


def a_client(peer: Peer, **timeouts: float) -> Client:
    return Client(
        peer.destination,
        hostname="client.example",
        tls="off",
        timeouts=Timeouts(**({"quit": PLENTY} | timeouts)),
    )


async def send(client: Client, *recipients: Address) -> Outcome:
    return await client.send(ANNE, recipients or (BOB,), Message.parse(LETTER))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  what it waits for tells nobody
        await asyncio.sleep(0)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_message_is_sent(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        async with Peer(OPEN + MAIL + TAKEN + QUIT) as peer, a_client(peer) as client:
            assert await send(client) == QUEUED

    run(scenario, on=loop)


def test_an_open_connection_is_used_again() -> None:
    async def scenario() -> None:
        async with (
            Peer(OPEN + MAIL + TAKEN + MAIL + TAKEN + QUIT) as peer,
            a_client(peer) as client,
        ):
            assert not client.idle
            assert await send(client) == QUEUED
            assert client.idle
            assert await send(client) == QUEUED

    run(scenario)


def test_messages_sent_at_once_take_their_turn() -> None:
    async def scenario() -> None:
        async with (
            Peer(OPEN + MAIL + TAKEN + MAIL + TAKEN + QUIT) as peer,
            a_client(peer) as client,
        ):
            outcomes = await asyncio.gather(send(client), send(client))
            assert list(outcomes) == [QUEUED, QUEUED]

    run(scenario)


STALE = [
    OPEN + MAIL + TAKEN + "(close)",
    OPEN + MAIL + TAKEN + "S: 421 4.4.2 Idle for too long\n(close)",
    OPEN + MAIL + TAKEN + "C: MAIL FROM:<anne@a.example> SIZE=18\n(close)",
    OPEN + MAIL + TAKEN + "C: MAIL FROM:<anne@a.example> SIZE=18\nS: 421 4.7.0 Enough\n(close)",
]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("stale", STALE)
def test_a_stale_connection_is_replaced(
    stale: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with Peer(stale, OPEN + MAIL + TAKEN + QUIT) as peer, a_client(peer) as client:
            assert await send(client) == QUEUED
            assert await send(client) == QUEUED

    run(scenario, on=loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("stale", STALE[:2])
def test_a_connection_that_the_server_has_closed_is_not_idle(
    stale: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with Peer(stale) as peer, a_client(peer) as client:
            assert await send(client) == QUEUED
            await until(lambda: not client.idle)

    run(scenario, on=loop)


@pytest.mark.parametrize(
    ("last_words", "reply"),
    [
        (OPEN + MAIL + "(close)", "the message may have arrived all the same"),
        (OPEN + MAIL + "S: 250\n".removesuffix("\n") + "-half\n(close)", "may have arrived"),
    ],
)
def test_a_message_that_may_have_arrived_is_not_sent_again(last_words: str, reply: str) -> None:
    async def scenario() -> None:
        async with Peer(OPEN + MAIL + TAKEN + last_words.removeprefix(OPEN)) as peer:
            async with a_client(peer) as client:
                await send(client)
                outcome = await send(client)
            assert outcome.stage is Stage.END_OF_DATA
            assert (outcome.replies[0].code, outcome.replies[0].status) == (451, "4.4.2")
            assert reply in outcome.replies[0].text

    run(scenario)


@pytest.mark.parametrize(
    ("dialogue", "code", "stage", "judged"),
    [
        ("(close)", 451, Stage.BANNER, False),
        ("S: 554 5.7.1 Go away\n" + QUIT, 554, Stage.BANNER, False),
        ("S: 421 4.7.0 Too busy\n(close)", 421, Stage.BANNER, False),
        ("S: 220 mx\nC: EHLO client.example\n(close)", 451, Stage.EHLO, False),
        ("S: 220 mx\nC: EHLO client.example\nS: 550 No\n(wait)", 550, Stage.EHLO, False),
        ("S: SSH-2.0-OpenSSH_9.2\n(wait)", 451, Stage.BANNER, False),
        ("S: 220-mx\nS: 250 mx\n(wait)", 451, Stage.BANNER, False),
        (OPEN + "C: MAIL FROM:<anne@a.example> SIZE=18\n(close)", 451, Stage.MAIL, False),
        (OPEN + MAIL.partition("S: 354")[0] + "(close)", 451, Stage.DATA, True),
        (OPEN + MAIL + "S: 554 5.7.1 Spam\n" + QUIT, 554, Stage.END_OF_DATA, True),
        (OPEN + MAIL + "S: 421 4.3.2 Sorry\n(wait)", 421, Stage.END_OF_DATA, True),
        (OPEN + MAIL + "S: 354 What?\n(wait)", 451, Stage.END_OF_DATA, True),
    ],
)
def test_what_fails_is_a_reply(dialogue: str, code: int, stage: Stage, judged: bool) -> None:
    async def scenario() -> None:
        async with Peer(dialogue) as peer, a_client(peer) as client:
            outcome = await send(client)
            assert [reply.code for reply in outcome.replies] == [code]
            assert (outcome.stage, outcome.judged) == (stage, judged)

    run(scenario)


@pytest.mark.parametrize(
    ("dialogue", "timeout", "stage"),
    [
        ("(wait)", "banner", Stage.BANNER),
        ("S: 220-mx\n(wait)", "banner", Stage.BANNER),
        ("S: 220 mx\n(wait)", "hello", Stage.EHLO),
        (OPEN + "(wait)", "mail", Stage.MAIL),
        (OPEN + MAIL.partition("S: 250 2.1.5")[0] + "(wait)", "rcpt", Stage.RCPT),
        (OPEN + MAIL.partition("S: 354")[0] + "(wait)", "data", Stage.DATA),
        (OPEN + MAIL + "(wait)", "end_of_data", Stage.END_OF_DATA),
    ],
)
def test_each_step_has_its_time(dialogue: str, timeout: str, stage: Stage) -> None:
    async def scenario() -> None:
        async with Peer(dialogue) as peer, a_client(peer, **{timeout: 0.02}) as client:
            outcome = await send(client)
            (reply,) = outcome.replies
            assert (reply.code, reply.status, outcome.stage) == (451, "4.4.2", stage)
            assert "no reply within 0.02 seconds" in reply.text
            assert str(peer.destination) in reply.text

    run(scenario)


def test_a_host_that_is_not_there_is_a_deferral() -> None:
    async def scenario() -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            client = Client(f"127.0.0.1:{reserved.getsockname()[1]}", hostname="client.example")
            outcome = await send(client, BOB, CARL)
        assert [str(reply)[:9] for reply in outcome.replies] == ["451 4.4.1"] * 2
        assert outcome.stage is Stage.CONNECT
        outcome = await send(Client("no..host:25", hostname="client.example"))
        assert str(outcome.replies[0]).startswith("451 4.4.3 no..host:25 cannot be reached")
        outcome = await send(Client("lmtp:unix:/nowhere/at.all", hostname="client.example"))
        assert str(outcome.replies[0]).startswith("451 4.4.1 lmtp:unix:/nowhere/at.all cannot")

    run(scenario)


def test_lmtp_over_a_unix_socket(tmp_path: Path) -> None:
    dialogue = """\
        S: 220 mx.example LMTP
        C: LHLO client.example
        S: 250-mx.example
        S: 250 PIPELINING
        C: MAIL FROM:<anne@a.example>
        C: RCPT TO:<bob@b.example>
        C: RCPT TO:<carl@b.example>
        C: DATA
        S: 250 2.1.0 Ok
        S: 250 2.1.5 Ok
        S: 250 2.1.5 Ok
        S: 354 Go on
        C: Subject: a
        C:
        C: ..b
        C: .
        S: 250 2.1.5 Bob has it
        S: 452 4.2.2 Carl has no room
        """

    async def scenario() -> None:
        async with Peer(dialogue + QUIT, path=tmp_path / "lmtp") as peer, a_client(peer) as client:
            outcome = await send(client, BOB, CARL)
            assert [reply.code for reply in outcome.replies] == [250, 452]

    run(scenario)


def test_recipients_beyond_the_limit_go_into_a_further_round() -> None:
    opening = "S: 220 mx\nC: EHLO client.example\nS: 250-mx\n"
    text = "S: 250 a\nS: 250 b\nS: 354 c\nC: Subject: a\nC:\nC: ..b\nC: .\n" + TAKEN
    mail = "C: MAIL FROM:<anne@a.example>\n"
    bob, carl = (f"C: RCPT TO:<{name}@b.example>\n" for name in ("bob", "carl"))
    first_refuses = "S: 250 a\nS: 550 no\nS: 452 4.5.3 too many\nS: 554 nobody\nC: RSET\nS: 250 a\n"
    known = (
        opening + "S: 250-LIMITS RCPTMAX=1\nS: 250 PIPELINING\n"
        f"{mail}{bob}C: DATA\n{text}{mail}{carl}C: DATA\n{text}{QUIT}"
    )
    found_out = (
        f"{opening}S: 250 PIPELINING\n{mail}{bob}{carl}C: DATA\n"
        f"S: 250 a\nS: 250 b\nS: 452 4.5.3 too many\nS: 354 c\n{text.partition('354 c')[2][1:]}"
        f"{mail}{carl}C: DATA\n{text}{QUIT}"
    )
    mixed = f"{opening}S: 250 PIPELINING\n{mail}{bob}{carl}C: DATA\n{first_refuses}{mail}{carl}"
    mixed += f"C: DATA\n{text}{QUIT}"

    async def scenario(dialogue: str, codes: list[int]) -> None:
        async with Peer(dialogue) as peer, a_client(peer) as client:
            outcome = await send(client, BOB, CARL)
            assert [reply.code for reply in outcome.replies] == codes

    run(lambda: scenario(known, [250, 250]))
    run(lambda: scenario(found_out, [250, 250]))
    run(lambda: scenario(mixed, [550, 250]))


def test_a_server_that_takes_nobody_is_not_asked_for_ever() -> None:
    dialogue = (
        OPEN + "C: MAIL FROM:<anne@a.example> SIZE=18\nC: RCPT TO:<bob@b.example>\n"
        "C: RCPT TO:<carl@b.example>\nC: DATA\nS: 250 a\nS: 452 4.5.3 too many\n"
        "S: 452 4.5.3 too many\nS: 554 nobody\nC: RSET\nS: 250 ok\n" + QUIT
    )

    async def scenario() -> None:
        async with Peer(dialogue) as peer, a_client(peer) as client:
            outcome = await send(client, BOB, CARL)
            assert [reply.code for reply in outcome.replies] == [452, 452]

    run(scenario)


def test_a_session_takes_no_more_messages_than_it_says() -> None:
    limited = OPEN.replace("SIZE 1000", "LIMITS MAILMAX=1")
    mail = MAIL.replace(" SIZE=18", "")

    async def scenario() -> None:
        dialogue = limited + mail + TAKEN + QUIT
        async with Peer(dialogue, dialogue) as peer, a_client(peer) as client:
            assert await send(client) == QUEUED
            assert await send(client) == QUEUED

    run(scenario)


def test_parameters_are_passed_on_where_they_are_understood() -> None:
    dialogue = OPEN.replace("SIZE 1000", "DSN") + MAIL.replace(
        "<anne@a.example> SIZE=18", "<anne@a.example> RET=HDRS"
    ).replace("<bob@b.example>", "<bob@b.example> NOTIFY=NEVER")

    async def scenario() -> None:
        async with Peer(dialogue + TAKEN + QUIT) as peer, a_client(peer) as client:
            outcome = await client.send(
                ANNE,
                [BOB],
                [LETTER],
                mail_parameters=MailParameters(ret="HDRS"),
                rcpt_parameters=[RcptParameters(frozenset({"NEVER"}))],
            )
            assert outcome == QUEUED

    run(scenario)


class Pieces:
    """A message of many pieces that knows how many of them were asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        self.taken = 0
        for _ in range(self.count):
            self.taken += 1
            yield b"x" * 65_534 + b"\r\n"


HALF_WAY = OPEN.replace("S: 250 SIZE 1000", "S: 250 HELP") + (
    "C: MAIL FROM:<anne@a.example>\nC: RCPT TO:<bob@b.example>\nC: DATA\n"
    "S: 250 2.1.0 Ok\nS: 250 2.1.5 Ok\nS: 354 Go on\n"
)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_big_message_arrives_whole(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        message = Pieces(160)
        line = "C: " + "x" * 65_534 + "\n"
        dialogue = HALF_WAY + line * 160 + "C: .\n" + TAKEN + QUIT
        async with Peer(dialogue) as peer, a_client(peer) as client:
            assert await client.send(ANNE, [BOB], message) == QUEUED

    run(scenario, on=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_reads_no_further_stops_the_message(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        message = Pieces(1600)  # 100 MiB: more than any socket buffers
        silent = asyncio.Event()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mx\r\n")
            await reader.readline()
            writer.write(b"250-mx\r\n250 PIPELINING\r\n")
            for _ in range(3):
                await reader.readline()
            writer.write(b"250 a\r\n250 b\r\n354 c\r\n")
            await silent.wait()
            writer.close()

        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        destination = Destination(*server.sockets[0].getsockname())
        client = Client(destination, hostname="client.example", timeouts=Timeouts(block=0.1))
        outcome = await client.send(ANNE, [BOB], message)
        assert message.taken < 800
        assert outcome.replies[0].status == "4.4.2"
        assert "reads no further" in outcome.replies[0].text
        assert "arrived" not in outcome.replies[0].text
        silent.set()
        server.close()

    run(scenario, on=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_that_has_had_enough_is_heard_at_once(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        message = Pieces(1600)
        dialogue = HALF_WAY + "S: 552 5.3.4 Too big\n(wait)"
        async with Peer(dialogue) as peer, a_client(peer) as client:
            outcome = await client.send(ANNE, [BOB], message)
            assert outcome.replies == (Reply(552, "5.3.4", "Too big"),)
            assert message.taken < 1600
            assert not client.idle

    run(scenario, on=loop)


def test_a_sender_that_is_called_off_ends_no_message() -> None:
    async def scenario() -> None:
        message = Pieces(1600)
        async with Peer(HALF_WAY + "(wait)") as peer, a_client(peer) as client:
            sending = asyncio.create_task(client.send(ANNE, [BOB], message))
            await until(lambda: len(peer.heard) > 1_000_000)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert not client.idle
        assert not peer.heard.endswith(b"\r\n.\r\n")

    run(scenario)


def test_a_message_that_breaks_on_the_way_is_not_ended() -> None:
    class Broken(Pieces):
        def __iter__(self) -> Iterator[bytes]:
            yield from super().__iter__()
            self.count -= 1

    async def scenario() -> None:
        async with Peer(HALF_WAY + "(wait)") as peer, a_client(peer) as client:
            with pytest.raises(RuntimeError, match="has changed"):
                await client.send(ANNE, [BOB], Broken(3))
            assert not client.idle
        assert not peer.heard.endswith(b"\r\n.\r\n")

    run(scenario)


def test_a_message_is_iterated_more_than_once() -> None:
    client = Client("127.0.0.1:25", hostname="client.example")
    with pytest.raises(TypeError, match="more than once"):
        asyncio.run(client.send(ANNE, [BOB], iter([LETTER])))


def test_a_server_that_floods_is_left() -> None:
    async def scenario() -> None:
        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while True:
                    writer.write(b"220-" + b"x" * 500 + b"\r\n")
                    await writer.drain()

        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        client = Client(Destination(*server.sockets[0].getsockname()), hostname="client.example")
        outcome = await send(client)
        assert outcome.replies[0].status == "4.5.0"
        server.close()

    run(scenario)
