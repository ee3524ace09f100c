"""What bad input gets over real sockets: a clear answer; the server lives, and so do the others."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    AnswerForEach,
    Plugin,
    Recipient,
    Session,
    Transaction,
    blocking,
)
from gatepost.app import Gate
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits

HELLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@example.org>\r\n"
LETTER = b"Subject: Hello\r\n\r\nHow are you?\r\n.\r\n"
#: What a server may need beyond what it needs for a small session, whatever a client does.
ROOM = 4_000_000


class TakesAll(Plugin):
    """Accepts everything."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a loop of its own; it has thirty seconds."""
    asyncio.run(asyncio.wait_for(coroutine, 30))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def client_of(gate: Gate) -> AsyncIterator[Streams]:
    """Connect, and leave in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def is_served(gate: Gate) -> None:
    """An honest client can send its mail."""
    async with client_of(gate) as (reader, writer):
        writer.write(HELLO + ENVELOPE + b"DATA\r\n")
        while not (line := await reader.readline()).startswith(b"354"):
            assert line
        writer.write(LETTER + b"QUIT\r\n")
        assert (await reader.read()).startswith(b"250 2.0.0")


async def replies(gate: Gate, octets: bytes) -> list[bytes]:
    """Everything that a client hears that sends something and then no more."""
    async with client_of(gate) as (reader, writer):
        hearing = asyncio.create_task(_all_of(reader))
        with suppress(ConnectionError):
            for start in range(0, len(octets), 65_536):
                writer.write(octets[start : start + 65_536])
                await writer.drain()
            writer.write_eof()
        return (await hearing).splitlines()


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    with suppress(ConnectionError):
        while octets := await reader.read(65_536):
            heard += octets
    return heard


# -- Floods ---------------------------------------------------------------------------------------

TEN_MEGABYTES = 10_000_000
FLOODS = {
    "a command without an end": (HELLO + b"x" * TEN_MEGABYTES, b"250 "),
    "a long command": (b"x" * TEN_MEGABYTES + b"\r\nQUIT\r\n", b"500 5.5.2 Line too long|221"),
    "NULs as commands": (b"\0" * TEN_MEGABYTES + b"\r\nQUIT\r\n", b"500|221"),
    "a text line without an end": (
        HELLO + ENVELOPE + b"DATA\r\n" + b"x" * TEN_MEGABYTES + b"\r\n.\r\nQUIT\r\n",
        b"221",
    ),
    "NULs as a message": (
        HELLO + ENVELOPE + b"DATA\r\n" + (b"\0" * 998 + b"\r\n") * 1000 + b".\r\nQUIT\r\n",
        b"221",
    ),
    "100,000 NOOP": (b"NOOP\r\n" * 100_000, b"421 4.7.0 Too many commands without a message"),
    "100,000 RSET": (b"RSET\r\n" * 100_000, b"421 4.7.0 Too many commands without a message"),
    "100,000 VRFY": (b"VRFY a\r\n" * 100_000, b"421 4.7.0 Too many"),
    "100,000 EHLO": (HELLO * 100_000, b"421 4.7.0 Too many commands without a message"),
    "100,000 errors": (b"\r\n" * 100_000, b"421 4.7.0 Too many errors"),
    "100,000 RCPT": (
        HELLO + ENVELOPE + b"RCPT TO:<bob@example.org>\r\n" * 100_000,
        b"421 4.7.0 Too many errors",
    ),
    "100,000 empty chunks": (
        HELLO + ENVELOPE + b"BDAT 0\r\n" * 100_000,
        b"421 4.7.0 Too many errors",
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_needs_no_room_and_others_are_served(flood: str) -> None:
    octets, endings = FLOODS[flood]

    async def serve() -> None:
        async with Gate([TakesAll()]) as gate:
            await is_served(gate)
            flooding = asyncio.create_task(replies(gate, octets))
            await is_served(gate)
            last = (await flooding)[-1]
            assert last.startswith(tuple(endings.split(b"|"))), last
            await is_served(gate)
            await gate.connections.emptied()

    run(serve())


PIECES = {
    "a line without an end": b"x" * 65_536,
    "NULs": b"\0" * 65_536,
    "small chunks": b"BDAT 1\r\nx" * 8192,
    "recipients": b"RCPT TO:<bob@example.org>\r\n" * 2500,
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_a_client_that_never_reads_fills_no_memory(piece: bytes) -> None:
    async def serve() -> None:
        async with Gate([TakesAll()]) as gate:
            await is_served(gate)
            async with client_of(gate) as (_, writer):
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                writer.write(HELLO + ENVELOPE)
                tracemalloc.start()
                with suppress(ConnectionError, TimeoutError):
                    async with asyncio.timeout(0.5):
                        for _ in range(160):
                            writer.write(piece)
                            await writer.drain()
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak < ROOM
                await is_served(gate)
                writer.transport.abort()
            await gate.connections.emptied()

    run(serve())


def test_idle_clients_keep_nobody_out() -> None:
    async def serve() -> None:
        async with Gate([TakesAll()], limits=Limits(connections_per_address=500)) as gate:
            idle = [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(200)]
            for _, writer in idle:
                writer.write(b"EHL")
            async with asyncio.timeout(2):
                await is_served(gate)
            assert len(gate.connections) >= 200
            for _, writer in idle:
                writer.transport.abort()
            await gate.connections.emptied()

    run(serve())


def test_more_clients_than_there_is_room_for_are_told_and_it_recovers() -> None:
    async def serve() -> None:
        async with Gate([TakesAll()], limits=Limits(connections=20)) as gate:
            crowd = [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(100)]
            banners = [await reader.readline() for reader, _ in crowd]
            assert sum(banner.startswith(b"220 ") for banner in banners) == 20
            assert banners.count(b"421 4.7.0 Too many connections\r\n") == 80
            for (reader, _), banner in zip(crowd, banners, strict=True):
                if banner.startswith(b"421"):
                    assert await reader.read() == b"", "it need not hang up first"
            for _, writer in crowd:
                writer.transport.abort()
            await gate.connections.emptied()
            await is_served(gate)

    run(serve())


def test_a_client_may_vanish_at_any_octet(caplog: pytest.LogCaptureFixture) -> None:
    session = HELLO + ENVELOPE + b"DATA\r\n" + LETTER + b"QUIT\r\n"
    faults: list[dict[str, Any]] = []

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        async with Gate([TakesAll()], limits=Limits(connections_per_address=500)) as gate:
            for cut in range(len(session)):
                _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
                writer.write(session[:cut])
                if cut % 2:
                    writer.transport.abort()
                else:
                    writer.close()
            await is_served(gate)
            await gate.connections.emptied()

    run(serve())
    assert faults == []
    assert caplog.records == []


# -- Plugins that break ---------------------------------------------------------------------------


async def _hangs() -> Any:
    await asyncio.sleep(3600)


async def _cancels_itself() -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _raises_later() -> Any:
    await asyncio.sleep(0)
    raise KeyError("no such thing")


async def _returns_nonsense_later() -> Any:
    return 250


def _raises() -> Any:
    raise ZeroDivisionError


FAILURES: dict[str, Callable[[], Any]] = {
    "raises": _raises,
    "raises later": _raises_later,
    "returns nonsense": lambda: "250 OK",
    "returns nonsense later": _returns_nonsense_later,
    "returns a class": lambda: Accept,
    "hangs": _hangs,
    "cancels itself": _cancels_itself,
}


@dataclass
class Breaks(Plugin):
    """Fails on one hook, in one way."""

    on: str
    failure: Callable[[], Any]
    weary: bool = False  #: it fails no more

    def connect(self, session: Session) -> Any:
        return self._fail("connect")

    def helo(self, session: Session, name: str) -> Any:
        return self._fail("helo")

    def mail(self, transaction: Transaction, sender: Address) -> Any:
        return self._fail("mail")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Any:
        return self._fail("rcpt")

    def data(self, transaction: Transaction) -> Any:
        return self._fail("data")

    def headers(self, transaction: Transaction) -> Any:
        return self._fail("headers")

    def message(self, transaction: Transaction) -> Any:
        return self._fail("message")

    def queue(self, transaction: Transaction) -> Any:
        return self._fail("queue")

    def quit(self, session: Session, text: str) -> Any:
        return self._fail("quit")

    def disconnect(self, session: Session) -> Any:
        return self._fail("disconnect")

    def reset(self, transaction: Transaction) -> Any:
        return self._fail("reset")

    def _fail(self, hook: str) -> Any:
        return self.failure() if hook == self.on and not self.weary else None


async def broken_replies(gate: Gate) -> list[bytes]:
    """What a client hears that asks its way through every hook."""
    steps = (HELLO, *ENVELOPE.splitlines(keepends=True), b"DATA\r\n", LETTER, b"QUIT\r\n")
    heard: list[bytes] = []
    async with client_of(gate) as (reader, writer):
        for step in (b"", *steps):
            if step == LETTER and not heard[-1].startswith(b"354"):
                continue
            writer.write(step)
            line = await reader.readline()
            while line[3:4] == b"-":
                line = await reader.readline()
            if not line:
                break
            heard.append(line)
    return heard


#: What the client is told, by the hook that failed; its goodbye cannot be refused.
TOLD = {
    "connect": b"421 4.3.0 Internal error\r\n",
    "helo": b"451 4.3.0 Internal error\r\n",
    "mail": b"451 4.3.0 Internal error\r\n",
    "rcpt": b"451 4.3.0 Internal error\r\n",
    "data": b"451 4.3.0 Internal error\r\n",
    "headers": b"451 4.3.0 Internal error\r\n",
    "message": b"451 4.3.0 Internal error\r\n",
    "queue": b"451 4.3.0 Internal error\r\n",
    "quit": b"221 2.0.0 mx.example says goodbye\r\n",
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("hook", TOLD)
def test_a_plugin_that_breaks_opens_no_door(
    hook: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve() -> None:
        breaks = Breaks(hook, FAILURES[failure])
        placed = (breaks, Placement("breaks", timeout=0.05))
        async with Gate([placed, TakesAll()], hostname="mx.example") as gate:
            heard = await broken_replies(gate)
            assert TOLD[hook] in heard
            assert any(line.startswith(b"250 2.0.0") for line in heard) is (hook == "quit")
            breaks.weary = True
            await is_served(gate)
            await gate.connections.emptied()

    with caplog.at_level(logging.ERROR):
        run(serve())
    assert caplog.messages[0] == f"breaks failed on {hook}"


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("hook", ["reset", "disconnect"])
def test_a_listener_that_breaks_stops_nobody(hook: str, failure: str) -> None:
    async def serve() -> None:
        placed = (Breaks(hook, FAILURES[failure]), Placement("breaks", timeout=0.05))
        async with Gate([placed, TakesAll()]) as gate:
            for _ in range(2):
                await is_served(gate)
            await gate.connections.emptied()

    run(serve())


def test_a_thread_that_hangs_holds_nobody_up() -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        released = asyncio.Event()

        class Blocks(Plugin):
            """Waits in a thread for what comes from the loop."""

            @blocking
            def mail(self, transaction: Transaction, sender: Address) -> None:
                with suppress(Exception):
                    asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10)

        placed = (Blocks(), Placement("blocks", timeout=0.05))
        async with Gate([placed, TakesAll()]) as gate:
            heard = await broken_replies(gate)
            assert heard[2].startswith(b"451 4.3.0")
            released.set()
            await is_served(gate)

    run(serve())


def test_nobody_awaits_what_is_not_there() -> None:
    """A hook's awaitable may be any, not only a coroutine."""

    async def serve() -> None:
        def future() -> Awaitable[None]:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            return cancelled

        async with Gate([Breaks("mail", future), TakesAll()]) as gate:
            assert (await broken_replies(gate))[2].startswith(b"451 4.3.0")

    run(serve())
