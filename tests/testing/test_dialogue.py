"""Dialogues: what they demand, and what is said when it is not met."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatepost import Accept, Answer, Deny, Heard, Plugin, Recipient, Session, Site, Transaction
from gatepost.config import Listen
from gatepost.hooks.placement import Placement
from gatepost.testing import LMTP, DialogueFailure, converse, run
from gatepost.testing.script import HungUp, Said, Sent, read_script


def failure(script: str, *plugins: Plugin) -> DialogueFailure:
    """What is wrong with a dialogue."""
    with pytest.raises(AssertionError) as caught:
        run(converse(plugins, script))
    assert isinstance(caught.value, DialogueFailure)
    return caught.value


# -- The language ---------------------------------------------------------------------------------


def test_the_lines_of_a_script() -> None:
    script = """
        # a comment
        S: 220 ...

        C: EHLO x
        C:
        S: <closed>
    """
    assert list(read_script(script)) == [
        Said(3, "220 ..."),
        Sent(5, "EHLO x"),
        Sent(6, ""),
        HungUp(7),
    ]


@pytest.mark.parametrize("line", ["D: x", "C:x", "S:x", "QUIT", "S"])
def test_lines_that_are_neither(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 begins with neither S: nor C:"):
        list(read_script(f"S: 220 ...\n{line}"))


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("", b"\r\n"),
        ("EHLO x", b"EHLO x\r\n"),
        (r"\x00\xff\xFF", b"\0\xff\xff\r\n"),
        (r"a\nb\rc\r\n", b"a\nb\rc\r\n\r\n"),
        (r"a\\nb", b"a\\nb\r\n"),
        ("a\\", b"a"),
        ("a\\\\", b"a\\\r\n"),
        ("a\\\\\\", b"a\\"),
        (r'RCPT TO:<"a\"b\@c"@x>', b'RCPT TO:<"a\\"b\\@c"@x>\r\n'),
        (r"\x5c\x", b"\\\\x\r\n"),
        ("jürgen", "jürgen\r\n".encode()),
    ],
)
def test_what_is_sent(text: str, octets: bytes) -> None:
    assert Sent(1, text).octets == octets


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("250 Ok", "250 Ok", True),
        ("250 Ok", "250 Ok then", False),
        ("250 ...", "250 Ok", True),
        ("250 ...", "251 Ok", False),
        ("250 2.1.0 ... ok", "250 2.1.0 <> ok", True),
        ("250 ... a ... c", "250 x a b c", True),
        ("250 2.1.0", "250 2x1x0", False),
        ("250 (a|b)", "250 a", False),
        ("250-...", "250-a", True),
        ("250-...", "250 a", False),
    ],
)
def test_what_matches(pattern: str, text: str, matches: bool) -> None:
    assert Said(1, pattern).matches(text) is matches


# -- Holding them ---------------------------------------------------------------------------------


def test_replies_line_by_line_or_whole() -> None:
    for end in ("S: 250 ...", "S: 250 ... ENHANCEDSTATUSCODES ... HELP", "S: ..."):
        script = f"S: 220 ...\nC: EHLO x\nS: 250-mx.example\nS: 250-PIPELINING\n{end}"
        run(converse([], script))
    run(converse([], "S: 220 ...\nC: EHLO x\nS: 250 mx.example PIPELINING ... HELP"))
    run(converse([], "S: 220 mx.test LMTP", hostname="mx.test", listen=LMTP))


def test_lines_without_an_answer_between_them_are_sent_in_one_piece() -> None:
    @dataclass
    class Looks(Plugin):
        """Looks how much is there."""

        seen: list[int] = field(default_factory=list)

        def noop(self, session: Session, text: str) -> Answer:
            self.seen.append(session.unread)
            return None

    looks = Looks()
    run(
        converse(
            [looks],
            """
            S: 220 ...
            C: NOOP
            # a comment does not interrupt
            C: NOOP
            S: 250 ...
            S: 250 ...
            C: NO\\
            C: OP
            S: 250 ...
            """,
        )
    )
    assert looks.seen == [6, 0, 0]


def test_the_session_is_given_back() -> None:
    session = run(converse([], "S: 220 ...\nC: EHLO x\nS: 250 ...", client="2001:db8::1"))
    assert (session.hello, str(session.client), session.listener) == (
        "x",
        "[2001:db8::1]:49152",
        "mx",
    )
    assert (
        str(run(converse([], "S: 220 ...", client="", listen=Listen("unix:x.sock"))).client)
        == "unix"
    )


def test_plugins_are_started_and_stopped_and_placed(tmp_path: Path) -> None:
    @dataclass
    class Life(Plugin):
        """Writes down its life."""

        seen: list[str] = field(default_factory=list)

        def startup(self, site: Site) -> Heard:
            self.seen.append(f"startup {site.directory.name}")
            return None

        async def shutdown(self, site: Site) -> None:
            self.seen.append("shutdown")

        def disconnect(self, session: Session) -> Heard:
            self.seen.append("disconnect")
            return None

        def connect(self, session: Session) -> Answer:
            return Deny()

    life = Life()
    parts = [(life, Placement("life", soften=True)), (Life(), Placement("x", listeners=("other",)))]
    session = run(converse(parts, "S: 421 ...\nS: <closed>", directory=tmp_path))
    assert life.seen == [f"startup {tmp_path.name}", "disconnect", "shutdown"]
    assert [decision.plugin for decision in session.trail.decisions] == ["life"]


def test_a_bare_plugin_is_named_after_its_class() -> None:
    class NoSales2Day(Plugin):
        """Says no."""

        def connect(self, session: Session) -> Answer:
            return Accept()

    session = run(converse([NoSales2Day()], "S: 220 ..."))
    assert session.trail.decisions[0].plugin == "no_sales2_day"


# -- Failures -------------------------------------------------------------------------------------


def test_a_reply_that_is_not_as_written() -> None:
    class NoSales(Plugin):
        """Accepts nobody."""

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
            return Deny("No sales")

    script = """
    S: 220 ...
    C: HELO x
    S: 250 ...
    C: MAIL FROM:<>
    S: 250 ...
    C: RCPT TO:<sales@example.org>
    S: 250 2.1.5 ...
    """
    wrong = failure(script, NoSales())
    assert wrong.number == 8
    assert str(wrong) == (
        "line 8: expected  250 2.1.5 ...\n"
        "    heard     550 5.7.1 No sales\n"
        "The dialogue so far:\n"
        "    S: 220 mx.example ESMTP\n"
        "    C: HELO x\n"
        "    S: 250 mx.example\n"
        "    C: MAIL FROM:<>\n"
        "    S: 250 2.1.0 Sender ok\n"
        "    C: RCPT TO:<sales@example.org>"
    )


@pytest.mark.parametrize(
    ("script", "number", "words"),
    [
        ("S: 220 ...\nS: 250 ...", 2, "heard     (nothing)"),
        ("S: 220 ...\nC: NOOP", 2, "also said\n    250 2.0.0 Ok"),
        ("C: NOOP\nS: 220 ...", 2, "also said\n    250 2.0.0 Ok"),
        ("S: 220 ...\nC: EHLO x\nS: 250-mx.example\nC: NOOP", 4, "also said\n    250-PIPELINING"),
        ("S: 220 ...\nS: <closed>", 2, "the connection is open"),
        ("S: 220 ...\nC: QUIT\nS: <closed>", 3, "also said\n    221"),
        ("S: 220 ...\nC: QUIT\nS: 221 ...\nC: NOOP", 4, "the server had hung up"),
        ("S: 220 ...\nC: EHLO x\nS: 250-mx.other", 3, "heard     250-mx.example"),
        ("S: 220 ...\nC: EHLO x\nS: 250 mx.other", 3, "heard     250-mx.example\n"),
        ("", 1, "also said\n    220"),
    ],
)
def test_what_is_said_of_other_failures(script: str, number: int, words: str) -> None:
    wrong = failure(script)
    assert wrong.number == number
    assert words in str(wrong)


def test_a_failure_can_travel_between_processes() -> None:
    wrong = failure("S: 221 ...")
    assert str(pickle.loads(pickle.dumps(wrong))) == str(wrong)
