"""What plugins may rewrite in a conversation, and what comes of it when they break."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from gatepost import Accept, Address, Answer, AnswerForEach, Plugin, Recipient, Session, Transaction
from gatepost.testing import converse, run


class TakesAll(Plugin):
    """Accepts every recipient and every message."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


@dataclass
class Rewrites(Plugin):
    """Rewrites what it was given for each hook, verb or setting, or raises it."""

    values: dict[str, Any]

    def greeting(self, session: Session, text: str) -> str:
        return self._value("greeting", text)  # type: ignore[no-any-return]

    def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return self._value("capabilities", offered)  # type: ignore[no-any-return]

    def argument(self, session: Session, verb: str, text: str) -> str:
        return self._value(verb, text)  # type: ignore[no-any-return]

    def setting(self, name: str, value: int, address: Address | None) -> int:
        name = name if address else f"{name} for all"
        return self._value(name, value)  # type: ignore[no-any-return]

    def received(self, transaction: Transaction, field: str) -> str:
        return self._value("received", field)  # type: ignore[no-any-return]

    def _value(self, name: str, value: Any) -> Any:
        value = self.values.get(name, value)
        if isinstance(value, BaseException):
            raise value
        return value


def talk(plugins: list[Plugin], script: str) -> Session:
    return run(converse(plugins, script))


def rewrites(**values: Any) -> Rewrites:
    return Rewrites({name.replace("_for_all", " for all"): value for name, value in values.items()})


# -- Greetings ------------------------------------------------------------------------------------


def test_a_greeting_can_be_rewritten() -> None:
    talk([rewrites(greeting="mx.example Welcome")], "S: 220 mx.example Welcome")
    talk([rewrites(greeting="mx.example a\r\nb\0")], "S: 220-mx.example a\nS: 220 b")
    talk([rewrites(greeting=KeyError())], "S: 421 4.3.0 Internal error\nS: <closed>")


def test_what_is_not_offered_is_not_honoured() -> None:
    talk(
        [TakesAll(), rewrites(capabilities=("SIZE 1000", "X-FROB now"))],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250 X-FROB now
        C: MAIL FROM:<anne@client.example> SMTPUTF8
        S: 555 5.5.4 ...
        C: MAIL FROM:<anne@client.example> REQUIRETLS
        S: 555 5.5.4 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 250 ...
        C: BDAT 6
        C: QUIT
        S: 502 5.5.1 ...
        S: <closed>
        """,
    )


def test_what_a_plugin_offers_is_honoured() -> None:
    class Honours(Plugin):
        """Can hold messages back."""

        def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
            return (*offered, "FUTURERELEASE 86400 2030-01-01T00:00:00Z", "requiretls")

    talk(
        [Honours()],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ... HELP FUTURERELEASE 86400 2030-01-01T00:00:00Z requiretls
        C: MAIL FROM:<anne@client.example> HOLDFOR=60 REQUIRETLS
        S: 250 ...
        C: HELO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example> HOLDFOR=60
        S: 555 5.5.4 ...
        """,
    )


@pytest.mark.parametrize("offered", [KeyError(), ["SIZE"], (5,), None])
def test_capabilities_that_break(offered: Any) -> None:
    talk(
        [rewrites(capabilities=offered)],
        """
        S: 220 ...
        C: EHLO client.example
        S: 451 4.3.0 Internal error
        C: MAIL FROM:<>
        S: 503 5.5.1 Say EHLO first
        """,
    )


def test_a_greeting_that_breaks_changes_nothing() -> None:
    class Picky(Plugin):
        """Knows one client only."""

        def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
            if session.hello != "good.example":
                raise KeyError(session.hello)
            return offered

    session = talk(
        [Picky()],
        """
        S: 220 ...
        C: HELO good.example
        S: 250 ...
        C: EHLO bad.example
        S: 451 4.3.0 Internal error
        C: MAIL FROM:<>
        S: 250 ...
        """,
    )
    assert (session.verb, session.hello) == ("HELO", "good.example")


def test_capabilities_cannot_break_a_reply() -> None:
    talk(
        [rewrites(capabilities=("SIZE\r\n550 no\0",))],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250-mx.example
        S: 250-SIZE
        S: 250 550 no
        """,
    )


# -- Arguments ------------------------------------------------------------------------------------


def test_arguments_can_be_rewritten() -> None:
    session = talk(
        [TakesAll(), rewrites(MAIL="FROM:<carol@client.example>", EHLO="other.example", NOOP="\n")],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM: whatever
        S: 250 ...
        C: NOOP
        S: 501 5.5.4 ...
        C: \\xff
        S: 500 5.5.2 ...
        C: RCPT TO:<bob@example.org>
        S: 250 ...
        C: DATA
        S: 354 ...
        C: hello
        C: .
        S: 250 ...
        """,
    )
    assert session.hello == "other.example"


def test_arguments_that_break() -> None:
    talk(
        [rewrites(MAIL=KeyError())],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 451 4.3.0 Internal error
        C: NOOP
        S: 250 ...
        """,
    )


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
def test_behind_an_argument_that_breaks_a_message_is_no_command(verb: str) -> None:
    talk(
        [TakesAll(), rewrites(**{verb: KeyError()})],
        f"""
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        C: RCPT TO:<bob@example.org>
        C: {verb} 6
        C: NOOP
        S: 250 ...
        S: 250 ...
        S: 421 4.3.0 Internal error
        S: <closed>
        """,
    )


# -- Limits ---------------------------------------------------------------------------------------


def test_limits_can_be_rewritten() -> None:
    talk(
        [TakesAll(), rewrites(message_size_for_all=2000, message_size=1000, recipients=1)],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-SIZE 2000
        S: 250 ...
        C: MAIL FROM:<anne@client.example> SIZE=1001
        S: 552 5.3.4 Message too big
        C: MAIL FROM:<anne@client.example> SIZE=1000
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 250 ...
        C: RCPT TO:<carol@example.org>
        S: 452 4.5.3 Too many recipients
        """,
    )


@dataclass
class SmallBox(Plugin):
    """One recipient takes small messages only."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def setting(self, name: str, value: int, address: Address | None) -> int:
        self.asked.append((name, str(address or "all")))
        small = name == "message_size" and address == Address("bob", "example.org")
        return min(value, 10) if small else value


def test_a_recipient_may_have_a_limit() -> None:
    box = SmallBox()
    talk(
        [TakesAll(), box],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example> SIZE=11
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 552 5.3.4 Message too big
        C: RCPT TO:<carol@example.org>
        S: 250 ...
        """,
    )
    assert box.asked == [
        ("message_size", "all"),
        ("message_size", "<anne@client.example>"),
        ("recipients", "<anne@client.example>"),
        ("message_size", "<bob@example.org>"),
        ("message_size", "<carol@example.org>"),
    ]


@pytest.mark.parametrize("name", ["message_size_for_all", "message_size", "recipients"])
@pytest.mark.parametrize("value", [KeyError(), "big", None])
def test_limits_that_break(name: str, value: Any) -> None:
    at_ehlo = name == "message_size_for_all"
    talk(
        [rewrites(**{name: value})],
        f"""
        S: 220 ...
        C: EHLO client.example
        S: {"451 4.3.0 Internal error" if at_ehlo else "250 ..."}
        C: MAIL FROM:<>
        S: {"503 5.5.1 Say EHLO first" if at_ehlo else "451 4.3.0 Internal error"}
        C: RCPT TO:<bob@example.org>
        S: 503 5.5.1 MAIL comes before RCPT
        """,
    )


# -- Received -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ("by me", "250 2.0.0 ..."),
        (KeyError(), "451 4.3.0 Internal error"),
        (None, "451 4.3.0 Internal error"),
        ("by me\r\nSubject: forged", "451 4.3.0 Internal error"),
        ("by\0me", "451 4.3.0 Internal error"),
    ],
)
def test_a_received_field_is_put_on_top_or_the_message_is_not_taken(value: Any, reply: str) -> None:
    @dataclass
    class Keeps(Plugin):
        """Keeps what it gets."""

        kept: list[bytes] = field(default_factory=list)

        def queue(self, transaction: Transaction) -> AnswerForEach:
            self.kept.append(bytes(transaction.message))
            return Accept()

    keeps = Keeps()
    talk(
        [keeps, TakesAll(), rewrites(received=value)],
        f"""
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 250 ...
        C: DATA
        S: 354 ...
        C: Subject: Hello
        C: .
        S: {reply}
        C: NOOP
        S: 250 ...
        """,
    )
    whole = b"Authentication-Results: mx.example; none\r\nReceived: by me\r\nSubject: Hello\r\n"
    assert keeps.kept == ([whole] if reply.startswith("250") else [])
