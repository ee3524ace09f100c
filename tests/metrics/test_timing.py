"""How long plugins take: measured around whatever they return, and whatever they raise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from gatepost import Accept, Address, Deny, Plugin, Recipient, Session, Transaction, blocking
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.hooks.chain import BROKEN, Chain
from gatepost.hooks.placement import Placement
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import HOOK_SECONDS
from gatepost.metrics.timing import timing
from gatepost.testing import a_recipient, a_session, a_transaction, run


class Clock:
    """Goes on when it is told to, or when the event loop's does."""

    def __init__(self) -> None:
        self.put_forward = 0.0

    def __call__(self) -> float:
        return self.put_forward + asyncio.get_running_loop().time()


@dataclass
class Takes(Plugin):
    """Takes its time over everything, and says what it is to say."""

    clock: Clock
    answer: Any = None

    def mail(self, transaction: Transaction, sender: Address) -> Any:
        self.clock.put_forward += 4
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def rcpt(self, transaction: Transaction, recipient: Recipient) -> Any:
        await asyncio.sleep(7)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def greeting(self, session: Session, text: str) -> str:
        self.clock.put_forward += 2
        return f"{text} slowly"

    def disconnect(self, session: Session) -> None:
        self.clock.put_forward += 20


def measured(
    talk: Callable[[Chain], Coroutine[Any, Any, object]], answer: Any = None, **keys: Any
) -> dict[str, tuple[float, int]]:
    """How often each hook was asked, and for how many seconds in all."""
    figures, clock = Figures(), Clock()
    plugin = Takes(clock, answer)
    chain = Chain([(plugin, Placement("slow", **keys))], observe=timing(figures, clock))
    run(talk(chain))
    hooks: dict[str, tuple[float, int]] = {}
    for labels, numbers in figures.snapshot()[HOOK_SECONDS.name].items():
        *buckets, total = numbers
        if any(buckets):
            hooks[labels] = (sum(buckets), round(total))
    return {labels.split('"')[1]: both for labels, both in hooks.items()}


async def mail(chain: Chain) -> object:
    transaction = a_transaction()
    return await chain.ask("mail", transaction.session, transaction, transaction.sender)


async def rcpt(chain: Chain) -> object:
    transaction = a_transaction()
    return await chain.ask("rcpt", transaction.session, transaction, a_recipient())


@pytest.mark.parametrize("answer", [None, Accept(), Deny(), "nonsense", KeyError("what")])
def test_a_hook_is_measured_whatever_comes_of_it(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert measured(mail, answer) == {"mail": (1, 4)}
    assert measured(rcpt, answer) == {"rcpt": (1, 7)}


def test_a_hook_that_hangs_is_measured_until_its_time_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert measured(rcpt, timeout=3) == {"rcpt": (1, 3)}


def test_hooks_that_rewrite_or_listen_are_measured_too() -> None:
    async def talk(chain: Chain) -> None:
        session = a_session()
        assert await chain.pass_on("greeting", session, "mx.example") == "mx.example slowly"
        await chain.tell("disconnect", session)
        await chain.tell("disconnect", session)

    assert measured(talk) == {"greeting": (1, 2), "disconnect": (2, 40)}


def test_the_answers_are_what_they_were(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[object] = []

    async def talk(chain: Chain) -> None:
        answers.append(await mail(chain))
        answers.append(await rcpt(chain))

    for answer in (None, Accept("yes"), KeyError("what")):
        measured(talk, answer)
    assert answers == [None, None, Accept("yes"), Accept("yes"), BROKEN, BROKEN]


def test_a_client_that_is_gone_has_still_taken_time() -> None:
    async def talk(chain: Chain) -> None:
        task = asyncio.create_task(rcpt(chain))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)

    assert measured(talk) == {"rcpt": (1, 5)}


def test_a_hook_that_blocks_is_measured_with_its_thread() -> None:
    class Blocks(Plugin):
        """Blocks for as long as the test has it."""

        @blocking
        def mail(self, transaction: Transaction, sender: Address) -> Accept:
            return Accept()

    figures = Figures()
    chain = Chain([(Blocks(), Placement("blocks"))], observe=timing(figures, time.perf_counter))
    assert run(mail(chain)) == Accept()
    *buckets, total = figures.snapshot()[HOOK_SECONDS.name]['hook="mail",plugin="blocks"']
    assert sum(buckets) == 1
    assert total > 0


# -- In a whole server ----------------------------------------------------------------------------


def test_a_server_measures_on_all_its_listeners() -> None:
    class Doorman(Plugin):
        """Turns everybody away."""

        def connect(self, session: Session) -> Deny:
            return Deny()

    figures = Figures()

    async def whole() -> None:
        listens = [Listen("127.0.0.1:0", name="a"), Listen("127.0.0.1:0", name="b")]
        async with Gate([Doorman()], listen=listens, observe=timing(figures)) as gate:
            for address in gate.addresses:
                reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
                assert (await reader.readline()).startswith(b"554")
                writer.close()

    asyncio.run(asyncio.wait_for(whole(), 10))
    *buckets, _ = figures.snapshot()[HOOK_SECONDS.name]['hook="connect",plugin="doorman"']
    assert sum(buckets) == 2


def test_where_nobody_measures_a_plugin_is_called_directly() -> None:
    plugin = Takes(Clock())
    gate = Gate([plugin])
    (turn,) = gate.chain.turns["mail"]
    assert turn.method == plugin.mail
