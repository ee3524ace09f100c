"""One client, from banner to goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Defer,
    Deny,
    Heard,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
    Verdict,
)
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.reply import Reply
from gatepost.server.conversation import BATCH, Conversation
from gatepost.testing import LMTP, MX, a_session, converse, run


class TakesAll(Plugin):
    """Accepts every recipient and every message."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


@dataclass
class Answers(Plugin):
    """Answers what it was given for each hook, or raises it."""

    verdicts: dict[str, Any]

    def connect(self, session: Session) -> Answer:
        return self._answer("connect")

    def helo(self, session: Session, name: str) -> Answer:
        return self._answer("helo")

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        return self._answer("mail")

    def rset(self, session: Session, text: str) -> Answer:
        return self._answer("rset")

    def noop(self, session: Session, text: str) -> Answer:
        return self._answer("noop")

    def vrfy(self, session: Session, text: str) -> Answer:
        return self._answer("vrfy")

    def expn(self, session: Session, text: str) -> Answer:
        return self._answer("expn")

    def help(self, session: Session, text: str) -> Answer:
        return self._answer("help")

    def quit(self, session: Session, text: str) -> Answer:
        return self._answer("quit")

    def unrecognized(self, session: Session, verb: str, text: str) -> Answer:
        return self._answer("unrecognized")

    def _answer(self, hook: str) -> Answer:
        answer = self.verdicts.get(hook)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def answers(**verdicts: Any) -> Answers:
    return Answers(verdicts)


def talk(plugins: Iterable[Plugin], script: str, **keys: Any) -> Session:
    return run(converse(plugins, script, **keys))


# -- The whole way --------------------------------------------------------------------------------


def test_a_message() -> None:
    session = talk(
        [TakesAll()],
        """
        S: 220 mx.example ESMTP
        C: EHLO client.example
        S: 250-mx.example
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-ENHANCEDSTATUSCODES
        S: 250-LIMITS MAILMAX=1000 RCPTMAX=1000
        S: 250 HELP
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 Sender ok
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.5 Recipient ok
        C: DATA
        S: 354 End with a dot on a line
        C: Subject: Hello
        C:
        C: How are you?
        C: .
        S: 250 2.0.0 Queued as ...
        C: QUIT
        S: 221 2.0.0 mx.example says goodbye
        S: <closed>
        """,
    )
    assert (session.hello, session.verb, session.messages) == ("client.example", "EHLO", 1)


def test_helo_offers_nothing() -> None:
    talk(
        [TakesAll()],
        """
        S: 220 ...
        C: HELO client.example
        S: 250 mx.example
        C: MAIL FROM:<anne@client.example> SMTPUTF8
        S: 555 5.5.4 ...
        C: MAIL FROM:<anne@client.example> SIZE=5 BODY=8BITMIME AUTH=<>
        S: 250 ...
        """,
    )


def test_lmtp_greets_with_lhlo() -> None:
    talk(
        [],
        """
        S: 220 mx.example LMTP
        C: EHLO client.example
        S: 500 5.5.2 ...
        C: LHLO client.example
        S: 250-mx.example
        S: 250 ...
        C: HELP
        S: 214 2.0.0 Commands: LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP
        """,
        listen=LMTP,
    )


def test_a_greeting_begins_anew() -> None:
    session = talk(
        [TakesAll()],
        """
        S: 220 ...
        C: EHLO first.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: EHLO second.example
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 503 5.5.1 MAIL comes before RCPT
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 250 ...
        C: HELO third.example
        S: 250 mx.example
        C: DATA
        S: 503 ...
        """,
    )
    assert (session.hello, session.verb, session.messages) == ("third.example", "HELO", 2)


def test_a_refused_greeting_changes_nothing() -> None:
    class OnlyEhlo(Plugin):
        """Takes no HELO."""

        def helo(self, session: Session, name: str) -> Answer:
            return Deny() if session.verb == "HELO" else None

    session = talk(
        [OnlyEhlo()],
        """
        S: 220 ...
        C: HELO early.example
        S: 550 5.7.1 early.example is not welcome
        C: MAIL FROM:<>
        S: 503 5.5.1 Say EHLO first
        C: EHLO good.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: HELO bad.example
        S: 550 ...
        C: EHLO
        S: 501 5.5.4 Syntax: EHLO name
        C: RCPT TO:<bob@example.org>
        S: 550 5.7.1 We do not relay
        C: BDAT 5
        C: 12345\\
        S: 554 5.5.1 No valid recipients
        """,
    )
    assert (session.hello, session.verb) == ("good.example", "EHLO")


def test_what_needs_no_greeting() -> None:
    talk(
        [],
        """
        S: 220 ...
        C: NOOP
        S: 250 2.0.0 Ok
        C: RSET
        S: 250 2.0.0 Ok
        C: VRFY bob
        S: 252 2.5.0 ...
        C: EXPN staff
        S: 502 5.5.1 Not here
        C: HELP
        S: 214 2.0.0 Commands: EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY EXPN HELP
        C: FROB
        S: 500 5.5.2 Command not recognized
        C: RCPT TO:<bob@example.org>
        S: 503 5.5.1 MAIL comes before RCPT
        """,
    )


# -- Who is turned away ---------------------------------------------------------------------------


def test_who_is_turned_away_may_say_goodbye() -> None:
    talk(
        [answers(connect=Deny())],
        """
        S: 554 5.7.1 You are not welcome here
        C: EHLO client.example
        S: 503 5.5.1 You were turned away; all that is left is QUIT
        C: NOOP
        S: 503 ...
        C: FROB
        S: 503 ...
        C: QUIT
        S: 221 ...
        S: <closed>
        """,
    )


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (Deny("Go away", disconnect=True), "554 5.7.1 Go away"),
        (Deny(code=521, disconnect=True), "521 5.7.1 You are not welcome here"),
        (Defer(), "421 4.7.0 Come back later"),
        (KeyError("what"), "421 4.3.0 Internal error"),
        ("220 Welcome", "421 4.3.0 Internal error"),
    ],
)
def test_who_is_sent_away_at_the_door(verdict: Any, line: str) -> None:
    talk([answers(connect=verdict)], f"S: {line}\nS: <closed>")


@pytest.mark.parametrize("hook", ["noop", "vrfy", "expn", "help", "rset", "helo", "unrecognized"])
@pytest.mark.parametrize("verdict", [Deny("No", disconnect=True), Defer("No", disconnect=True)])
def test_any_refusal_may_hang_up(hook: str, verdict: Deny | Defer) -> None:
    line = {"helo": "EHLO x", "unrecognized": "FROB", "vrfy": "VRFY x", "expn": "EXPN x"}
    digit = 5 if isinstance(verdict, Deny) else 4
    talk(
        [answers(**{hook: verdict})],
        f"""
        S: 220 ...
        C: {line.get(hook, hook.upper())}
        S: {digit}...
        S: <closed>
        """,
    )


def test_plugins_answer_commands() -> None:
    talk(
        [
            answers(
                noop=Accept("Still here"),
                vrfy=Deny("Never"),
                expn=Accept("<bob@example.org>\n<carol@example.org>"),
                help=Accept("See https://mx.example/"),
                unrecognized=Accept("Frobbed"),
                rset=Deny("No way back"),
                quit=Accept("See you"),
            )
        ],
        """
        S: 220 ...
        C: NOOP
        S: 250 2.0.0 Still here
        C: VRFY bob
        S: 550 5.7.1 Never
        C: EXPN staff
        S: 250-2.1.5 <bob@example.org>
        S: 250 2.1.5 <carol@example.org>
        C: HELP
        S: 214 2.0.0 See https://mx.example/
        C: FROB it
        S: 250 2.0.0 Frobbed
        C: RSET
        S: 550 5.7.1 No way back
        C: QUIT
        S: 221 2.0.0 See you
        """,
    )


def test_the_words_of_a_greeting_are_no_extensions() -> None:
    talk(
        [answers(helo=Accept("hello\nSTARTTLS"))],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250-mx.example hello STARTTLS
        S: 250-PIPELINING
        S: 250 ...
        """,
    )


# -- SMTPUTF8 -------------------------------------------------------------------------------------


def test_internationalized_addresses() -> None:
    class Echo(Plugin):
        """Answers with the recipient's name."""

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
            return Accept(f"{recipient} ok")

    talk(
        [Echo()],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<jürgen@bücher.example>
        S: 553 5.6.7 ...
        C: MAIL FROM:<jürgen@bücher.example> SMTPUTF8
        S: 250 ...
        C: RCPT TO:<zoë@bücher.example>
        S: 250 2.1.5 <zoë@bücher.example> ok
        C: RSET
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RCPT TO:<zoë@bücher.example>
        S: 553 5.6.7 ...
        C: RCPT TO:<zo\\xeb@example.org>
        S: 500 5.5.2 ...
        """,
    )


# -- Listening ------------------------------------------------------------------------------------


@dataclass
class Listens(Plugin):
    """Writes down what it hears."""

    heard: list[str] = field(default_factory=list)

    def startup(self, site: Site) -> Heard:
        self.heard.append("startup")
        return None

    def shutdown(self, site: Site) -> Heard:
        self.heard.append("shutdown")
        return None

    def reset(self, transaction: Transaction) -> Heard:
        self.heard.append(f"reset {transaction.number}")
        return None

    def queued(self, transaction: Transaction, reply: Reply) -> Heard:
        self.heard.append(f"queued {transaction.number} {reply.code}")
        return None

    async def disconnect(self, session: Session) -> None:
        await asyncio.sleep(1)
        self.heard.append("disconnect")


def test_what_listeners_hear() -> None:
    listens = Listens()
    talk(
        [listens, TakesAll()],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RSET
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RCPT TO:<bob@example.org>
        S: 250 ...
        C: DATA
        S: 354 ...
        C: .
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        """,
    )
    resets = ["reset 1", "queued 2 250", "reset 2", "reset 3", "reset 4"]
    assert listens.heard == ["startup", *resets, "disconnect", "shutdown"]


def test_a_refused_transaction_is_reset_as_well() -> None:
    listens = Listens()
    talk(
        [listens, answers(mail=Deny())],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 550 ...
        """,
    )
    assert listens.heard == ["startup", "reset 1", "disconnect", "shutdown"]


def test_a_client_that_vanishes_while_a_hook_waits_is_reset_as_well() -> None:
    class Waits(Plugin):
        """Waits for ever."""

        def mail(self, transaction: Transaction, sender: Address) -> Awaitable[Verdict | None]:
            return asyncio.get_running_loop().create_future()

    async def vanish() -> list[str]:
        listens = Listens()
        chain = Chain([(listens, Placement("listens")), (Waits(), Placement("waits"))])
        conversation = Conversation(a_session(), chain, Site("mx.example"))
        conversation.receive_data(b"EHLO client.example\r\nMAIL FROM:<>\r\n")
        respond = conversation.respond()
        respond.send(None)  # as the connection steps it
        respond.close()
        await conversation.end()
        return listens.heard

    assert run(vanish()) == ["reset 1", "disconnect"]


def test_hooks_see_what_the_client_has_sent_ahead() -> None:
    @dataclass
    class Looks(Plugin):
        """Counts the octets behind the one that is answered."""

        seen: list[int] = field(default_factory=list)

        def connect(self, session: Session) -> Answer:
            self.seen.append(session.unread)
            return None

        def helo(self, session: Session, name: str) -> Answer:
            self.seen.append(session.unread)
            return None

    looks = Looks()
    talk([looks], "C: EHLO x\nC: NOOP\nS: 220 ...\nS: 250 ...\nS: 250 ...\nC: EHLO y\nS: 250 ...")
    assert looks.seen == [14, 6, 0]


# -- Laws -----------------------------------------------------------------------------------------


def test_others_get_a_turn_after_a_batch() -> None:
    async def flood() -> list[int]:
        conversation = Conversation(
            a_session(), Chain([]), Site("mx.example", limits=Limits(idle_commands=1000))
        )
        conversation.receive_data(b"NOOP\r\n" * (2 * BATCH + 5))
        counts = []
        while conversation.more:
            counts.append((await conversation.respond()).count(b"\r\n"))
        return counts

    assert run(flood()) == [BATCH, BATCH, 6]


inputs = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b"EHLO client.example\r\n", b"LHLO client.example\r\n", b"MAIL FROM:<anne@x>\r\n",
                b"RCPT TO:<bob@example.org>\r\n", b"RCPT TO:<bob@example.org>\r\n", b"DATA\r\n",
                b"BDAT 5\r\nhello", b"BDAT 3 LAST\r\n\r\n.", b"Subject: x\r\n", b"\r\n.\r\n", b"\n",
                b"RSET\r\n", b"NOOP\r\n", b"HELP\r\n", b"QUIT\r\n", b"VRFY x\r\n",
                "MAIL FROM:<ü@x> SMTPUTF8\r\n".encode(), "RCPT TO:<ü@x>\r\n".encode(),
            ]
        ),
    ),
    max_size=20,
)  # fmt: skip


@given(pieces=inputs, lmtp=st.booleans(), repair=st.booleans())
@settings(deadline=None, max_examples=150)
def test_no_client_breaks_a_conversation(pieces: list[bytes], lmtp: bool, repair: bool) -> None:
    async def hold() -> tuple[bytes, list[str]]:
        listens = Listens()
        chain = Chain([(listens, Placement("listens")), (TakesAll(), Placement("all"))])
        conversation = Conversation(
            a_session(), chain, Site("mx.example"), listen=LMTP if lmtp else MX, repair=repair
        )
        said = await conversation.respond()
        for piece in pieces:
            conversation.receive_data(piece)
            while conversation.more:
                said += await conversation.respond()
        await conversation.end()
        return said, listens.heard

    said, heard = run(hold())
    *lines, nothing = said.split(b"\r\n")
    assert nothing == b""
    assert all(line[:1] in b"2345" and line[3:4] in b" -" and len(line) <= 510 for line in lines)
    assert not any(octet < 32 or octet == 127 for line in lines for octet in line)
    resets = [one for one in heard if one.startswith("reset")]
    assert len(resets) == len(set(resets))
    assert heard[-1] == "disconnect"
