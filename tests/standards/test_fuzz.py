"""Whole sessions at random: whatever clients say and plugins decide, some laws hold.

A command earns one reply, and the end of a message one, or in LMTP one for each recipient.  Every
reply is well formed.  What is inside a message is never a command.  A message is answered with 250
exactly when somebody took it, and then it is what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
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
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.server.conversation import Conversation
from gatepost.testing import LMTP, MX, a_session, run

#: So many sessions are held; more by the environment, for whoever has the time.
SESSIONS = int(os.environ.get("GATEPOST_FUZZ", "200"))
LIMITS = Limits(
    message_size=20_000, header_size=3000, text_line=1000, memory=500, messages=8, idle_commands=30
)
EVIL = "evil"
REPLY_LINE = re.compile(rb"[2-5]\d\d[ -](?:[\x20-\x7e]|[\x80-\xff])*\r\n")

ACCEPT, DENY, DEFER = Accept(), Deny(), Defer()
#: What a plugin may come up with; the last ones are rare.
DECISIONS: list[Any] = [
    *[None] * 4, *[ACCEPT] * 60, DENY, DEFER, Deny("No\n\u2028no\r\nno " + "ö" * 700),
    Accept("So be it\n250 2.0.0 Queued"), Deny("Out", disconnect=True), Defer("Out", code=421),
    ValueError("broken"), "nonsense",
]  # fmt: skip
#: How it comes up with it: at once, or after so many turns of the event loop; -1: too late.
PACES = [*[0] * 20, *[1, 2, 5] * 5, -1]


@dataclass
class Fickle(Plugin):
    """Decides at random, and keeps what it took."""

    welcome: Accept | Deny
    decisions: Iterator[Any]
    paces: Iterator[int]
    lmtp: bool
    heard: list[str] = field(default_factory=list)  #: all that came as a command
    kept: list[bytes] = field(default_factory=list)  #: one for each recipient in LMTP

    def connect(self, session: Session) -> Answer:
        return self.welcome

    def helo(self, session: Session, name: str) -> Answer:
        return self._answer(name)

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        return self._answer(str(sender))

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return self._answer(str(recipient), silence=ACCEPT)

    def data(self, transaction: Transaction) -> Answer:
        return self._answer()

    def headers(self, transaction: Transaction) -> Answer:
        return self._answer()

    def message(self, transaction: Transaction) -> Answer:
        return self._answer()

    def noop(self, session: Session, text: str) -> Answer:
        return self._answer(text)

    def vrfy(self, session: Session, text: str) -> Answer:
        return self._answer(text)

    def unrecognized(self, session: Session, verb: str, text: str) -> Answer:
        self.heard += [verb, text]
        return None

    def quit(self, session: Session, text: str) -> Answer:
        return self._answer(text)

    def queue(self, transaction: Transaction) -> AnswerForEach:
        octets = bytes(transaction.message).partition(b"+0000\r\n")[2]
        if not self.lmtp:
            return self._settled(next(self.decisions) or ACCEPT, octets)
        verdicts = {who: next(self.decisions) for who in transaction.recipients}
        fit = all(isinstance(one, Accept | Deny | Defer) for one in verdicts.values())
        taken = [one for one in verdicts.values() if isinstance(one, Accept)]
        self.kept += [octets] * (len(taken) if fit else 0)
        return Each(verdicts)

    def _settled(self, decision: Any, octets: bytes) -> Answer:
        if isinstance(decision, Accept):
            self.kept.append(octets)
        return self._spoken(decision)

    def _answer(self, *heard: str, silence: Accept | None = None) -> Answer:
        self.heard += heard
        decision, pace = next(self.decisions) or silence, next(self.paces)
        return self._spoken(decision) if pace == 0 else self._later(decision, pace)

    async def _later(self, decision: Any, pace: int) -> Verdict | None:
        await asyncio.sleep(1000 if pace < 0 else 0)
        for _ in range(pace):
            await asyncio.sleep(0)
        return self._spoken(decision)

    def _spoken(self, decision: Any) -> Verdict | None:
        if isinstance(decision, Exception):
            raise decision
        verdict: Verdict | None = decision  # or nonsense
        return verdict


class Rewrites(Plugin):
    """Leaves everything as it is, but takes its time."""

    async def argument(self, session: Session, verb: str, text: str) -> str:
        await asyncio.sleep(0)
        return text

    async def setting(self, name: str, value: int, address: Address | None) -> int:
        await asyncio.sleep(0)
        return value


@dataclass(frozen=True)
class Step:
    """What a client sends without a look at the replies, and what it is."""

    octets: bytes
    kind: str = "command"  #: command, greeting, mail, rcpt, reset, chunk, last chunk, data
    content: bytes = b""  #: of a message or a chunk
    whole: bool = False  #: not to be split


# -- What clients say -----------------------------------------------------------------------------

LINES = st.sampled_from([
    b".", b"..", b". ", b"", b"QUIT", b"RSET", b"NOOP evil", b"MAIL FROM:<evil@evil>", b"VRFY evil",
    b"BDAT 9 LAST", b"DATA", b"x" * 300, b"x" * 998, b"x" * 999, b"X: y", b"\0\xff",
    b"EHLO evil.example",
])  # fmt: skip
CRLF = st.just(b"\r\n")
STRAY = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n.\n", b"\n.\r\n"])
LETTERS = st.one_of(
    *[st.lists(st.tuples(LINES, ends), max_size=12) for ends in (CRLF, CRLF, CRLF, STRAY)]
).map(lambda lines: b"Subject: x\r\n\r\n" + b"".join(line + end for line, end in lines))
NAMES = st.sampled_from(["anne", "bob", "carl", "dave", '"a b"', "", "bücher", "x" * 65])
NOISE = st.sampled_from(
    [b" ", b"\0", b"\r", b"<", b"\xff", b"=", b"\t", b"ERR", b" SIZE=99999", b":"]
)
OTHERS = st.sampled_from([
    b"NOOP", b"NOOP x", b"VRFY bob", b"EXPN all", b"HELP", b"HELP me", b"STARTTLS", b"AUTH PLAIN",
    b"XCLIENT A=b", b"RSET x", b"", b" ", b"ETRN x", b"FROB x", b"NOOP " + b"x" * 3000,
    b"MAIL FROM:<a@b> BODY=BINARYMIME", b"MAIL FROM:anne", b"RCPT TO:<>", b"MAIL", b"DATA x",
    "NOOP ü".encode(),
])  # fmt: skip
ENDING = st.sampled_from([
    b"QUIT", b"BDAT x", b"BDAT -1", b"BDAT 99999999999999999999 LAST", b"GET / HTTP/1.1",
    b"NOOP\nRSET", b"BDAT 5 LAST" + b" " * 3000,
])  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, line: bytes) -> bytes:
    """A command line, as it is in most cases."""
    if draw(st.integers(0, 30)) != 30:
        return line + b"\r\n"
    place = draw(st.integers(len(b"RCPT "), len(line)))
    return line[:place] + draw(NOISE) + line[place:] + b"\r\n"


def stuffed(content: bytes) -> bytes:
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", content)


@st.composite
def envelopes(draw: st.DrawFn) -> list[Step]:
    sender, utf8 = draw(NAMES), draw(st.sampled_from(["", "", " SMTPUTF8", " BODY=8BITMIME"]))
    mail = f"MAIL FROM:<{sender}@client.example>{utf8}".replace("<@client.example>", "<>").encode()
    steps = [Step(draw(mutated(mail)), "mail")]
    for name in draw(st.lists(NAMES.filter(bool), min_size=1, max_size=4)):
        steps.append(Step(draw(mutated(f"RCPT TO:<{name}@example.org>".encode())), "rcpt"))
    return steps


@st.composite
def messages(draw: st.DrawFn) -> list[Step]:
    content = draw(LETTERS)
    if draw(st.booleans()):
        content += b"" if content.endswith(b"\r\n") else b"\r\n"
        octets = stuffed(content) + b".\r\n"
        if draw(st.booleans()):
            return [Step(b"DATA\r\n" + octets, "data", content, whole=True)]
        return [Step(b"DATA\r\n", "ask"), Step(octets, "data", content)]
    places = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    pieces = [content[a:b] for a, b in zip([0, *places], [*places, len(content)], strict=True)]
    steps = [Step(b"BDAT %d\r\n" % len(piece) + piece, "chunk", piece) for piece in pieces]
    last = Step(b"BDAT %d LAST\r\n" % len(pieces[-1]) + pieces[-1], "last chunk", pieces[-1])
    return [*steps[:-1], last] if draw(st.integers(0, 9)) else steps


ODD = st.one_of(
    OTHERS.map(lambda line: [Step(line + b"\r\n")]),
    OTHERS.map(lambda line: [Step(line + b"\r\n")]),
    st.just([Step(b"RSET\r\n", "reset")]),
    st.just([Step(b"EHLO client.example\r\n", "greeting")]),
    st.just([Step(b"LHLO client.example\r\n", "greeting")]),
)
SENDING = st.tuples(envelopes(), messages()).map(lambda both: [*both[0], *both[1]])
TURNS = st.one_of(*[SENDING] * 8, ODD, ODD, envelopes(), messages())
GOODBYES: st.SearchStrategy[list[Step]] = st.one_of(
    st.just([]), ENDING.map(lambda line: [Step(line + b"\r\n", "ending")])
)


# -- What comes back ------------------------------------------------------------------------------


def replies_in(octets: bytes) -> list[int]:
    """The codes of all replies; each must be well formed."""
    codes: list[int] = []
    begun = b""
    for line in octets.splitlines(keepends=True) if octets else []:
        assert REPLY_LINE.fullmatch(line), line
        assert len(line) <= 512
        assert begun in (b"", line[:3])
        begun = line[:3] if line[3:4] == b"-" else b""
        if not begun:
            codes.append(int(line[:3]))
    assert not begun
    return codes


@dataclass
class Client:
    """A client that keeps account of what it was told."""

    conversation: Conversation
    lmtp: bool
    heard: bytes = b""
    recipients: int = 0  #: that were accepted for the message under way
    content: bytes = b""  #: of the message under way
    taken: list[bytes] = field(default_factory=list)  #: what was answered with 250
    _task: asyncio.Task[None] | None = None

    async def send(self, steps: list[Step], sizes: Iterator[int], pauses: Iterator[int]) -> None:
        """Send some steps ahead of their replies, and check these."""
        for octets in _pieces(steps, sizes):
            if self.conversation.over:
                break
            self.conversation.receive_data(octets)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._listen())
            for _ in range(next(pauses)):
                await asyncio.sleep(0)
        if self._task is not None:
            await self._task
        heard, self.heard = replies_in(self.heard), b""
        codes = iter(heard)
        for step in steps:
            if not self._check(step, codes):
                break
        assert list(codes) == []

    async def _listen(self) -> None:
        while self.conversation.more:
            self.heard += await self.conversation.respond()

    def _check(self, step: Step, codes: Iterator[int]) -> bool:
        """Whether a step got the replies that it earns; False: it was the last."""
        code = next(codes, None)
        if step.kind == "data" and step.whole and code is not None:
            if code != 354:
                return self._ended()
            code = next(codes, None)
        if code is None:
            return self._ended()
        if step.kind in ("data", "last chunk"):
            return self._check_end(step, code, codes)
        self._note(step, code)
        return self._ended() if step.kind == "ending" else True

    def _ended(self) -> bool:
        assert self.conversation.over
        return False

    def _check_end(self, step: Step, code: int, codes: Iterator[int]) -> bool:
        several = self.recipients - 1 if self.lmtp else 0
        told = [code, *(next(codes) for _ in range(max(several, 0)))]
        self.taken += [self.content + step.content] * told.count(250)
        self.recipients, self.content = 0, b""
        return True

    def _note(self, step: Step, code: int) -> None:
        positive = code < 400
        match step.kind:
            case "mail" | "greeting" | "reset" if positive:
                self.recipients, self.content = 0, b""
            case "rcpt" if positive:
                self.recipients += 1
            case "chunk" if positive:
                self.content += step.content
            case "chunk" | "ask" if not positive:
                self.recipients, self.content = 0, b""


def _pieces(steps: list[Step], sizes: Iterator[int]) -> Iterator[bytes]:
    """The octets of the steps, cut anywhere but where a client has to send at once."""
    whole = steps[-1].octets if steps[-1].whole else b""
    octets = b"".join(step.octets for step in steps).removesuffix(whole)
    while octets:
        size = next(sizes)
        yield octets[:size]
        octets = octets[size:]
    if whole:
        yield whole


def _batches(script: list[list[Step]], pauses: Iterator[int]) -> Iterator[list[Step]]:
    """Steps that go out ahead of their replies; behind DATA alone everybody waits."""
    batch: list[Step] = []
    for step in (step for turn in script for step in turn):
        batch.append(step)
        if step.kind in ("ask", "ending") or step.kind == "data" or next(pauses):
            yield batch
            batch = []
    if batch:
        yield batch


async def hold(
    client: Client, script: list[list[Step]], sizes: Iterator[int], pauses: Iterator[int]
) -> None:
    await client._listen()
    assert len(replies_in(client.heard)) == 1
    client.heard = b""
    refused = False
    for batch in _batches(script, pauses):
        if client.conversation.over:
            break
        if refused and batch[0].kind == "data" and not batch[0].whole:
            batch = batch[1:]  # who was not told 354 does not send the message
        if batch:
            await client.send(batch, sizes, pauses)
        refused = batch != [] and batch[-1].kind == "ask" and not client.conversation.receiving


def endless(values: list[Any]) -> Iterator[Any]:
    while True:
        yield from values


@pytest.mark.parametrize("lmtp", [False, True], ids=["smtp", "lmtp"])
@settings(max_examples=SESSIONS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=st.lists(TURNS, min_size=1, max_size=10),
    goodbye=GOODBYES,
    welcome=st.sampled_from([*[ACCEPT] * 15, DENY]),
    decisions=st.lists(st.sampled_from(DECISIONS), min_size=1, max_size=60),
    paces=st.lists(st.sampled_from(PACES), min_size=1, max_size=20),
    sizes=st.lists(st.sampled_from([1, 2, 3, 7, 40, 300]), max_size=30),
    pauses=st.lists(st.integers(0, 2), max_size=10),
    rewrites=st.booleans(),
    repair=st.booleans(),
)
def test_the_laws_hold(
    script: list[list[Step]],
    goodbye: list[Step],
    welcome: Accept | Deny,
    decisions: list[Any],
    paces: list[int],
    sizes: list[int],
    pauses: list[int],
    rewrites: bool,
    repair: bool,
    lmtp: bool,
) -> None:
    logging.disable(logging.CRITICAL)
    try:
        fickle = Fickle(welcome, endless(decisions), endless(paces), lmtp)
        plugins: list[Plugin] = [Rewrites(), fickle] if rewrites else [fickle]
        chain = Chain((plugin, Placement("it")) for plugin in plugins)
        site = Site("mx.example", limits=LIMITS)
        conversation = Conversation(
            a_session(), chain, site, listen=LMTP if lmtp else MX, repair=repair
        )
        client = Client(conversation, lmtp)
        greeting = b"LHLO client.example\r\n" if lmtp else b"EHLO client.example\r\n"
        script = [[Step(greeting, "greeting")], *script, goodbye]
        run(hold(client, script, endless(sizes or [1000]), endless([*pauses, 0])))
    finally:
        logging.disable(logging.NOTSET)
    assert not any("evil" in text for text in fickle.heard)
    expected = [_repaired(content) for content in client.taken] if repair else client.taken
    assert fickle.kept == expected
    assert not any(re.search(rb"(?<!\r)\n|\r(?!\n)", octets) for octets in fickle.kept)


def _repaired(content: bytes) -> bytes:
    return re.sub(rb"\r(?!\n)", b" ", re.sub(rb"(?<!\r)\n", b"\r\n", content))
