from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as Aiosmtpd

from gatepost.address import Address
from gatepost.client import Client, Destination, NextHops
from gatepost.message import Message
from gatepost.session import Endpoint, Recipient, Session, Transaction

ANNE = Address("anne", "a.example")
BOB = Address("bob", "b.example")
LETTER = b"Subject: a\r\n\r\n.b\r\n\xc3\xa9\r\n"
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Mailbox:
    """What an aiosmtpd server does with mail: it keeps it, and refuses Mallory."""

    def __init__(self) -> None:
        self.mail: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.gate = asyncio.Event()  #: nothing is taken before it is set
        self.gate.set()

    async def handle_RCPT(
        self, server: SMTP, session: Aiosmtpd, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("mallory"):
            return "550 5.1.1 Nobody"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Aiosmtpd, envelope: Envelope) -> str:
        await self.gate.wait()
        assert isinstance(envelope.content, bytes)
        self.mail.append(envelope.content)
        return "250 2.0.0 Kept"


@asynccontextmanager
async def serving(mailbox: Mailbox) -> AsyncIterator[Destination]:
    class Counting(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            mailbox.connections += 1
            mailbox.open += 1
            mailbox.most_open = max(mailbox.open, mailbox.most_open)
            super().connection_made(transport)

        def connection_lost(self, error: Exception | None) -> None:
            mailbox.open -= 1
            super().connection_lost(error)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Counting(mailbox, loop=loop), "127.0.0.1", 0)
    try:
        yield Destination(*server.sockets[0].getsockname())
    finally:
        server.close()


Scenario = Callable[[], Coroutine[None, None, None]]


def run(scenario: Scenario, *, on: Callable[[], asyncio.AbstractEventLoop] = LOOPS[0]) -> None:
    with asyncio.Runner(loop_factory=on) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  what it waits for tells nobody
        await asyncio.sleep(0)


def transaction(*recipients: str) -> Transaction:
    return Transaction(
        Session(Endpoint("192.0.2.1", 4711)),
        ANNE,
        recipients=[Recipient(Address(name, "b.example")) for name in recipients],
        message=Message.parse(LETTER),
    )


@pytest.mark.parametrize("loop", LOOPS)
def test_a_transaction_is_handed_on(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        connections = NextHops(hostname="client.example")
        async with serving(mailbox) as destination:
            outcome = await connections.hand_on(transaction("mallory", "bob"), [destination])
            assert [str(reply) for reply in outcome.replies] == [
                "550 5.1.1 Nobody",
                "250 2.0.0 Kept",
            ]
            assert not outcome.delivered
            assert mailbox.mail == [LETTER]
            await connections.close()
            await until(lambda: mailbox.open == 0)

    run(scenario, on=loop)


def test_messages_after_each_other_share_a_connection() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        connections = NextHops(hostname="client.example")
        async with serving(mailbox) as destination:
            for _ in range(5):
                outcome = await connections.hand_on(transaction("bob"), [destination])
                assert outcome.delivered
            assert mailbox.mail == [LETTER] * 5
            assert mailbox.connections == 1
            await connections.close()

    run(scenario)


def test_a_destination_gets_no_more_connections_than_the_limit() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        mailbox.gate.clear()
        connections = NextHops(hostname="client.example", most=3)
        async with serving(mailbox) as destination:
            sending = [
                asyncio.create_task(connections.hand_on(transaction("bob"), [destination]))
                for _ in range(10)
            ]
            await until(lambda: mailbox.open == 3)
            mailbox.gate.set()
            assert all(outcome.delivered for outcome in await asyncio.gather(*sending))
            assert mailbox.most_open == mailbox.connections == 3
            assert len(mailbox.mail) == 10
            await connections.close()

    run(scenario)


def test_a_connection_that_nobody_needs_is_closed() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        connections = NextHops(hostname="client.example", idle_seconds=0.02)
        async with serving(mailbox) as destination:
            assert (await connections.hand_on(transaction("bob"), [destination])).delivered
            assert mailbox.open == 1
            await until(lambda: mailbox.open == 0)
            assert (await connections.hand_on(transaction("bob"), [destination])).delivered
            assert mailbox.connections == 2
            await connections.close()

    run(scenario)


def test_a_host_that_is_down_is_passed_over() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        connections = NextHops(hostname="client.example")
        down = Destination("/nowhere/at.all", 0)
        async with serving(mailbox) as destination:
            outcome = await connections.hand_on(transaction("bob"), [down, destination])
            assert outcome.delivered
            outcome = await connections.hand_on(transaction("mallory"), [destination, down])
            assert str(outcome.replies[0]) == "550 5.1.1 Nobody"
            outcome = await connections.hand_on(transaction("bob"), [down, down])
            assert str(outcome.replies[0]).startswith("451 4.4.1")
            await connections.close()

    run(scenario)


def test_what_was_called_off_keeps_no_connection() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        mailbox.gate.clear()
        connections = NextHops(hostname="client.example", most=1)
        async with serving(mailbox) as destination:
            sending = asyncio.create_task(connections.hand_on(transaction("bob"), [destination]))
            await until(lambda: mailbox.open == 1)
            sending.cancel()
            await asyncio.wait([sending])
            await until(lambda: mailbox.open == 0)
            mailbox.gate.set()
            assert (await connections.hand_on(transaction("bob"), [destination])).delivered
            await connections.close()

    run(scenario)


def test_somewhere_it_has_to_go() -> None:
    connections = NextHops(hostname="client.example")
    with pytest.raises(ValueError, match="no destination"):
        asyncio.run(connections.hand_on(transaction("bob"), []))


def test_there_is_no_tls_on_a_unix_socket() -> None:
    with pytest.raises(ValueError, match="there is no TLS on it"):
        Client("unix:/run/smtp.sock", hostname="client.example", tls="must")
