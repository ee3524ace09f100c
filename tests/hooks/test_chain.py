"""How plugins are asked, told, and passed a value on; and what their failures come to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Decision,
    Defer,
    Deny,
    Each,
    Heard,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
    Verdict,
    blocking,
)
from gatepost.hooks.chain import BROKEN, Chain, Method, PluginFailure
from gatepost.hooks.placement import Placement
from gatepost.hooks.turn import THREADS, WAITING
from gatepost.testing import a_recipient, a_session, a_transaction, run

Parts = Sequence[tuple[Plugin, Placement]]
NO = Deny("No")


@dataclass
class Says(Plugin):
    """Answers one thing on `mail`, `rcpt` and `queue`, whatever its type."""

    answer: Any = None
    asked: int = 0

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        return self._answer()  # type: ignore[no-any-return]

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return self._answer()  # type: ignore[no-any-return]

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return self._answer()  # type: ignore[no-any-return]

    def _answer(self) -> Any:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@dataclass
class Waits(Plugin):
    """Answers after a wait."""

    answer: Any = None
    seconds: float = 0
    outcome: str = ""

    async def mail(self, transaction: Transaction, sender: Address) -> Verdict | None:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise
        self.outcome = "through"
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[no-any-return]


def placed(*plugins: Plugin, **keys: Any) -> Parts:
    return [(plugin, Placement("it", **keys)) for plugin in plugins]


def asked(
    parts: Parts, hook: str = "mail", session: Session | None = None
) -> Verdict | Each | None:
    """What a chain answers on a hook of a transaction."""
    transaction = a_transaction(session)
    proposed: dict[str, tuple[object, ...]] = {
        "mail": (transaction.sender,),
        "rcpt": (a_recipient(),),
    }
    return run(Chain(parts).ask(hook, transaction.session, transaction, *proposed.get(hook, ())))


# -- Who is asked, and who settles it -------------------------------------------------------------


def test_nobody_has_an_opinion() -> None:
    assert asked([]) is None
    assert asked(placed(Says(), Says())) is None


@pytest.mark.parametrize("verdict", [Accept(), Deny(), Defer("Later", status="4.5.0")])
def test_the_first_verdict_settles_it(verdict: Verdict) -> None:
    silent, spoken, last = Says(), Says(verdict), Says(NO)
    assert asked(placed(silent, spoken, last)) == verdict
    assert (silent.asked, spoken.asked, last.asked) == (1, 1, 0)


def test_only_those_are_asked_who_override_the_hook() -> None:
    class Mute(Plugin):
        """Has no hooks at all."""

    assert not any(Chain(placed(Mute())).turns.values())
    assert [turn.name for turn in Chain(placed(Says(), Mute())).turns["mail"]] == ["it"]


@pytest.mark.parametrize("hook", ["mail", "rcpt", "queue"])
def test_the_trail_tells_every_verdict(hook: str) -> None:
    session = a_session()
    parts = [
        (Says(), Placement("silent")),
        (Says(NO), Placement("strict", name="rehearsed", mode="report")),
        (Says(Accept()), Placement("kind")),
    ]
    assert asked(parts, hook, session) == Accept()
    assert [
        (decision.plugin, decision.hook, decision.verdict, decision.mode)
        for decision in session.trail.decisions
    ] == [("rehearsed", hook, NO, "report"), ("kind", hook, Accept(), "enforce")]
    assert all(0 <= decision.seconds < 5 for decision in session.trail.decisions)


def test_a_plugin_may_wait() -> None:
    assert asked(placed(Waits(), Waits(NO, seconds=20), Says(Accept()))) == NO


def test_a_plugin_may_return_any_awaitable() -> None:
    class Later(Plugin):
        """Returns what is no coroutine."""

        def mail(self, transaction: Transaction, sender: Address) -> Awaitable[Verdict | None]:
            future = asyncio.get_running_loop().create_future()
            future.get_loop().call_soon(future.set_result, NO)
            return future

    assert asked(placed(Later())) == NO


def test_a_plugin_may_block() -> None:
    class Blocks(Plugin):
        """Asks a library that knows nothing of asyncio."""

        @blocking
        def mail(self, transaction: Transaction, sender: Address) -> Answer:
            return Deny(str(threading.current_thread() is threading.main_thread()))

    assert asked(placed(Blocks())) == Deny("False")


def test_only_so_many_hooks_may_block() -> None:
    class Hangs(Plugin):
        """Blocks until the test lets it go on."""

        gate = threading.Event()

        @blocking
        def mail(self, transaction: Transaction, sender: Address) -> Answer:
            assert self.gate.wait(30)
            return NO

    chain = Chain(placed(Hangs()))

    async def ask() -> Verdict | Each | None:
        transaction = a_transaction()
        return await chain.ask("mail", transaction.session, transaction, transaction.sender)

    async def ask_too_often() -> list[Verdict | Each | None]:
        asking = [asyncio.create_task(ask()) for _ in range(THREADS + WAITING)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            assert await ask() == BROKEN
        finally:
            Hangs.gate.set()
        return await asyncio.gather(*asking)

    assert set(run(ask_too_often())) == {NO}


def test_a_waiting_hook_is_in_a_task_of_its_own() -> None:
    class Looks(Plugin):
        """Uses what works in tasks only."""

        async def mail(self, transaction: Transaction, sender: Address) -> Verdict | None:
            async with asyncio.timeout(1):
                await asyncio.sleep(0.5)
                return Deny(str(asyncio.current_task() is not None))

    assert stepped(Chain(placed(Looks()))) == Deny("True")


def stepped(chain: Chain) -> Verdict | None:
    """What a chain answers where there is no task, as in the server."""

    async def outside() -> Verdict | None:
        done = asyncio.get_running_loop().create_future()
        transaction = a_transaction()
        ask = chain.ask("mail", transaction.session, transaction, transaction.sender)

        def step(_: object = None) -> None:
            assert asyncio.current_task() is None
            try:
                ask.send(None).add_done_callback(step)
            except StopIteration as stop:
                done.set_result(stop.value)

        asyncio.get_running_loop().call_soon(step)
        return await done  # type: ignore[no-any-return]

    return run(outside())


def test_a_chain_that_never_waits_needs_no_event_loop() -> None:
    transaction = a_transaction()
    ask = Chain(placed(Says(), Says(NO))).ask(
        "mail", transaction.session, transaction, transaction.sender
    )
    with pytest.raises(StopIteration) as stop:
        ask.send(None)
    assert stop.value.value == NO


# -- Being observed -------------------------------------------------------------------------------


def test_something_may_stand_around_every_method() -> None:
    seen: list[tuple[str, str]] = []

    def observe(hook: str, plugin: str, method: Method) -> Method:
        def asked(*arguments: Any) -> Any:
            seen.append((hook, plugin))
            return method(*arguments)

        return asked

    parts = [(Says(), Placement("silent")), (Says(NO), Placement("spoken", listeners=("mx",)))]
    chain = Chain(parts, observe=observe)
    transaction = a_transaction()

    def ask(chain: Chain) -> Verdict | None:
        return run(chain.ask("mail", transaction.session, transaction, transaction.sender))

    assert ask(chain) == NO
    assert seen == [("mail", "silent"), ("mail", "spoken")]
    assert ask(chain.on("lmtp")) is None
    assert seen[2:] == [("mail", "silent")]


# -- Failures -------------------------------------------------------------------------------------

BROKEN_PLUGINS: list[Plugin] = [
    Says(KeyError("what")),
    Says(TimeoutError()),
    Says(SystemExit(1)),
    Says("550 No"),
    Says(550),
    Says(True),
    Says(Deny),
    Says(Each({})),  # there is only one to answer for
    Waits(ValueError("what")),
    Waits(SystemExit(1)),
    Waits("no"),
    Waits(asyncio.CancelledError()),
    Waits(seconds=31),
    Waits(Waits()),
]


@pytest.mark.parametrize("plugin", BROKEN_PLUGINS, ids=repr)
def test_a_failure_is_no_opinion_but_a_defer(
    plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    session = a_session()
    after = Says(Accept())
    assert asked(placed(plugin, after), session=session) == BROKEN
    assert after.asked == 0
    assert session.trail.decisions[0].verdict == BROKEN
    assert "it failed on mail" in caplog.text


@pytest.mark.parametrize("plugin", BROKEN_PLUGINS, ids=repr)
def test_a_failure_can_be_ignored(plugin: Plugin, caplog: pytest.LogCaptureFixture) -> None:
    session = a_session()
    after = Says(Accept())
    assert asked(placed(plugin, after, on_error="ignore"), session=session) == Accept()
    assert len(session.trail) == 1
    assert "it failed on mail" in caplog.text


def test_a_hook_that_hangs_is_cancelled() -> None:
    hangs = Waits(NO, seconds=3600)
    assert asked(placed(hangs, timeout=0.5)) == BROKEN
    assert hangs.outcome == "cancelled"


def test_a_hook_that_does_not_even_end_when_it_is_cancelled_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stubborn(Plugin):
        """Goes on whatever it is told, the first two times."""

        async def mail(self, transaction: Transaction, sender: Address) -> Verdict | None:
            for _ in range(2):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(3600)
            return Accept()

    assert asked(placed(Stubborn(), timeout=0.5)) == BROKEN
    assert "it goes on although it was cancelled" in caplog.text


def test_a_failure_of_a_rehearsing_plugin_is_only_reported() -> None:
    assert asked(placed(Says(KeyError()), mode="report")) is None


def test_a_failure_is_softened_and_disconnected_like_any_refusal() -> None:
    answer = asked(placed(Says(KeyError()), soften=True, disconnect=True))
    assert answer == Defer("Internal error", code=451, status="4.3.0", disconnect=True)


# -- Being given up -------------------------------------------------------------------------------


def test_a_session_that_is_given_up_cancels_what_its_hook_waits_for() -> None:
    async def give_up() -> str:
        waits = Waits(seconds=3600)
        transaction = a_transaction()
        ask = Chain(placed(waits)).ask("mail", transaction.session, transaction, transaction.sender)
        ask.send(None)  # as the connection steps it
        await asyncio.sleep(0)
        ask.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return waits.outcome

    assert run(give_up()) == "cancelled"


def test_a_cancelled_task_is_cancelled_and_not_deferred() -> None:
    async def cancel() -> str:
        waits = Waits(seconds=3600)
        transaction = a_transaction()
        ask = Chain(placed(waits)).ask("mail", transaction.session, transaction, transaction.sender)
        task = asyncio.create_task(ask)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return waits.outcome

    assert run(cancel()) == "cancelled"


def test_a_time_limit_around_the_chain_holds() -> None:
    async def limited() -> None:
        transaction = a_transaction()
        chain = Chain(placed(Waits(seconds=3600), Waits(seconds=3600), timeout=7200))
        async with asyncio.timeout(10):
            await chain.ask("mail", transaction.session, transaction, transaction.sender)

    with pytest.raises(TimeoutError):
        run(limited())


# -- What the configuration makes of it -----------------------------------------------------------


def test_listeners() -> None:
    chain = Chain(
        [
            (Says(Deny("both")), Placement("both", listeners=("mx", "submission"))),
            (Says(Deny("mx")), Placement("mx", listeners=("mx",))),
            (Says(Deny("all")), Placement("all")),
        ]
    )

    def names(listener: str) -> list[str]:
        return [turn.name for turn in chain.on(listener).turns["mail"]]

    assert names("mx") == ["both", "mx", "all"]
    assert names("submission") == ["both", "all"]
    assert names("lmtp") == ["all"]


@pytest.mark.parametrize(
    ("unless", "session", "judged"),
    [
        ("relay", a_session(), True),
        ("relay", a_session(relaying=True), False),
        ("relay", a_session(allowed="a friend", user="anne"), True),
        ("allowed", a_session(allowed="a friend"), False),
        ("allowed", a_session(relaying=True), True),
        ("authenticated", a_session(user="anne"), False),
        ("authenticated", a_session(relaying=True), True),
    ],
)
def test_exemptions(unless: Any, session: Session, judged: bool) -> None:
    assert asked(placed(Says(NO), unless=(unless,)), session=session) == (NO if judged else None)


def test_any_exemption_is_enough() -> None:
    unless = ("relay", "allowed", "authenticated")
    assert asked(placed(Says(NO), unless=unless), session=a_session(user="anne")) is None


def test_a_rehearsing_plugin_changes_nothing() -> None:
    session = a_session()
    assert asked(placed(Says(NO), Says(Accept()), mode="report"), session=session) is None
    assert [decision.mode for decision in session.trail.decisions] == ["report", "report"]


# -- One answer for each recipient ----------------------------------------------------------------


def test_one_answer_for_each_recipient() -> None:
    transaction = a_transaction(recipients=("bob@example.org", "carol@example.org"))
    bob, carol = transaction.recipients
    answer = Each({bob: Accept(), carol: NO})
    chain = Chain(placed(Says(answer)))
    assert run(chain.ask("queue", transaction.session, transaction)) == answer
    assert [one.verdict for one in transaction.session.trail.decisions] == [Accept(), NO]


def test_each_refusal_of_each_recipient_is_softened() -> None:
    transaction = a_transaction(recipients=("bob@example.org", "carol@example.org"))
    bob, carol = transaction.recipients
    chain = Chain(placed(Says(Each({bob: Accept(), carol: NO})), soften=True, disconnect=True))
    assert run(chain.ask("queue", transaction.session, transaction)) == Each(
        {bob: Accept(), carol: Defer("No", disconnect=True)}
    )


@pytest.mark.parametrize("verdicts", [{"bob": "250 Ok"}, {"bob": 550}, [Accept()], None])
def test_answers_for_each_have_to_be_verdicts(verdicts: Any) -> None:
    assert asked(placed(Says(Each(verdicts))), "queue") == BROKEN


# -- Telling --------------------------------------------------------------------------------------


@dataclass
class Hears(Plugin):
    """Writes down what it hears, then fails if it is to."""

    heard: list[object] = field(default_factory=list)
    failure: BaseException | None = None

    def decided(self, session: Session, decision: Decision) -> Heard:
        self.heard.append(decision.verdict)
        return self._fail()

    async def disconnect(self, session: Session) -> None:
        await asyncio.sleep(1)
        self.heard.append(session)
        self._fail()

    def startup(self, site: Site) -> Heard:
        self.heard.append(site)
        return self._fail()

    def _fail(self) -> Heard:
        if self.failure is not None:
            raise self.failure
        return None


@pytest.mark.parametrize("failure", [KeyError("what"), asyncio.CancelledError()], ids=repr)
def test_everybody_hears_of_it(failure: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Hears(failure=failure), Hears()
    session = a_session()
    run(Chain(placed(first, second)).tell("disconnect", session))
    assert first.heard == second.heard == [session]
    assert "it failed on disconnect" in caplog.text


def test_verdicts_are_told() -> None:
    hears = Hears(failure=KeyError("what"))
    assert asked([*placed(Says(NO), mode="report"), *placed(Says(Accept()), hears)]) == Accept()
    assert hears.heard == [NO, Accept()]


def test_who_fails_at_the_start_keeps_the_server_from_starting() -> None:
    last = Hears()
    chain = Chain(placed(Hears(failure=OSError("no disk")), last))
    with pytest.raises(OSError, match="no disk"):
        run(chain.start(Site("mx.example")))
    assert last.heard == []


# -- Passing on -----------------------------------------------------------------------------------


@dataclass
class Adds(Plugin):
    """Adds to what is passed on."""

    more: Any

    def greeting(self, session: Session, text: str) -> str:
        return text + self._more()  # type: ignore[no-any-return]

    async def capabilities(  # a rewriting hook may wait as well
        self, session: Session, offered: tuple[str, ...]
    ) -> tuple[str, ...]:
        await asyncio.sleep(1)
        return (*offered, self._more())

    def setting(self, name: str, value: int, address: Address | None) -> int:
        return value + self._more()  # type: ignore[no-any-return]

    def argument(self, session: Session, verb: str, text: str) -> str:
        return f"{text}{verb}{self._more()}"

    def _more(self) -> Any:
        if isinstance(self.more, BaseException):
            raise self.more
        return self.more


def passed(hook: str, *arguments: object, parts: Parts) -> Any:
    return run(Chain(parts).pass_on(hook, *arguments))


def test_each_plugin_gets_what_the_one_before_it_returned() -> None:
    session = a_session()
    parts = placed(Adds("a"), Adds("b"))
    assert passed("greeting", session, "hello", parts=parts) == "helloab"
    assert passed("capabilities", session, ("X",), parts=parts) == ("X", "a", "b")
    assert passed("argument", session, "V", "", parts=parts) == "VaVb"
    assert passed("setting", "size", 1, None, parts=placed(Adds(2), Adds(3))) == 6
    assert passed("greeting", session, "hello", parts=[]) == "hello"


class Returns(Adds):
    """Returns its own value in the place of any other."""

    def greeting(self, session: Session, text: str) -> str:
        return self._more()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "plugin",
    [Adds(KeyError("what")), Adds(5), Returns(None), Returns(b"x"), Returns(["x"])],
    ids=repr,
)
def test_a_value_that_breaks_is_not_guessed(plugin: Plugin) -> None:
    session = a_session()
    with pytest.raises(PluginFailure, match="it failed on greeting"):
        passed("greeting", session, "hello", parts=placed(plugin))
    parts = [*placed(plugin, on_error="ignore"), *placed(Adds("!"))]
    assert passed("greeting", session, "hello", parts=parts) == "hello!"


@pytest.mark.parametrize("more", [5, None, b"X", KeyError("what")], ids=repr)
def test_capabilities_are_texts(more: object) -> None:
    session = a_session()
    with pytest.raises(PluginFailure):
        passed("capabilities", session, ("X",), parts=placed(Adds(more)))
    parts = placed(Adds(more), on_error="ignore")
    assert passed("capabilities", session, ("X",), parts=parts) == ("X",)


# -- Routing --------------------------------------------------------------------------------------


@dataclass
class Alias(Plugin):
    """Sends the copies of one recipient to others."""

    address: str
    targets: Any

    def route(self, transaction: Transaction, recipient: Recipient) -> tuple[Recipient, ...]:
        if str(recipient) != self.address:
            return (recipient,)
        if isinstance(self.targets, BaseException):
            raise self.targets
        return self.targets  # type: ignore[no-any-return]


BOB, CAROL, DAVE = (a_recipient(f"{name}@example.org") for name in ("bob", "carol", "dave"))


def routed(*plugins: Plugin, **keys: Any) -> tuple[Recipient, ...]:
    return run(Chain(placed(*plugins, **keys)).routes(a_transaction(), BOB))


def test_routes() -> None:
    assert routed() == (BOB,)
    assert routed(Alias(str(BOB), (CAROL,))) == (CAROL,)
    assert routed(Alias(str(BOB), (BOB, CAROL))) == (BOB, CAROL)
    assert routed(Alias(str(BOB), (BOB, CAROL)), Alias(str(CAROL), (CAROL, DAVE))) == (
        BOB,
        CAROL,
        DAVE,
    )
    assert routed(Alias(str(CAROL), (DAVE,)), Alias(str(BOB), (CAROL,))) == (CAROL,)


def test_a_route_may_lead_nowhere() -> None:
    assert routed(Alias(str(BOB), ())) == ()
    assert routed(Alias(str(BOB), (BOB, CAROL)), Alias(str(BOB), ())) == (CAROL,)


@pytest.mark.parametrize(
    "targets",
    [KeyError("what"), None, [CAROL], CAROL, ("carol@example.org",)],
    ids=["raises", "nothing", "a list", "one", "texts"],
)
def test_a_route_that_breaks_is_not_guessed(targets: object) -> None:
    with pytest.raises(PluginFailure, match="it failed on route"):
        routed(Alias(str(BOB), targets))
    assert routed(Alias(str(BOB), targets), on_error="ignore") == (BOB,)
