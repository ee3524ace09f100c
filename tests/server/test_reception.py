"""One message is taken in, from MAIL to the reply behind its last octet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from gatepost import (
    Accept,
    Answer,
    AnswerForEach,
    Defer,
    Deny,
    Each,
    Heard,
    Plugin,
    Recipient,
    Reply,
    Session,
    Site,
    Transaction,
    Verdict,
)
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.hooks.replies import MIXED, combined
from gatepost.limits import Limits
from gatepost.server.conversation import Conversation
from gatepost.testing import LMTP, a_recipient, a_session, converse, run

ENVELOPE = """
    S: 220 ...
    C: EHLO client.example
    S: 250 ...
    C: MAIL FROM:<anne@client.example>
    S: 250 ...
    C: RCPT TO:<bob@example.org>
    S: 250 ...
"""
TWO = f"""
    {ENVELOPE}
    C: RCPT TO:<carol@example.org>
    S: 250 ...
"""
TWO_BY_LMTP = TWO.replace("EHLO", "LHLO")
DATA = "\nC: DATA\nS: 354 ...\n"
GO_ON = "\nC: NOOP\nS: 250 ...\n"


@dataclass
class Keeps(Plugin):
    """Accepts every recipient and keeps every message, and notes which hooks it heard."""

    kept: list[bytes] = field(default_factory=list)
    moments: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def data(self, transaction: Transaction) -> Answer:
        self.moments.append("data")
        return None

    def headers(self, transaction: Transaction) -> Answer:
        self.moments.append("headers")
        return None

    def message(self, transaction: Transaction) -> AnswerForEach:
        self.moments.append("message")
        return None

    def queue(self, transaction: Transaction) -> AnswerForEach:
        self.moments.append(f"queue {len(transaction.recipients)}")
        received, _, message = bytes(transaction.message).partition(b"+0000\r\n")
        assert received.startswith(
            b"Authentication-Results: mx.example; none\r\n"
            b"Received: from client.example ([192.0.2.1])\r\n\tby mx.example"
        )
        self.kept.append(message)
        return Accept()

    def queued(self, transaction: Transaction, reply: Reply) -> Heard:
        self.replies.append(reply)
        return None


@dataclass
class Says(Plugin):
    """Answers on the hooks of a message."""

    verdicts: dict[str, Any]

    def data(self, transaction: Transaction) -> Answer:
        return self._answer("data", transaction)  # type: ignore[no-any-return]

    def headers(self, transaction: Transaction) -> Answer:
        return self._answer("headers", transaction)  # type: ignore[no-any-return]

    def message(self, transaction: Transaction) -> AnswerForEach:
        return self._answer("message", transaction)  # type: ignore[no-any-return]

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return self._answer("queue", transaction)  # type: ignore[no-any-return]

    def _answer(self, hook: str, transaction: Transaction) -> Any:
        verdict = self.verdicts.get(hook)
        if isinstance(verdict, list):  # one for each recipient, in order
            return Each(dict(zip(transaction.recipients, verdict, strict=False)))
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict


def says(**verdicts: Any) -> Says:
    return Says(verdicts)


def talk(plugins: list[Plugin], script: str, **keys: Any) -> Session:
    return run(converse(plugins, script, **keys))


def kept(script: str, *plugins: Plugin, **keys: Any) -> list[bytes]:
    """What is kept of the messages in a dialogue."""
    keeps = Keeps()
    talk([*plugins, keeps], script, **keys)
    return keeps.kept


# -- What arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("C: Subject: x\nC:\nC: Hello\nC: .", b"Subject: x\r\n\r\nHello\r\n"),
        ("C: .", b""),
        ("C:\nC: .", b"\r\n"),
        ("C: no header\nC: .", b"no header\r\n"),
        ("C: Subject: x\nC: .", b"Subject: x\r\n"),
        ("C:\nC: ..\nC: ...\nC: ..a\nC: .", b"\r\n.\r\n..\r\n.a\r\n"),
        ("C:\nC: a\\x00b\\xff\\xfe\nC: .", b"\r\na\0b\xff\xfe\r\n"),
        (f"C:\nC: {'x' * 998}\nC: .", b"\r\n" + b"x" * 998 + b"\r\n"),
        (f"C:\nC: {'x' * 65_534}\nC: .", b"\r\n" + b"x" * 65_534 + b"\r\n"),
    ],
)
def test_every_octet_arrives(lines: str, message: bytes) -> None:
    assert kept(f"{ENVELOPE}{DATA}{lines}\nS: 250 2.0.0 ...") == [message]


def test_hooks_of_a_message() -> None:
    keeps = Keeps()
    talk(
        [keeps],
        f"""
        {TWO}
        C: BDAT 4
        C: Subj\\
        S: 250 2.0.0 Chunk taken
        C: BDAT 8
        C: ect: a\\r\\n\\
        S: 250 2.0.0 Chunk taken
        C: BDAT 2 LAST
        C: \\r\\n\\
        S: 250 2.0.0 Queued as ...
        """,
    )
    assert keeps.moments == ["data", "headers", "message", "queue 2"]
    assert keeps.kept == [b"Subject: a\r\n\r\n"]
    assert [reply.code for reply in keeps.replies] == [250]


def test_a_chunk_may_be_empty() -> None:
    keeps = Keeps()
    talk(
        [keeps],
        f"""
        {ENVELOPE}
        C: BDAT 0
        S: 250 2.0.0 Chunk taken
        C: BDAT 0
        S: 250 2.0.0 Chunk taken
        C: BDAT 3
        C: a\\r\\n\\
        S: 250 2.0.0 Chunk taken
        C: BDAT 0 LAST
        S: 250 2.0.0 Queued ...
        """,
    )
    assert keeps.moments == ["data", "headers", "message", "queue 1"]
    assert keeps.kept == [b"a\r\n"]


def test_several_messages_on_one_connection() -> None:
    again = ENVELOPE[ENVELOPE.index("C: MAIL") :]
    one = f"{DATA}C: one\nC: .\nS: 250 2.0.0 Queued as ....1\n"
    two = f"{again}{DATA}C: two\nC: .\nS: 250 2.0.0 Queued as ....2\n"
    assert kept(ENVELOPE + one + two) == [b"one\r\n", b"two\r\n"]


@pytest.mark.parametrize(
    ("script", "with_", "for_"),
    [
        (ENVELOPE, "ESMTP", "bob@example.org"),
        (ENVELOPE.replace("EHLO", "HELO"), "SMTP", "bob@example.org"),
        (TWO, "ESMTP", ""),
        (
            ENVELOPE.replace("client.example>", "client.example> SMTPUTF8"),
            "UTF8SMTP",
            "bob@example.org",
        ),
    ],
)
def test_the_received_field(script: str, with_: str, for_: str) -> None:
    @dataclass
    class Looks(Plugin):
        """Looks at the field."""

        seen: list[str] = field(default_factory=list)

        def message(self, transaction: Transaction) -> AnswerForEach:
            self.seen += [*transaction.message.headers.get_all("received"), transaction.id]
            return None

    looks = Looks()
    talk([looks, Keeps()], f"{script}{DATA}C: .\nS: 250 ...")
    value, identifier = looks.seen
    target = f"\tfor <{for_}>" if for_ else ""
    head, _, date = value.rpartition(";\t")
    assert head.partition("\tby ")[0] == "from client.example ([192.0.2.1])"
    assert head.partition("\tby ")[2] == f"mx.example with {with_} id {identifier}{target}"
    assert parsedate_to_datetime(date).year >= 2024


# -- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (Deny(), "554 5.7.1 Message refused"),
        (Defer("Not now"), "451 4.7.1 Not now"),
        (KeyError("what"), "451 4.3.0 Internal error"),
    ],
)
def test_data_can_be_refused(verdict: Any, line: str) -> None:
    script = f"{ENVELOPE}\nC: DATA\nS: {line}\nC: DATA\nS: 503 ..."
    assert kept(script, says(data=verdict)) == []
    script = (
        f"{ENVELOPE}\nC: BDAT 6\nC: QUIT\nS: {line}\nC: BDAT 6 LAST\nC: QUIT\nS: 503 ...{GO_ON}"
    )
    assert kept(script, says(data=verdict)) == []


def test_who_does_not_wait_for_the_answer_to_data_is_sent_away() -> None:
    script = f"{ENVELOPE}\nC: DATA\nC: QUIT\nC: .\nS: 554 5.7.1 Message refused\nS: <closed>"
    assert kept(script, says(data=Deny())) == []


def test_headers_can_be_refused_and_the_body_is_not_stored() -> None:
    sizes: list[int] = []

    class Watches(Plugin):
        """Looks how much there is at the end."""

        def queued(self, transaction: Transaction, reply: Reply) -> Heard:
            sizes.append(transaction.message.body_size)
            return None

    keeps = Keeps()
    talk(
        [says(headers=Deny("No such subject")), Watches(), keeps],
        f"""
        {ENVELOPE}
        {DATA}
        C: Subject: spam
        C:
        C: {"x" * 10_000}
        C: .
        S: 550 5.7.1 No such subject
        {GO_ON}
        """,
    )
    assert sizes == [0]
    assert keeps.moments == ["data"]
    assert [reply.code for reply in keeps.replies] == [550]


def test_in_chunks_a_refusal_is_told_after_the_next_of_them() -> None:
    talk(
        [says(headers=Deny("No such subject")), Keeps()],
        f"""
        {ENVELOPE}
        C: BDAT 7
        C: a: b\\r\\n\\r\\
        S: 250 ...
        C: BDAT 1
        C: \\n\\
        S: 550 5.7.1 No such subject
        C: BDAT 6
        C: QUIT
        S: 503 5.5.1 ...
        C: BDAT 6 LAST
        C: QUIT
        S: 503 5.5.1 ...
        {GO_ON}
        """,
    )


@pytest.mark.parametrize("hook", ["message", "queue"])
@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (Deny("No"), "55... 5... No"),
        (Defer("Later"), "451 4... Later"),
        (KeyError("what"), "451 4.3.0 Internal error"),
        ("250 Ok", "451 4.3.0 Internal error"),
        (Accept("Mine"), "250 2..."),
    ],
)
def test_messages_can_be_refused(hook: str, verdict: Any, line: str) -> None:
    script = f"{TWO}{DATA}C: hello\nC: .\nS: {line}{GO_ON}"
    taken = isinstance(verdict, Accept) and hook == "message"
    assert len(kept(script, says(**{hook: verdict}))) == taken


def test_a_message_that_nobody_takes_is_deferred() -> None:
    class OnlyRcpt(Plugin):
        """Takes recipients and no messages."""

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
            return Accept()

    talk([OnlyRcpt()], f"{ENVELOPE}{DATA}C: .\nS: 451 4.3.0 Nobody took the message{GO_ON}")


def test_a_refusal_may_hang_up() -> None:
    for hook in ("data", "headers", "message", "queue"):
        dot = "" if hook == "data" else "S: 354 ...\nC: .\n"
        script = f"{ENVELOPE}\nC: DATA\n{dot}S: 55...\nS: <closed>"
        talk([says(**{hook: Deny(disconnect=True)}), Keeps()], script)


def test_a_framing_violation_closes_whatever_else_is_wrong() -> None:
    script = f"{ENVELOPE}{DATA}C: a: b\nC:\nC: x\\ny\nC: .\nC: NOOP\nS: 550 5.5.2 ...\nS: <closed>"
    assert kept(script, says(headers=Deny("No"))) == []
    assert kept(script, limits=Limits(message_size=5)) == []


# -- Limits ---------------------------------------------------------------------------------------

SMALL = Limits(message_size=100, header_size=50, received=3, messages=2, recipients=100)


def test_size_as_it_is_declared() -> None:
    talk(
        [Keeps()],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ... SIZE 100 ...
        C: MAIL FROM:<anne@client.example> SIZE=101
        S: 552 5.3.4 Message too big
        C: MAIL FROM:<anne@client.example> SIZE=100
        S: 250 ...
        """,
        limits=SMALL,
    )


@pytest.mark.parametrize(("octets", "line"), [(100, "250 2.0.0 ..."), (101, "552 5.3.4 ...")])
def test_size_as_it_is(octets: int, line: str) -> None:
    body = "x" * (octets - 4)
    script = f"{ENVELOPE}{DATA}C:\nC: {body}\nC: .\nS: {line}{GO_ON}"
    assert len(kept(script, limits=SMALL)) == line.startswith("250")
    script = f"{ENVELOPE}\nC: BDAT {octets} LAST\nC:\nC: {body}\nS: {line}{GO_ON}"
    assert len(kept(script, limits=SMALL)) == line.startswith("250")
    unlimited = Limits(message_size=0)
    assert len(kept(script.replace(line, "250 ..."), limits=unlimited)) == 1


def test_the_dots_that_were_stuffed_do_not_count() -> None:
    stuffed = "C: ..\n" * 33
    assert len(kept(f"{ENVELOPE}{DATA}{stuffed}C: .\nS: 250 ...", limits=SMALL)) == 1


def test_chunks_are_counted_together_and_before_they_come() -> None:
    talk(
        [Keeps()],
        f"""
        {ENVELOPE}
        C: BDAT 60
        C: {"x" * 58}
        S: 250 ...
        C: BDAT 60
        C: {"x" * 58}
        S: 552 5.3.4 Message too big
        {GO_ON}
        """,
        limits=SMALL,
    )


def test_the_first_refusal_counts() -> None:
    chunk = f"C: BDAT 202 LAST\nC: {'x' * 200}\n"
    assert kept(f"{ENVELOPE}\n{chunk}S: 554 5.7.1 No", says(data=Deny("No")), limits=SMALL) == []


def test_a_huge_chunk_is_not_kept() -> None:
    script = f"{ENVELOPE}\nC: BDAT 999999999999999999 LAST\nC: QUIT"
    assert kept(script, limits=SMALL) == []


@pytest.mark.parametrize(("octets", "line"), [(50, "250 2.0.0 ..."), (51, "554 5.6.0 ...")])
def test_the_size_of_a_header(octets: int, line: str) -> None:
    script = f"{ENVELOPE}{DATA}C: a: {'x' * (octets - 5)}\nC:\nC: .\nS: {line}{GO_ON}"
    assert len(kept(script, limits=SMALL)) == line.startswith("250")


@pytest.mark.parametrize(("count", "line"), [(2, "250 2.0.0 ..."), (3, "554 5.4.6 ...")])
def test_a_message_that_goes_round_in_circles(count: int, line: str) -> None:
    trace = "C: Received: x\n" * count
    script = f"{ENVELOPE}{DATA}{trace}C:\nC: .\nS: {line}{GO_ON}"
    assert len(kept(script, limits=SMALL)) == line.startswith("250")


def test_too_many_messages() -> None:
    talk(
        [Keeps()],
        """
        S: 220 ...
        C: EHLO client.example
        S: 250 ... LIMITS MAILMAX=2 RCPTMAX=100 ...
        C: MAIL FROM:<>
        C: RSET
        C: MAIL FROM:<>
        C: RSET
        C: MAIL FROM:<>
        S: 250 2.1.0 ...
        S: 250 2.0.0 ...
        S: 250 2.1.0 ...
        S: 250 2.0.0 ...
        S: 421 4.7.0 Too many messages on one connection
        S: <closed>
        """,
        limits=SMALL,
    )


def test_too_many_recipients() -> None:
    one = "C: RCPT TO:<bob@example.org>\nS: 250 ...\n"
    over = "C: RCPT TO:<bob@example.org>\nS: 452 4.5.3 Too many recipients\n"
    end = "C: RCPT TO:<bob@example.org>\nS: 421 4.7.0 Too many errors\nS: <closed>"
    limits = Limits(recipients=100, errors=3)
    assert kept(ENVELOPE + one * 99 + over * (100 + 3) + end, limits=limits) == []
    script = f"{ENVELOPE}{one * 99}{over * 50}{DATA}C: .\nS: 250 ..."
    keeps = Keeps()
    talk([keeps], script, limits=limits)
    assert keeps.moments[-1] == "queue 100"


# -- A full disk ----------------------------------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def write(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", write)
        yield


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize(
    "lines",
    [
        "C: a: b\nC:\nC: hello\nC: .",
        "C: hello\nC: .",
        f"C: a: b\nC:\nC: {'x' * 60_000}\nC: {'x' * 60_000}\nC: .",
    ],
)
def test_a_full_disk_refuses_the_message_for_now(
    lines: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(memory=0)
    script = f"{ENVELOPE}{DATA}{lines}\nS: 452 4.3.1 No room for the message now{GO_ON}"
    assert kept(script, limits=limits) == []
    assert "No space left on device" in caplog.text


@pytest.mark.usefixtures("full_disk")
def test_a_disk_may_be_full_at_the_very_end(caplog: pytest.LogCaptureFixture) -> None:
    script = f"{ENVELOPE}\nC: BDAT 5 LAST\nC: hello\\\nS: 452 4.3.1 ...{GO_ON}"
    assert kept(script, limits=Limits(memory=0)) == []
    assert "No space left on device" in caplog.text


# -- Several recipients ---------------------------------------------------------------------------

YES, NO, LATER = Accept("Yes"), Deny("No"), Defer("Later")


@pytest.mark.parametrize("hook", ["message", "queue"])
@pytest.mark.parametrize(
    ("verdicts", "lines"),
    [
        ([YES, YES], ["250 2... Yes", "250 2... Yes"]),
        ([YES, NO], ["250 2... Yes", "55... No"]),
        ([LATER, YES], ["451 4... Later", "250 2... Yes"]),
        ([NO, LATER], ["55... No", "451 4... Later"]),
        ([NO], ["55... No", "451 4..."]),  # who is not named is deferred
    ],
)
def test_an_lmtp_client_hears_of_each(hook: str, verdicts: list[Verdict], lines: list[str]) -> None:
    if hook == "message":  # the words of an Accept are those of `queue`
        lines = [line.replace("2... Yes", "2.0.0 Queued as ...") for line in lines]
    said = "\n".join(f"S: {line}" for line in lines)
    script = f"{TWO_BY_LMTP}{DATA}C: .\n{said}{GO_ON}"
    keeps = Keeps()
    talk([says(**{hook: verdicts}), keeps], script, listen=LMTP)
    willing = verdicts.count(YES)
    queued = [f"queue {willing}"] if hook == "message" and willing else []
    assert [moment for moment in keeps.moments if moment.startswith("queue")] == queued


@pytest.mark.parametrize("hook", ["message", "queue"])
@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        ([NO, NO], "55... No"),
        ([LATER, LATER], "451 4... Later"),
        ([YES, NO], "451 4.3.0 Not all recipients could be served"),
        ([LATER, YES], "451 4... Later"),
        ([NO, LATER], "451 4... Later"),
        ([NO], "451 4..."),
        ([], "451 4..."),
    ],
)
def test_an_smtp_client_hears_of_all(hook: str, verdicts: list[Verdict], line: str) -> None:
    assert kept(f"{TWO}{DATA}C: .\nS: {line}{GO_ON}", says(**{hook: verdicts})) == []


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([250, 250], 250),
        ([550, 554], 550),
        ([451, 452], 451),
        ([250, 550], 451),
        ([250, 452], 452),
        ([550, 452, 250], 452),
    ],
)
def test_combined(codes: list[int], code: int) -> None:
    assert combined([Reply(code) for code in codes]).code == code
    assert MIXED.code == 451


def test_every_refusal_of_a_message_is_told_an_lmtp_client_for_each() -> None:
    big = f"{TWO_BY_LMTP}{DATA}C: {'x' * 200}\nC: .\nS: 552 ...\nS: 552 ...{GO_ON}"
    assert kept(big, listen=LMTP, limits=SMALL) == []
    stray = f"{TWO_BY_LMTP}{DATA}C: a\\nb\nC: .\nS: 550 5.5.2 ...\nS: 550 5.5.2 ...\nS: <closed>"
    assert kept(stray, listen=LMTP) == []
    broken = f"{TWO_BY_LMTP}{DATA}C: .\nS: 451 4.3.0 ...\nS: 451 4.3.0 ...{GO_ON}"
    assert kept(broken, says(queue=KeyError()), listen=LMTP) == []
    chunks = (
        f"{TWO_BY_LMTP}\nC: BDAT 2\nC:\nS: 250 ...\nC: BDAT 0 LAST\nS: 250 ...\nS: 250 ...{GO_ON}"
    )
    assert kept(chunks, listen=LMTP) == [b"\r\n"]


def test_an_lmtp_client_that_is_to_go_goes() -> None:
    verdicts = [YES, Deny("No", disconnect=True)]
    script = f"{TWO_BY_LMTP}{DATA}C: .\nS: 250 ...\nS: 55... No\nS: <closed>"
    talk([says(queue=verdicts), Keeps()], script, listen=LMTP)


def test_a_recipient_that_was_named_twice_is_answered_twice() -> None:
    script = f"{TWO_BY_LMTP}{DATA}C: .\nS: 250 ...\nS: 250 ...".replace("carol", "bob")
    assert len(kept(script, listen=LMTP)) == 1


# -- Routes ---------------------------------------------------------------------------------------


@dataclass
class Aliases(Plugin):
    """Sends copies elsewhere."""

    targets: dict[str, tuple[Recipient, ...]]

    def route(self, transaction: Transaction, recipient: Recipient) -> tuple[Recipient, ...]:
        return self.targets.get(recipient.address.local, (recipient,))


def named(*names: str) -> tuple[Recipient, ...]:
    return tuple(a_recipient(f"{name}@example.org") for name in names)


@dataclass
class Serves(Plugin):
    """Takes copies for some recipients only."""

    names: str
    seen: list[str] = field(default_factory=list)

    def queue(self, transaction: Transaction) -> AnswerForEach:
        self.seen += [recipient.address.local for recipient in transaction.recipients]
        return Each(
            {
                recipient: YES if recipient.address.local in self.names.split() else NO
                for recipient in transaction.recipients
            }
        )


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        ("dave erin carol", ["250 2.0.0 Yes", "250 2.0.0 Yes"]),
        ("dave carol", ["451 4.3.0 Not all recipients could be served", "250 2.0.0 Yes"]),
        ("carol", ["554 5.6.0 No", "250 2.0.0 Yes"]),
        ("dave erin", ["250 2.0.0 Yes", "554 5.6.0 No"]),
    ],
)
def test_all_copies_of_a_recipient_are_answered_as_one(names: str, lines: list[str]) -> None:
    serves = Serves(names)
    said = "\n".join(f"S: {line}" for line in lines)
    talk(
        [Aliases({"bob": named("dave", "erin")}), serves, Keeps()],
        f"{TWO_BY_LMTP}{DATA}C: .\n{said}",
        listen=LMTP,
    )
    assert serves.seen == ["dave", "erin", "carol"]


def test_a_recipient_may_be_routed_to_nowhere() -> None:
    nowhere = Aliases({"bob": ()})
    assert kept(f"{ENVELOPE}{DATA}C: .\nS: 250 2.0.0 Queued ...", nowhere) == []
    assert len(kept(f"{TWO}{DATA}C: .\nS: 250 2.0.0 Queued ...", nowhere)) == 1
    script = f"{TWO_BY_LMTP}{DATA}C: .\nS: 250 2.0.0 ...\nS: 554 5.6.0 No"
    talk([nowhere, Serves("nobody"), Keeps()], script, listen=LMTP)


def test_a_route_that_breaks_refuses_the_recipient_for_now() -> None:
    class Breaks(Plugin):
        """Does not know the way."""

        def route(self, transaction: Transaction, recipient: Recipient) -> tuple[Recipient, ...]:
            raise KeyError(recipient)

    script = (
        ENVELOPE.removesuffix("S: 250 ...\n") + "S: 451 4.3.0 Internal error\nC: DATA\nS: 554 ..."
    )
    assert kept(script, Breaks()) == []


def test_a_plugin_may_take_recipients_away_and_add_some() -> None:
    @dataclass
    class Changes(Plugin):
        """Puts one recipient in the place of another."""

        def message(self, transaction: Transaction) -> AnswerForEach:
            transaction.recipients[:] = [*transaction.recipients[1:], *named("archive")]
            return None

    serves = Serves("carol archive")
    talk([Changes(), serves, Keeps()], f"{TWO}{DATA}C: .\nS: 250 2.0.0 Yes")
    assert serves.seen == ["carol", "archive"]
    script = f"{TWO_BY_LMTP}{DATA}C: .\nS: 250 2.0.0 Queued ...\nS: 250 2.0.0 Yes"
    talk([Changes(), Serves("carol archive"), Keeps()], script, listen=LMTP)


# -- What is kept while hooks wait ----------------------------------------------------------------


def test_a_message_is_committed_while_it_is_queued() -> None:
    seen: list[bool] = []

    class Asks(Keeps):
        """Looks from inside."""

        def message(self, transaction: Transaction) -> AnswerForEach:
            seen.append(conversation.committed)
            return None

        def queue(self, transaction: Transaction) -> AnswerForEach:
            seen.append(conversation.committed)
            return Accept()

    conversation = Conversation(
        a_session(), Chain([(Asks(), Placement("asks"))]), Site("mx.example")
    )
    conversation.receive_data(
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n.\r\n"
    )
    with pytest.raises(StopIteration):
        conversation.respond().send(None)
    seen.append(conversation.committed)
    assert seen == [False, True, False]
