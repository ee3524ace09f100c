"""How a gate comes to its end: with its clients, without them, or at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from gatepost import Accept, Plugin, Recipient, Site, Transaction
from gatepost.app import Gate
from gatepost.processes.service import Service

SECONDS = 20.0
#: So long that no test sees its end.
LONG = 1000.0


class Inbox(Plugin):
    """Take everything; remember how often the server ended."""

    def __init__(self) -> None:
        self.taken = 0
        self.ends = 0

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> Accept:
        self.taken += 1
        return Accept()

    def shutdown(self, site: Site) -> None:
        self.ends += 1


class Visit:
    """A client that has come in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, text: str, answers: int = 1) -> str:
        """The last of so many replies of one line."""
        self._writer.write(text.encode())
        line = b""
        for _ in range(answers):
            line = await self._reader.readline()
        return line.decode()

    async def begin_letter(self) -> None:
        envelope = "HELO x.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
        assert (await self.say(envelope, 4)).startswith("354")

    async def rest(self) -> str:
        """What is said until the server hangs up, gently or not."""
        with suppress(ConnectionResetError):
            return (await self._reader.read()).decode()
        return ""

    def go(self) -> None:
        self._writer.close()


@asynccontextmanager
async def served(count: int = 1) -> AsyncIterator[tuple[Service, Inbox, list[Visit]]]:
    """A gate with so many clients, greeted."""
    inbox = Inbox()
    gate = Gate([inbox])
    await gate.start()
    visits = [Visit(*await asyncio.open_connection("127.0.0.1", gate.port)) for _ in range(count)]
    for visit in visits:
        assert (await visit.say("")).startswith("220")
    service = Service(gate)
    yield service, inbox, visits
    await service.over.wait()
    assert inbox.ends == 1
    assert len(gate.connections) == 0
    for visit in visits:
        visit.go()


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await scenario()

    asyncio.run(bounded())


def test_who_retires_waits_for_the_last_client() -> None:
    async def scenario() -> None:
        async with served(2) as (service, inbox, visits):
            service.retire(LONG, grace=LONG)
            service.retire(0, grace=0)  # it has been told already
            await visits[0].begin_letter()
            visits[1].go()
            assert (await visits[0].say("\r\nHello\r\n.\r\n")).startswith("250")
            assert not service.over.is_set()
            assert (await visits[0].say("QUIT\r\n")).startswith("221")
            visits[0].go()
            await service.over.wait()
            assert inbox.taken == 1

    run(scenario)


def test_whose_time_is_over_says_goodbye_to_idle_clients_and_hears_letters_out() -> None:
    async def scenario() -> None:
        async with served(2) as (service, inbox, (idle, writing)):
            await writing.begin_letter()
            service.retire(0, grace=LONG)
            assert (await idle.rest()).startswith("421 4.3.2")
            idle.go()
            assert not service.over.is_set()
            assert (await writing.say("\r\nHello\r\n.\r\n")).startswith("250")
            assert (await writing.rest()).startswith("421 4.3.2")
            writing.go()
            assert inbox.taken == 1

    run(scenario)


def test_a_stop_has_no_patience_with_those_who_stay() -> None:
    async def scenario() -> None:
        async with served() as (service, _, (writing,)):
            await writing.begin_letter()
            service.stop(0)
            assert await writing.rest() == ""

    run(scenario)


def test_who_is_stopping_and_is_told_again_hangs_up_at_once() -> None:
    async def scenario() -> None:
        async with served(2) as (service, _, (idle, writing)):
            await writing.begin_letter()
            service.stop(LONG)
            assert (await idle.rest()).startswith("421 4.3.2")
            service.stop(LONG)  # no news
            assert (await writing.say("Subject: x\r\n", answers=0)) == ""
            assert not service.over.is_set()
            service.stop(0)
            assert await writing.rest() == ""

    run(scenario)


def test_a_stop_ends_a_retirement() -> None:
    async def scenario() -> None:
        async with served() as (service, _, (idle,)):
            service.retire(LONG, grace=LONG)
            service.stop(LONG)
            assert (await idle.rest()).startswith("421 4.3.2")
            idle.go()

    run(scenario)
