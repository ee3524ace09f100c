"""One line about each message and one about each session, whatever becomes of them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Credentials,
    Defer,
    Deny,
    Each,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
    Verdict,
)
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.config.log import MESSAGE_LOGGER, SESSION_LOGGER
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.journal.summaries import Summaries
from gatepost.limits import Limits
from gatepost.server.conversation import Conversation
from gatepost.session import Endpoint
from gatepost.testing import LMTP, MX, run
from gatepost.testing.samples import A_TLS

USUAL = Limits()

HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<anne@client.example>\r\n"
BOB, CAROL = b"RCPT TO:<bob@example.org>\r\n", b"RCPT TO:<carol@example.org>\r\n"
ENVELOPE = MAIL + BOB
LETTER = b"Subject: Hello\r\n\r\nHow are you?\r\n"
SENT = ENVELOPE + b"DATA\r\n" + LETTER + b".\r\n"


@dataclass
class Box(Plugin):
    """Accepts every recipient and every message, except where a hook has another verdict."""

    verdicts: dict[str, Any] = field(default_factory=dict)

    def connect(self, session: Session) -> Answer:
        return self.verdicts.get("connect")

    def helo(self, session: Session, name: str) -> Answer:
        return self.verdicts.get("helo")

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        return self.verdicts.get("auth")

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        return self.verdicts.get("mail")

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        verdict: Verdict = self.verdicts.get("rcpt", Accept())
        return verdict

    def data(self, transaction: Transaction) -> Answer:
        return self.verdicts.get("data")

    def headers(self, transaction: Transaction) -> Answer:
        return self.verdicts.get("headers")

    def message(self, transaction: Transaction) -> AnswerForEach:
        return self._of_each("message", transaction, None)

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return self._of_each("queue", transaction, Accept())

    def _of_each(self, hook: str, transaction: Transaction, usual: Accept | None) -> AnswerForEach:
        answer = self.verdicts.get(hook, usual)
        if not isinstance(answer, dict):
            assert answer is None or isinstance(answer, Accept | Deny | Defer)
            return answer
        return Each({who: answer[who.address.local] for who in transaction.recipients})


class Ear(logging.Handler):
    """Keeps the lines about messages and sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self, event: str) -> list[str]:
        """Lines as a person reads them, with ID and T for what differs each time."""
        return [
            re.sub(r"\d+\.\d\d s", "T", record.getMessage().replace(facts["session"], "ID"))
            for record, facts in self.told(event)
        ]

    def facts(self, event: str) -> list[dict[str, Any]]:
        return [facts for _, facts in self.told(event)]

    def told(self, event: str) -> list[tuple[logging.LogRecord, dict[str, Any]]]:
        return [
            (record, record.__dict__["fields"])
            for record in self.records
            if record.__dict__.get("event") == event
        ]


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Somebody who reads the summaries, and nothing else."""
    loggers = [logging.getLogger(name) for name in (MESSAGE_LOGGER, SESSION_LOGGER)]
    handler = Ear()
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def talk(
    *octets: bytes, box: Box | None = None, listen: Listen = MX, limits: Limits = USUAL
) -> Conversation:
    """Have a client say something, perhaps in several pieces, and go."""
    chain = Chain([(Summaries(), Placement("journal")), (box or Box(), Placement("box"))])
    site = Site("mx.example", limits=limits)
    session = Session(Endpoint("192.0.2.1", 7), Endpoint("198.51.100.1", 25), "mx")
    conversation = Conversation(session, chain, site, listen=listen)

    async def hold() -> None:
        for piece in octets:
            await _say(conversation, piece)
        await conversation.end()

    run(hold())
    return conversation


def who(limits: Limits) -> str:
    """Whom a line names that a limit has cut short, the one that is not as usual."""
    unusual = [f.name for f in fields(Limits) if getattr(limits, f.name) != getattr(USUAL, f.name)]
    return f"limit {unusual[0]}" if unusual else "the server itself"


async def _say(conversation: Conversation, octets: bytes) -> None:
    conversation.receive_data(octets)
    while conversation.more:
        await conversation.respond()


# -- A message ------------------------------------------------------------------------------------

WHO = "ID.1 <anne@client.example> -> <bob@example.org>"
FROM = "from 192.0.2.1:7 (client.example) in T"


def test_all_that_matters_of_a_message_stands_on_one_line(ear: Ear) -> None:
    talk(HELLO + SENT)
    size = ear.facts("message")[0]["size"]
    assert size > len(LETTER)  # what we put on top of it goes out, too
    assert ear.texts("message") == [
        f"{WHO}, {size} octets {FROM}: 250 2.0.0 Queued as ID.1 (box on queue)"
    ]


def test_programs_get_the_same_as_fields(ear: Ear) -> None:
    session = talk(HELLO + SENT, box=Box({"queue": Accept("Thank you")})).session
    (facts,) = ear.facts("message")
    assert facts.pop("seconds") >= 0
    assert facts.pop("size") > len(LETTER)
    assert facts == {
        "session": session.id,
        "message": f"{session.id}.1",
        "listener": "mx",
        "client": "192.0.2.1",
        "port": 7,
        "name": "",
        "hello": "client.example",
        "user": "",
        "mechanism": "",
        "tls": "",
        "cipher": "",
        "from": "anne@client.example",
        "to": ["bob@example.org"],
        "recipients": 1,
        "limits": [],
        "verdict": "accept",
        "plugin": "box",
        "hook": "queue",
        "reason": "Thank you",
        "code": 250,
        "reply": "250 2.0.0 Thank you",
    }


def test_tls_and_the_user_are_named(ear: Ear) -> None:
    chain = Chain([(Summaries(), Placement("journal")), (Box(), Placement("box"))])
    session = Session(Endpoint("192.0.2.1", 7), tls=A_TLS, user="anne", mechanism="PLAIN")
    conversation = Conversation(session, chain, Site("mx.example"))
    run(_say(conversation, HELLO + SENT))
    assert "(client.example, as anne, TLSv1.3)" in ear.texts("message")[0]
    facts = ear.facts("message")[0]
    assert [facts[name] for name in ("user", "mechanism", "tls", "cipher")] == [
        "anne", "PLAIN", "TLSv1.3", "TLS_AES_256_GCM_SHA384",
    ]  # fmt: skip


NO, LATER = Deny("No sales"), Defer("Too much to do")

# fmt: off
#: What a plugin decides on a hook, and what the line ends in: with it, who decided it.
DECIDED = [
    ("mail",    NO,    "not sent; mail: box denies: No sales"),
    ("mail",    LATER, "not sent; mail: box defers: Too much to do"),
    ("rcpt",    NO,    "not sent; rcpt: box denies: No sales"),
    ("rcpt",    None,  "not sent; rcpt: nobody denies: We do not relay"),
    ("data",    NO,    "not sent; data: box denies: No sales"),
    ("headers", NO,    "550 5.7.1 No sales (box on headers)"),
    ("headers", LATER, "451 4.7.1 Too much to do (box on headers)"),
    ("message", NO,    "550 5.7.1 No sales (box on message)"),
    ("message", LATER, "451 4.7.1 Too much to do (box on message)"),
    ("message", Deny(), "550 5.7.1 Message refused (box on message)"),
    ("queue",   NO,    "554 5.6.0 No sales (box on queue)"),
    ("queue",   LATER, "451 4.3.0 Too much to do (box on queue)"),
    ("queue",   None,  "451 4.3.0 Nobody took the message (nobody on queue)"),
]
# fmt: on


@pytest.mark.parametrize(("hook", "verdict", "end"), DECIDED)
def test_a_refusal_names_the_plugin_and_its_reason(
    hook: str, verdict: Verdict | None, end: str, ear: Ear
) -> None:
    refused = hook in ("mail", "rcpt", "data")
    talk(HELLO + (ENVELOPE + b"DATA\r\n" if refused else SENT), box=Box({hook: verdict}))
    (line,) = ear.texts("message")
    assert line.endswith(f": {end}")
    (facts,) = ear.facts("message")
    assert facts["hook"] == hook
    assert facts["plugin"] == ("nobody" if verdict is None else "box")
    defers = verdict is LATER or (verdict is None and hook == "queue")
    assert facts["verdict"] == ("defer" if defers else "deny")
    assert ("code" in facts) is not refused


#: What the server itself refuses: what was sent, the limits, and what is said to it.
BY_ITSELF = [
    (
        b"DATA\r\n" + b"x" * 2000 + b"\r\n.\r\n",
        Limits(message_size=1000),
        "552 5.3.4 Message too big",
    ),
    (
        b"BDAT 2000\r\n" + b"x" * 2000 + b"BDAT 0 LAST\r\n",
        Limits(message_size=1000),
        "552 5.3.4 Message too big",
    ),
    (
        b"DATA\r\nReceived: x\r\nReceived: x\r\n\r\n.\r\n",
        Limits(received=2),
        "554 5.4.6 The message goes round in circles",
    ),
    (
        b"DATA\r\nSubject: " + b"x" * 2000 + b"\r\n\r\n.\r\n",
        Limits(header_size=1000),
        "554 5.6.0 The header is too big",
    ),
    (
        b"DATA\r\n" + b"x" * 3000 + b"\r\n.\r\n",
        Limits(text_line=2000),
        "554 5.6.0 The message has a line that is too long",
    ),
    (
        b"DATA\r\nSubject: x\n\r\n\r\n.\r\n",
        Limits(),
        "550 5.5.2 The message has a bare CR or LF; lines end with CR LF",
    ),
]


@pytest.mark.parametrize(("octets", "limits", "reply"), BY_ITSELF)
def test_what_the_server_itself_refuses_is_told_as_that(
    octets: bytes, limits: Limits, reply: str, ear: Ear
) -> None:
    talk(HELLO + ENVELOPE + octets, limits=limits)
    (line,) = ear.texts("message")
    assert line.endswith(f": {reply} ({who(limits)})")
    (facts,) = ear.facts("message")
    assert (facts["verdict"], facts["plugin"]) == ("deny", "")
    assert facts["code"] == int(reply[:3])


def test_a_message_that_is_too_big_has_the_size_that_came(ear: Ear) -> None:
    talk(
        HELLO + ENVELOPE + b"DATA\r\n" + b"x" * 2000 + b"\r\n.\r\n",
        limits=Limits(message_size=1000),
    )
    assert ear.facts("message")[0]["size"] == 2002


def test_its_size_is_counted_on_when_it_is_refused_already(ear: Ear) -> None:
    letter = [b"x" * 1500 + b"\r\n", b"x" * 500, b"\r\n", b"Hello\r\n.\r\n"]
    talk(HELLO + ENVELOPE + b"DATA\r\n", *letter, limits=Limits(message_size=1000))
    assert ear.facts("message")[0]["size"] == 2011


def test_a_message_that_is_announced_as_too_big_is_told_of(ear: Ear) -> None:
    talk(HELLO + MAIL.replace(b">", b"> SIZE=1001") + b"QUIT\r\n", limits=Limits(message_size=1000))
    assert ear.texts("message") == [
        f"ID.1 <anne@client.example> -> (nobody), 0 octets {FROM}: not sent (limit message_size)"
    ]


@pytest.mark.parametrize("goodbye", [b"RSET\r\n", b"QUIT\r\n", b"EHLO again.example\r\n", b""])
def test_a_message_that_is_given_up_is_told_of_once(goodbye: bytes, ear: Ear) -> None:
    talk(HELLO + ENVELOPE + goodbye)
    (line,) = ear.texts("message")
    assert line.startswith(f"{WHO}, 0 octets ")
    assert line.endswith(": not sent")
    assert "code" not in ear.facts("message")[0]


def test_of_a_client_that_goes_in_the_middle_it_is_told_how_far_it_came(ear: Ear) -> None:
    talk(HELLO + ENVELOPE + b"DATA\r\n" + LETTER + b"I am")
    assert ear.texts("message") == [f"{WHO}, {len(LETTER) + 4} octets {FROM}: not sent"]
    assert "gone without a goodbye after T and 1 message, 0 taken" in ear.texts("session")[0]


def test_a_message_that_a_limit_cut_short_names_the_limit(ear: Ear) -> None:
    talk(HELLO + ENVELOPE + b"NONSENSE\r\n" * 3, limits=Limits(errors=2))
    assert ear.texts("message")[0].endswith(": not sent; 421 4.7.0 Too many errors")


def test_many_recipients_are_counted(ear: Ear) -> None:
    recipients = b"".join(b"RCPT TO:<r%d@example.org>\r\n" % number for number in range(8))
    talk(HELLO + MAIL + recipients + b"DATA\r\n.\r\n")
    assert "<r4@example.org> and 3 more," in ear.texts("message")[0]
    facts = ear.facts("message")[0]
    assert (len(facts["to"]), facts["recipients"]) == (5, 8)


def test_each_message_of_a_session_has_its_own_line_and_its_own_cause(ear: Ear) -> None:
    box = Box({"message": Deny("No sales")})
    talk(HELLO + SENT + MAIL + b"RSET\r\n" + SENT, box=box)
    assert [line.partition(" ")[0] for line in ear.texts("message")] == ["ID.1", "ID.2", "ID.3"]
    assert [facts["reason"] for facts in ear.facts("message")] == ["No sales", "", "No sales"]


# -- LMTP -----------------------------------------------------------------------------------------

LHLO = HELLO.replace(b"EHLO", b"LHLO")
TO_BOTH = LHLO + MAIL + BOB + CAROL + b"DATA\r\n" + LETTER + b".\r\n"
FULL = Deny("Mailbox full", code=552, status="5.2.2")


@pytest.mark.parametrize("hook", ["message", "queue"])
@pytest.mark.parametrize("bob_fares", [True, False])
def test_recipients_who_fare_differently_are_told_one_by_one(
    hook: str, bob_fares: bool, ear: Ear
) -> None:
    verdicts = {"bob": Accept(), "carol": FULL} if bob_fares else {"bob": FULL, "carol": Accept()}
    talk(TO_BOTH, box=Box({hook: verdicts}), listen=LMTP)
    other = "carol" if bob_fares else "bob"
    (line,) = ear.texts("message")
    assert "-> <bob@example.org> <carol@example.org>, " in line
    assert line.endswith(
        ": 250 2.0.0 Queued as ID.1 (box on queue); "
        f"<{other}@example.org> 552 5.2.2 Mailbox full (box on {hook})"
    )
    (facts,) = ear.facts("message")
    assert (facts["verdict"], facts["code"], facts["recipients"]) == ("accept", 250, 2)
    assert facts["others"] == {f"{other}@example.org": "552 5.2.2 Mailbox full"}
    assert ear.facts("session")[0]["taken"] == 1


def test_a_chunk_that_is_refused_is_told_of_for_all(ear: Ear) -> None:
    octets = LHLO + MAIL + BOB + CAROL + b"BDAT 2000\r\n" + b"x" * 2000
    talk(octets, listen=LMTP, limits=Limits(message_size=1000))
    (line,) = ear.texts("message")
    assert "-> <bob@example.org> <carol@example.org>, 2000 octets " in line
    assert line.endswith(": 552 5.3.4 Message too big (limit message_size)")
    assert "others" not in ear.facts("message")[0]


def test_recipients_who_fare_alike_are_told_together(ear: Ear) -> None:
    talk(TO_BOTH, box=Box({"message": FULL}), listen=LMTP)
    (line,) = ear.texts("message")
    assert line.endswith(": 552 5.2.2 Mailbox full (box on message)")
    assert "others" not in ear.facts("message")[0]


def test_nobody_is_taken_for_somebody_who_spoke_for_another_recipient(ear: Ear) -> None:
    later = Defer("Not before noon")
    talk(TO_BOTH, box=Box({"queue": {"bob": later, "carol": FULL}}), listen=LMTP)
    (facts,) = ear.facts("message")
    assert (facts["verdict"], facts["reason"]) == ("defer", "Not before noon")


def test_in_smtp_a_mixed_answer_is_the_server_s_own(ear: Ear) -> None:
    octets = HELLO + MAIL + BOB + CAROL + b"DATA\r\n" + LETTER + b".\r\n"
    talk(octets, box=Box({"queue": {"bob": Accept(), "carol": FULL}}))
    (line,) = ear.texts("message")
    assert line.endswith(": 451 4.3.0 Not all recipients could be served (the server itself)")


# -- A session ------------------------------------------------------------------------------------


def test_all_that_matters_of_a_session_stands_on_one_line(ear: Ear) -> None:
    talk(HELLO + SENT + MAIL + b"RSET\r\n" + SENT + b"QUIT\r\n")
    (facts,) = ear.facts("session")
    assert (facts["messages"], facts["taken"]) == (3, 2)
    assert facts["octets"] == sum(one["size"] for one in ear.facts("message"))
    assert (facts["verdict"], facts["code"]) == ("", 221)
    assert ear.texts("session") == [
        "ID 192.0.2.1:7 (client.example) gone after T and 3 messages, 2 taken, "
        f"{facts['octets']} octets"
    ]


def test_a_client_without_a_greeting_and_a_goodbye_is_called_that(ear: Ear) -> None:
    talk(b"")
    assert ear.texts("session") == [
        "ID 192.0.2.1:7 (no greeting) gone without a goodbye after T and 0 messages"
    ]


# fmt: off
#: What is decided at the door, what the client says, and what the line ends in behind its time.
AT_THE_DOOR = [
    ("connect", Deny("Listed"),  b"",          "0 messages; connect: box denies: Listed"),
    ("connect", Deny("Listed"),  b"QUIT\r\n",  "0 messages; connect: box denies: Listed"),
    ("connect", Defer("Busy"),   b"",          "0 messages: 421 4.7.0 Busy (box on connect)"),
    ("connect", Deny("Listed", disconnect=True), b"",
                                               "0 messages: 554 5.7.1 Listed (box on connect)"),
    ("helo",    Deny("A liar"),  HELLO,        "0 messages; helo: box denies: A liar"),
    ("helo",    Defer("Wait", disconnect=True), HELLO,
                                               "0 messages: 450 4.7.1 Wait (box on helo)"),
    ("helo",    Defer("Wait", code=421), HELLO, "0 messages: 421 4.7.1 Wait (box on helo)"),
    ("rcpt",    Deny("Enough", disconnect=True), HELLO + ENVELOPE,
                                    "1 message, 0 taken, 0 octets: 550 5.7.1 Enough (box on rcpt)"),
]
# fmt: on


@pytest.mark.parametrize(("hook", "verdict", "octets", "end"), AT_THE_DOOR)
def test_who_is_turned_away_is_told_of_with_the_plugin_and_its_reason(
    hook: str, verdict: Verdict, octets: bytes, end: str, ear: Ear
) -> None:
    talk(octets, box=Box({hook: verdict}))
    (line,) = ear.texts("session")
    assert line.endswith(f" after T and {end}")
    (facts,) = ear.facts("session")
    assert (facts["plugin"], facts["hook"]) == ("box", hook)
    assert facts["reason"] == verdict.text
    assert facts["verdict"] == ("deny" if isinstance(verdict, Deny) else "defer")


#: What ends a session without a plugin: what the client says, the limits, and what it is told.
HAD_ENOUGH = [
    (b"NONSENSE\r\n" * 3, Limits(errors=2), "421 4.7.0 Too many errors"),
    (
        HELLO + b"NOOP\r\n" * 3,
        Limits(idle_commands=2),
        "421 4.7.0 Too many commands without a message",
    ),
    (
        HELLO + (MAIL + b"RSET\r\n") * 2,
        Limits(messages=1),
        "421 4.7.0 Too many messages on one connection",
    ),
    (b"GET / HTTP/1.1\r\n", Limits(), "521 5.7.0 This is a mail server"),
    (
        HELLO + b"STARTTLS\r\nNOOP\r\n",
        Limits(),
        "503 5.5.1 Nothing may follow STARTTLS but a handshake",
    ),
]


@pytest.mark.parametrize(("octets", "limits", "reply"), HAD_ENOUGH)
def test_whom_the_server_itself_sends_away_is_told_of_with_the_reply(
    octets: bytes, limits: Limits, reply: str, ear: Ear
) -> None:
    box = Box({"helo": Deny("A liar")}) if octets.startswith(b"GET") else Box()
    talk(octets, box=box, listen=replace(MX, tls="starttls"), limits=limits)
    (line,) = ear.texts("session")
    assert " sent away after T and " in line
    assert line.endswith(f": {reply} ({who(limits)})")
    (facts,) = ear.facts("session")
    assert (facts["plugin"], facts["code"], facts["reply"]) == ("", int(reply[:3]), reply)


WITH_AUTH = replace(MX, auth_without_tls=True)
AUTH = b"AUTH PLAIN AGFubmUAeA==\r\n"


def test_a_failed_authentication_is_why_a_client_brought_no_message(ear: Ear) -> None:
    talk(HELLO + AUTH, box=Box({"auth": Deny("Who?")}), listen=WITH_AUTH)
    assert ear.texts("session")[0].endswith(" after T and 0 messages; auth: box denies: Who?")


def test_what_was_refused_at_the_door_does_not_count_where_mail_has_come(ear: Ear) -> None:
    talk(HELLO + AUTH + SENT + b"QUIT\r\n", box=Box({"auth": Deny("Who?")}), listen=WITH_AUTH)
    assert ear.texts("session")[0].endswith(" octets")
    assert ear.facts("session")[0]["plugin"] == ""


# -- Over real sockets ----------------------------------------------------------------------------


def serve(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def _hear(gate: Gate, octets: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(octets)
    heard = await reader.read()
    writer.close()
    await writer.wait_closed()
    return heard


def test_who_is_one_too_many_is_told_of_with_the_limit(ear: Ear) -> None:
    async def scenario() -> None:
        async with Gate([Box()], limits=Limits(connections=1)) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            await reader.readline()
            assert (await _hear(gate)).startswith(b"421 4.7.0 Too many connections")
            writer.close()
            await writer.wait_closed()

    serve(scenario())
    lines = ear.texts("session")
    assert "(no greeting) sent away after T and 0 messages" in lines[0]
    assert lines[0].endswith(": 421 4.7.0 Too many connections (limit connections)")
    assert len(lines) == 2


def test_who_says_nothing_is_told_of_with_the_time_out(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.app.SWEEP_INTERVAL", 0.01)

    async def scenario() -> None:
        async with Gate([Box()], limits=Limits(command_timeout=0.01)) as gate:
            await _hear(gate)

    serve(scenario())
    assert ear.texts("session")[0].endswith(": 421 4.4.2 Time is over (limit command_timeout)")


def test_who_is_there_when_the_server_stops_is_told_of_with_that(ear: Ear) -> None:
    async def scenario() -> None:
        gate = Gate([Box()])
        await gate.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        await reader.readline()
        stopping = asyncio.create_task(gate.stop())
        await reader.read()
        writer.close()
        await stopping

    serve(scenario())
    assert ear.texts("session")[0].endswith(
        ": 421 4.3.2 The server is going down (the server itself)"
    )


def test_where_nobody_reads_them_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    talk(HELLO + SENT)
    assert caplog.records == []
