"""Names of sessions, and whatever is logged while one is answered, which bears its name."""

from __future__ import annotations

import asyncio
import logging
import string
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from gatepost import (
    Accept,
    Address,
    Heard,
    Plugin,
    Pool,
    Recipient,
    Session,
    Transaction,
    blocking,
)
from gatepost.app import Gate
from gatepost.identifier import SESSION_ID, new_identifier
from gatepost.log.record import text_of
from gatepost.testing import converse

log = logging.getLogger(__name__)

# -- Names ----------------------------------------------------------------------------------------


def test_a_name_is_short_and_plain() -> None:
    name = new_identifier()
    assert len(name) == 12
    assert set(name) <= set(string.digits + string.ascii_lowercase)


def test_names_sort_by_time() -> None:
    moments = [0, 1.5, 1.501, 1e9, 1_800_000_000, 1_800_000_000.001, 2_800_000_000]
    names = [new_identifier(moment) for moment in moments]
    assert names == sorted(names)


def test_names_of_one_moment_differ() -> None:
    assert len({new_identifier(1e9) for _ in range(1296)}) == 1296


def test_names_of_one_moment_differ_in_other_processes_too() -> None:
    script = (
        "from gatepost.identifier import new_identifier\n"
        "for _ in range(1296): print(new_identifier(1e9))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    names = [name for process in processes for name in process.communicate()[0].split()]
    assert len(names) == len(set(names)) == 4 * 1296


# -- Whatever is logged ---------------------------------------------------------------------------


class Ear(logging.Handler):
    """Hears what is logged, as it will be written."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(text_of(record).partition(": RuntimeError")[0])

    def about(self, what: str) -> list[str]:
        """Who is named before it, in the order in which it was logged."""
        return [text.partition(" ")[0] for text in self.heard if text.endswith(f" {what}")]


@pytest.fixture
def ear() -> Iterator[Ear]:
    loggers = log, logging.getLogger("gatepost.hooks.failures")
    ear = Ear()
    for logger in loggers:
        logger.addHandler(ear)
    yield ear
    for logger in loggers:
        logger.removeHandler(ear)


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in a loop of each kind, within ten seconds."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return runs


@dataclass
class Talks(Plugin):
    """Logs in every way that a hook can be written in, and raises in some."""

    together: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(1))
    sessions: list[Session] = field(default_factory=list)
    pool: Pool = field(default_factory=lambda: Pool(1))

    def connect(self, session: Session) -> None:
        self.sessions.append(session)
        log.warning("plain")

    async def helo(self, session: Session, name: str) -> None:
        log.warning("at first")
        async with self.together:  # others have their turn, and log as well
            log.warning("after a wait")
        await asyncio.get_running_loop().create_task(self._later())
        await self.pool.run(log.warning, "in a pool")

    @blocking
    def mail(self, transaction: Transaction, sender: Address) -> None:
        log.warning("in a thread")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        if recipient.address.local == "broken":
            raise RuntimeError
        return Accept()

    @blocking
    def queue(self, transaction: Transaction) -> Accept:
        raise RuntimeError

    async def reset(self, transaction: Transaction) -> None:
        await asyncio.sleep(0)
        raise RuntimeError

    def disconnect(self, session: Session) -> Heard:
        log.warning("goodbye")
        return asyncio.sleep(0)

    async def _later(self) -> None:
        log.warning("in a task")


SESSION = (
    b"EHLO client.example\r\nMAIL FROM:<anne@client.example>\r\nRCPT TO:<broken@example.org>\r\n"
    b"RCPT TO:<bob@example.org>\r\nDATA\r\nSubject: Hello\r\n\r\n.\r\nQUIT\r\n"
)


@asynccontextmanager
async def client_of(
    gate: Gate,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def converses(gate: Gate) -> None:
    async with client_of(gate) as (reader, writer):
        writer.write(SESSION)
        await reader.read()


#: What is logged, and how often in a session.
LOGGED = {
    "plain": 1,
    "at first": 1,
    "after a wait": 1,
    "in a task": 1,
    "in a pool": 1,
    "in a thread": 1,
    "talks failed on rcpt": 1,
    "talks failed on queue": 1,
    "talks failed on reset": 1,
    "goodbye": 1,
}


def test_sessions_that_are_answered_at_the_same_time_are_told_apart(run: Run, ear: Ear) -> None:
    async def scenario() -> None:
        plugin = Talks(asyncio.Barrier(3))
        async with Gate([plugin]) as gate:
            await asyncio.gather(*(converses(gate) for _ in range(3)))
        assert SESSION_ID.get() == ""
        names = sorted(session.id for session in plugin.sessions)
        for what in LOGGED:
            assert sorted(ear.about(what)) == names, what

    run(scenario())


def test_a_session_that_ends_in_the_middle_is_named(run: Run, ear: Ear) -> None:
    async def scenario() -> None:
        plugin = Talks(asyncio.Barrier(2))
        async with Gate([plugin]) as gate:
            async with client_of(gate) as (reader, writer):
                await reader.readline()
                writer.write(b"EHLO client.example\r\n")
            await gate.connections.emptied()
        assert ear.about("goodbye") == [plugin.sessions[0].id]

    run(scenario())


def test_what_nobody_s_session_caused_names_none(run: Run, ear: Ear) -> None:
    class Starts(Plugin):
        def startup(self, site: object) -> None:
            log.warning("started")

        def shutdown(self, site: object) -> None:
            log.warning("stopped")

    async def scenario() -> None:
        async with Gate([Starts(), Talks()]) as gate:
            await converses(gate)
            log.warning("beside it")

    run(scenario())
    others = [text for text in ear.heard if " " not in text or text == "beside it"]
    assert others == ["started", "beside it", "stopped"]


def test_in_a_dialogue_it_is_as_it_is_in_earnest(ear: Ear) -> None:
    async def scenario() -> None:
        session = await converse(
            [Talks()],
            """
            S: 220 ...
            C: EHLO client.example
            S: 250 ...
            """,
        )
        assert SESSION_ID.get() == ""
        for what in ("plain", "after a wait", "in a pool", "goodbye"):
            assert ear.about(what) == [session.id]

    asyncio.run(scenario())
