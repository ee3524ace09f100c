"""What is counted of a session: all that plugins are told, and each thing once."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvloop

from gatepost import (
    Accept,
    Answer,
    AnswerForEach,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
)
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.metrics.figures import Figures
from gatepost.metrics.meter import Meter
from gatepost.metrics.table import (
    AUTHENTICATIONS,
    CONNECTIONS,
    CONVERSATION,
    LAG,
    LIMITS_HIT,
    MEMORY,
    MESSAGES,
    OPEN_FILES,
    RECEIVED,
    RECIPIENTS,
    TLS_SESSIONS,
    VERDICTS,
    Figure,
)
from gatepost.testing import A_TLS, LMTP, MX, a_session, converse, run

HELLO = "S: 220 ...\nC: EHLO client.example\nS: 250 ...\n"
LETTER = "C: DATA\nS: 354 ...\nC: Subject: Hello\nC:\nC: How are you?\nC: .\n"
BYE = "C: QUIT\nS: 221 ...\nS: <closed>\n"
CLEAR = replace(MX, auth_without_tls=True)


@dataclass
class House(Plugin):
    """Takes what is for anne, and has an answer for every message."""

    answer: Accept | Deny | Defer = field(default_factory=Accept)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept() if recipient.address.local == "anne" else None

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return self.answer


class Knows(Plugin):
    """Knows anne, whose password is secret."""

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        if not isinstance(credentials, Password) or credentials.user != "anne":
            return None
        return Accept() if credentials.password == "secret" else Deny()


def to(*recipients: str) -> str:
    """The beginning of a message."""
    lines = ["C: MAIL FROM:<bob@client.example>\nS: 250 ...\n"]
    for recipient in recipients:
        name, code = recipient.split()
        lines.append(f"C: RCPT TO:<{name}@example.org>\nS: {code} ...\n")
    return "".join(lines)


def counted(
    *scripts: str,
    plugins: tuple[Plugin | tuple[Plugin, Placement], ...] = (House(),),
    listen: Listen = MX,
    **more: Any,
) -> Callable[[Figure], dict[tuple[str, ...], float]]:
    """Hold dialogues, and tell what was counted: by a figure, and then by its labels."""
    figures = Figures()
    for script in scripts:
        run(converse([Meter(figures), *plugins], script, listen=listen, **more))
    return told(figures)


def told(figures: Figures) -> Callable[[Figure], dict[tuple[str, ...], float]]:
    snapshot = figures.snapshot()

    def values(figure: Figure) -> dict[tuple[str, ...], float]:
        rows = snapshot[figure.name].items()
        return {tuple(labels.split('"')[1::2]): numbers[0] for labels, numbers in rows}

    return values


# -- Connections and messages ---------------------------------------------------------------------


def test_a_session_with_two_messages() -> None:
    dialogue = HELLO + (to("anne 250", "carol 550") + LETTER + "S: 250 ...\n") * 2 + BYE
    values = counted(dialogue)
    assert values(CONNECTIONS) == {("mx",): 1}
    assert values(MESSAGES) == {("mx", "accepted"): 2}
    assert values(RECIPIENTS) == {("mx", "accepted"): 2}
    assert values(VERDICTS) == {
        ("house", "rcpt", "accept", "enforce"): 2,
        ("nobody", "rcpt", "deny", "enforce"): 2,
        ("house", "queue", "accept", "enforce"): 2,
    }
    assert values(RECEIVED)["mx",] > 2 * len("Subject: Hello\r\n\r\nHow are you?\r\n")


@pytest.mark.parametrize(
    ("answer", "code", "outcome"),
    [(Accept(), 250, "accepted"), (Deny(), 554, "refused"), (Defer(), 451, "deferred")],
)
def test_what_becomes_of_a_message(answer: Accept | Deny | Defer, code: int, outcome: str) -> None:
    dialogue = HELLO + to("anne 250", "anne 250") + LETTER + f"S: {code} ...\n" + BYE
    values = counted(dialogue, plugins=(House(answer),))
    assert values(MESSAGES) == {("mx", outcome): 1}
    assert values(RECIPIENTS) == {("mx", outcome): 2}
    assert values(VERDICTS)["house", "queue", type(answer).__name__.lower(), "enforce"] == 1


def test_what_was_not_sent_to_its_end_is_no_message() -> None:
    values = counted(HELLO + to("anne 250") + "C: RSET\nS: 250 ...\n" + to("carol 550") + BYE)
    assert values(MESSAGES) == values(RECIPIENTS) == {}
    assert values(CONNECTIONS) == {("mx",): 1}


def test_listeners_are_told_apart() -> None:
    dialogue = "S: 220 ...\nC: LHLO client.example\nS: 250 ...\n" + to("anne 250") + LETTER
    values = counted(dialogue + "S: 250 ...\n" + BYE, listen=LMTP)
    assert values(CONNECTIONS) == {("lmtp",): 1}
    assert values(MESSAGES) == {("lmtp", "accepted"): 1}


def test_verdicts_that_have_no_effect_are_told_apart() -> None:
    class Sceptic(Plugin):
        """Denies everything."""

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> Deny:
            return Deny()

    plugins = ((Sceptic(), Placement("sceptic", mode="report")), House())
    values = counted(HELLO + to("anne 250") + BYE, plugins=plugins)
    assert values(VERDICTS) == {
        ("sceptic", "rcpt", "deny", "report"): 1,
        ("house", "rcpt", "accept", "enforce"): 1,
    }


def test_a_connection_that_xclient_gives_to_another_is_one() -> None:
    listen = replace(MX, xclient_from=("192.0.2.1",))
    xclient = "C: XCLIENT ADDR=203.0.113.9 NAME=client.example\nS: 220 ...\n"
    values = counted(HELLO + xclient * 2 + HELLO.removeprefix("S: 220 ...\n") + BYE, listen=listen)
    assert values(CONNECTIONS) == {("mx",): 1}


def test_a_connection_of_which_nobody_was_asked_is_one() -> None:
    """Turned away at the door, or gone within the handshake."""
    figures = Figures()
    meter = Meter(figures)
    for _ in range(3):
        meter.disconnect(a_session())
    session = a_session()
    meter.connect(session)
    meter.disconnect(session)
    assert told(figures)(CONNECTIONS) == {("mx",): 4}


def test_a_session_that_is_over_is_forgotten() -> None:
    figures = Figures()
    meter, session = Meter(figures), a_session()
    for _ in range(3):
        meter.connect(session)
        meter.disconnect(session)
    assert told(figures)(CONNECTIONS) == {("mx",): 3}


# -- TLS and AUTH ---------------------------------------------------------------------------------


def test_tls_is_counted_by_its_version() -> None:
    starttls = "C: STARTTLS\nS: 220 ...\nC: <tls>\n"
    listen = replace(MX, tls="starttls")
    dialogue = HELLO + starttls + HELLO.removeprefix("S: 220 ...\n") + BYE
    assert counted(dialogue, dialogue, listen=listen)(TLS_SESSIONS) == {("TLSv1.3",): 2}


def test_a_version_that_nobody_knows_makes_no_new_figure() -> None:
    figures = Figures()
    for number in range(3):
        Meter(figures).secured(a_session(tls=replace(A_TLS, version=f"TLSv{number}.9")))
    assert told(figures)(TLS_SESSIONS) == {("other",): 3}


def auth(password: str, reply: int) -> str:
    text = base64.b64encode(f"\0anne\0{password}".encode()).decode()
    return f"C: AUTH PLAIN {text}\nS: {reply} ...\n"


def test_attempts_to_authenticate() -> None:
    failing = HELLO + auth("guess", 535) + auth("guess", 535) + auth("secret", 235) + BYE
    values = counted(failing, HELLO + auth("secret", 235) + BYE, plugins=(Knows(),), listen=CLEAR)
    assert values(AUTHENTICATIONS) == {("PLAIN", "accepted"): 2, ("PLAIN", "refused"): 2}


def test_what_plugins_note_about_authentication_makes_no_new_figure() -> None:
    figures = Figures()
    session = a_session()
    session.found("authentication", "fail", "my own mechanism")
    session.found("authentication", "error", "PLAIN")
    session.found("authentication", "pass", "PLAIN")  # it was told before
    session.found("spf", "fail", "PLAIN")
    Meter(figures).disconnect(session)
    assert told(figures)(AUTHENTICATIONS) == {("other", "refused"): 1, ("PLAIN", "deferred"): 1}


def test_limits_that_stand_on_the_trail() -> None:
    figures = Figures()
    session = a_session()
    session.found("limits", "fail", "recipients")
    session.found("limits", "fail", "recipients")
    session.found("limits", "fail", "patience")
    session.found("recipients", "fail", "recipients")
    Meter(figures).disconnect(session)
    assert told(figures)(LIMITS_HIT) == {("recipients",): 2, ("other",): 1}


def test_a_limit_is_counted_by_whatever_it_was_hit() -> None:
    beyond = HELLO + to("anne 250") + LETTER + "S: 552 ...\n" + "C: NOOP\nS: 421 ...\nS: <closed>\n"
    limits = Limits(message_size=10, idle_commands=1)
    values = counted(beyond, beyond, limits=limits)
    assert values(LIMITS_HIT) == {("message_size",): 2, ("idle_commands",): 2}
    unfinished = HELLO + to("anne 250") + "C: BDAT 12\nC: 0123456789\nS: 552 ...\n"
    assert counted(unfinished, limits=limits)(LIMITS_HIT) == {("message_size",): 1}


def test_a_long_session_loses_no_limit() -> None:
    """Its trail lets go of what concerned its first messages."""
    letter = to(*["anne 250"] * 20) + LETTER + "S: 552 ...\n"
    values = counted(HELLO + letter * 80 + BYE, limits=Limits(message_size=10))
    assert values(LIMITS_HIT) == {("message_size",): 80}


# -- In a whole server ----------------------------------------------------------------------------


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def in_loop(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine in a loop of each kind, within ten seconds."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return runs


async def hear(port: int, said: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    heard = b""
    with suppress(ConnectionError):
        heard = await reader.read()
    writer.close()
    return heard


def test_the_clients_of_a_server(in_loop: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    figures = Figures()
    heard = bytearray()

    async def whole() -> None:
        limits = Limits(connections=1)
        async with Gate([Meter(figures), House()], limits=limits) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            heard.extend(await reader.readline())
            assert heard.startswith(b"220")
            for _ in range(2):
                heard.extend(refusal := await hear(gate.port))
                assert refusal.startswith(b"421 4.7.0")
            writer.close()
            await gate.connections.emptied()
            heard.extend(farewell := await hear(gate.port, b"QUIT\r\n"))
            assert farewell.startswith(b"220")
            await gate.connections.emptied()

    in_loop(whole())
    counted = figures.snapshot()
    octets = counted[CONVERSATION.name]
    assert octets['listener="127.0.0.1:0",direction="in"'] == [len(b"QUIT\r\n")]
    assert octets['listener="127.0.0.1:0",direction="out"'] == [len(heard)]
    assert list(counted[CONNECTIONS.name].values()) == [[4]]
    assert counted[MEMORY.name][""][0] > 0
    assert counted[OPEN_FILES.name][""][0] > 0


def test_the_lag_is_looked_at_while_the_server_is_up() -> None:
    figures = Figures()

    async def whole() -> None:
        chain = Chain([(Meter(figures), Placement("meter"))])
        await chain.start(Site("mx.example"))
        await asyncio.sleep(1.1)
        await chain.tell("shutdown", Site("mx.example"))
        await asyncio.sleep(1.1)

    run(whole())
    assert sum(figures.snapshot()[LAG.name][""][:-1]) == 4
