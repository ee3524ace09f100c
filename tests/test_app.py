"""The whole server, in an event loop that somebody else owns."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gatepost import (
    Accept,
    AnswerForEach,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
)
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.server.listener import CannotListen

BEGINNING = (
    b"EHLO client.example\r\nMAIL FROM:<anne@client.example>\r\n"
    b"RCPT TO:<bob@example.org>\r\nDATA\r\n"
)
LETTER = b"Subject: Hello\r\n\r\nHow are you?\r\n.\r\n"
GOING_DOWN = b"421 4.3.2 The server is going down\r\n"

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in a loop of each kind, within ten seconds."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return runs


@dataclass
class TakesAll(Plugin):
    """Accepts everything, and writes down what it hears."""

    heard: list[str] = field(default_factory=list)

    def startup(self, site: Site) -> None:
        self.heard.append("startup")

    def connect(self, session: Session) -> None:
        self.heard.append("connect")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        self.heard.append(f"queue {transaction.message.size}")
        return Accept()

    def disconnect(self, session: Session) -> None:
        self.heard.append("disconnect")

    def shutdown(self, site: Site) -> None:
        self.heard.append("shutdown")


class Cannot(Plugin):
    """Cannot start."""

    def startup(self, site: Site) -> None:
        raise ValueError("no database")


@dataclass
class Client:
    """Somebody who has connected."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def of(cls, gate: Gate, listener: int = 0) -> Client:
        """Connect, and hear the banner."""
        address = gate.addresses[listener]
        if address.path is not None:
            client = cls(*await asyncio.open_unix_connection(address.path))
        else:
            client = cls(*await asyncio.open_connection(address.host, address.port))
        assert (await client.reader.readline()).startswith(b"220 ")
        return client

    async def say(self, octets: bytes, until: bytes) -> bytes:
        """Send something, and read up to the line that begins with a code."""
        self.writer.write(octets)
        line = b""
        while not line.startswith(until):
            line = await self.reader.readline()
            assert line, f"hung up before {until!r}"
        return line

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def test_it_starts_serves_and_stops(run: Run, tmp_path: Path) -> None:
    async def serve() -> None:
        ear = TakesAll()
        path = tmp_path / "socket"
        listen: list[str | Listen] = ["127.0.0.1:0", Listen(f"unix:{path}", name="local")]
        async with Gate([ear], listen=listen, hostname="mx.example") as gate:
            assert gate.port == gate.addresses[0].port > 0
            for listener in range(2):
                client = await Client.of(gate, listener)
                await client.say(BEGINNING, b"354")
                await client.say(LETTER, b"250 2.0.0")
                await client.say(b"QUIT\r\n", b"221")
                assert await client.reader.read() == b""
                await client.leave()
        assert not path.exists()
        assert len(gate.connections) == 0
        assert ear.heard[0] == "startup"
        assert ear.heard[-1] == "shutdown"
        assert [entry[:5] for entry in ear.heard].count("queue") == 2
        with pytest.raises(ConnectionRefusedError):
            await Client.of(gate)

    run(serve())


def test_a_port_that_is_taken_leaves_nothing_open(run: Run, tmp_path: Path) -> None:
    async def serve() -> None:
        ear, path = TakesAll(), tmp_path / "socket"
        async with Gate() as first:
            second = Gate([ear], listen=[f"unix:{path}", f"127.0.0.1:{first.port}"])
            with pytest.raises(CannotListen) as caught:
                await second.start()
            assert caught.value.errno == errno.EADDRINUSE
            assert not path.exists()
            assert ear.heard == ["startup", "shutdown"]

    run(serve())


def test_a_plugin_that_cannot_start_keeps_the_server_down(run: Run, tmp_path: Path) -> None:
    async def serve() -> None:
        ear, path = TakesAll(), tmp_path / "socket"
        gate = Gate([ear, Cannot()], listen=f"unix:{path}")
        with pytest.raises(ValueError, match="no database") as caught:
            await gate.start()
        assert caught.value.__notes__ == ["cannot failed on startup"]
        assert not path.exists()
        assert ear.heard == ["startup", "shutdown"]

    run(serve())


def test_an_idle_client_is_sent_away(run: Run) -> None:
    async def serve() -> None:
        gate = Gate()
        await gate.start()
        client = await Client.of(gate)
        stopping = asyncio.create_task(gate.stop())
        assert await client.reader.read() == GOING_DOWN
        await client.leave()
        await stopping
        assert len(gate.connections) == 0

    run(serve())


def test_a_message_under_way_may_be_finished(run: Run) -> None:
    async def serve() -> None:
        ear = TakesAll()
        gate = Gate([ear])
        await gate.start()
        client = await Client.of(gate)
        await client.say(BEGINNING, b"354")
        stopping = asyncio.create_task(gate.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        with pytest.raises(ConnectionRefusedError):
            await Client.of(gate)
        await client.say(LETTER, b"250 2.0.0")
        assert await client.reader.read() == GOING_DOWN
        await client.leave()
        await stopping
        assert ear.heard[-2:] == ["disconnect", "shutdown"]

    run(serve())


def test_grace_comes_to_an_end(run: Run) -> None:
    async def serve() -> None:
        ear = TakesAll()
        gate = Gate([ear])
        await gate.start()
        client = await Client.of(gate)
        await client.say(BEGINNING, b"354")
        await gate.stop(grace=0)
        assert len(gate.connections) == 0
        assert ear.heard[-2:] == ["disconnect", "shutdown"]
        with suppress(ConnectionResetError):  # the kernel may tell it either way
            assert await client.reader.read() == b""
        client.writer.close()

    run(serve())


def test_it_may_be_started_again(run: Run) -> None:
    async def serve() -> None:
        gate = Gate([TakesAll()])
        for _ in range(2):
            async with gate:
                client = await Client.of(gate)
                await client.say(b"QUIT\r\n", b"221")
                await client.leave()

    run(serve())


def test_a_plugin_without_a_place_is_called_by_its_class() -> None:
    (turn,) = Gate([TakesAll()]).chain.turns["rcpt"]
    assert turn.name == "takes_all"


def test_plugins_are_asked_on_their_listeners_only(run: Run, tmp_path: Path) -> None:
    async def serve() -> None:
        ear = TakesAll()
        placed = (ear, Placement("takes_all", listeners=("local",)))
        listen: list[str | Listen] = [
            "127.0.0.1:0",
            Listen(f"unix:{tmp_path / 'socket'}", name="local"),
        ]
        async with Gate([placed], listen=listen) as gate:
            for listener in range(2):
                client = await Client.of(gate, listener)
                await client.say(b"QUIT\r\n", b"221")
                await client.leave()
        assert ear.heard == ["startup", "connect", "disconnect", "shutdown"]

    run(serve())


def test_clients_from_one_address_are_counted_and_their_place_is_free_again(run: Run) -> None:
    async def serve() -> None:
        async with Gate(limits=Limits(connections_per_address=1)) as gate:
            first = await Client.of(gate)
            address = gate.addresses[0]
            reader, writer = await asyncio.open_connection(address.host, address.port)
            assert await reader.read() == (b"421 4.7.0 Too many connections from your address\r\n")
            writer.close()
            await writer.wait_closed()
            await first.say(b"QUIT\r\n", b"221")
            await first.leave()
            await gate.connections.emptied()
            await (await Client.of(gate)).leave()

    run(serve())


def test_it_needs_no_configuration_and_logs_nothing(
    run: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def serve() -> None:
        async with Gate() as gate:
            client = await Client.of(gate)
            await client.say(b"QUIT\r\n", b"221")
            await client.leave()

    run(serve())
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []


def test_it_keeps_a_journal_where_one_is_asked_for(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def serve() -> None:
        async with Gate() as gate:
            client = await Client.of(gate)
            await client.say(b"QUIT\r\n", b"221")
            await client.leave()

    with caplog.at_level(logging.INFO, logger="gatepost"):
        run(serve())
    assert " connected from 127.0.0.1:" in caplog.records[0].getMessage()
    assert "gone after" in caplog.records[-1].getMessage()


def test_clients_are_hung_up_on_by_the_clock(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.app.SWEEP_INTERVAL", 0.01)

    async def serve() -> None:
        async with Gate(limits=Limits(command_timeout=0.01)) as gate:
            client = await Client.of(gate)
            assert await client.reader.read() == b"421 4.4.2 Time is over\r\n"
            await client.leave()

    run(serve())
