"""Attacks on the framing: where a line ends, where a message ends, what is a command.

What counts is what reaches the queue, never the words of a reply alone.  Every attack comes whole
and octet by octet.  (A TLS session that ends inside a chunk belongs to the tests of TLS.)
"""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gatepost import (
    Accept,
    Answer,
    AnswerForEach,
    Defer,
    Deny,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
)
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.protocol.stuffing import Stuffing, Survey
from gatepost.server.conversation import Conversation
from gatepost.testing import a_session, converse, run

HELLO = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@example.org>\r\n"
EVIL = b"MAIL FROM:<evil@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nEVIL\r\n.\r\n"


@dataclass
class Keeps(Plugin):
    """Takes mail for example.org, and keeps what reaches the queue."""

    kept: list[bytes] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept() if recipient.address.domain == "example.org" else None

    def queue(self, transaction: Transaction) -> AnswerForEach:
        _, _, message = bytes(transaction.message).partition(b"+0000\r\n")
        self.kept.append(message)
        self.senders.append(str(transaction.sender))
        return Accept()


class Client:
    """A client that says what it likes, when it likes."""

    def __init__(self, *plugins: Plugin, limits: Limits | None = None, **keys: Any) -> None:
        self.keeps = Keeps()
        chain = Chain((plugin, Placement("it")) for plugin in (*plugins, self.keeps))
        site = Site("mx.example", limits=limits or Limits())
        self.conversation = Conversation(a_session(), chain, site, **keys)
        self.heard = b""

    @property
    def kept(self) -> list[bytes]:
        return self.keeps.kept

    @property
    def codes(self) -> list[int]:
        """The codes of all replies so far, each once."""
        return [int(code) for code in re.findall(rb"^(\d{3}) ", self.heard, re.MULTILINE)]

    def send(self, *pieces: bytes) -> Client:
        asyncio.run(self._send(pieces))
        return self

    async def _send(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.conversation.receive_data(piece)
            while self.conversation.more:
                self.heard += await self.conversation.respond()


def split(octets: bytes, whole: bool) -> list[bytes]:
    """F7: the octets in one segment, or each in one of its own."""
    return [octets] if whole else [bytes((octet,)) for octet in octets]


def sending(text: bytes, *, whole: bool, **keys: Any) -> Client:
    """A client that sends octets behind the 354."""
    client = Client(**keys).send(HELLO + ENVELOPE, b"DATA\r\n")
    assert client.codes == [220, 250, 250, 250, 354]
    return client.send(*split(text, whole))


# -- F1 to F7: what looks like the end of a message, and is none ----------------------------------

# fmt: off
SMUGGLED = {
    "F1 LF.LF":         b"x\n.\n",
    "F2 LF.CRLF":       b"x\n.\r\n",
    "F3 CRLF.LF":       b"x\r\n.\n",
    "F4 CR.CR":         b"x\r.\r",
    "F4 CR.LF":         b"x\r.\n",
    "F4 LF.CR":         b"x\n.\r",
    "F4 CR.CRLF":       b"x\r.\r\n",
    "F4 CRLF.CR":       b"x\r\n.\r",
    "F6 CRLF.CRCRLF":   b"x\r\n.\r\r\n",
    "F6 CRCRLF.CRCRLF": b"x\r\r\n.\r\r\n",
}
# fmt: on


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("end", SMUGGLED.values(), ids=SMUGGLED)
def test_no_second_message_is_smuggled_in(end: bytes, whole: bool) -> None:
    client = sending(end + EVIL + ENVELOPE, whole=whole)
    assert client.kept == []
    assert client.codes[5:] == [550]
    assert b"550 5.5.2 " in client.heard
    assert client.conversation.over  # and with it goes whatever stands behind


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("end", SMUGGLED.values(), ids=SMUGGLED)
def test_what_is_repaired_is_one_message(end: bytes, whole: bool) -> None:
    client = sending(end + EVIL + b"NOOP\r\n", whole=whole, repair=True)
    assert client.codes[5:] == [250, 250]
    assert client.keeps.senders == ["<anne@client.example>"]
    (message,) = client.kept
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", message)
    assert message.endswith(b"\r\nEVIL\r\n")


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "octet by octet"])
@pytest.mark.parametrize("line", [b"\0.\r\n", b".\0\r\n"], ids=["F5 NUL dot", "F5 dot NUL"])
def test_a_nul_beside_a_dot_is_data(line: bytes, whole: bool) -> None:
    client = sending(b"x\r\n" + line + EVIL, whole=whole)
    assert client.kept == [b"x\r\n" + line.removeprefix(b".") + EVIL.removesuffix(b".\r\n")]
    assert client.codes[5:] == [250]


def test_f7_an_end_may_be_split_anywhere() -> None:
    text = b"x\r\n..\r\n\r\n.\r\nNOOP\r\n"
    for place in range(len(text) + 1):
        client = Client().send(HELLO + ENVELOPE, b"DATA\r\n").send(text[:place], text[place:])
        assert client.kept == [b"x\r\n.\r\n\r\n"]
        assert client.codes[5:] == [250, 250]


# -- F8, F9: what goes on to the next hop ---------------------------------------------------------


@pytest.mark.parametrize("end", SMUGGLED.values(), ids=SMUGGLED)
def test_f8_nothing_is_relayed_that_the_next_hop_could_misread(end: bytes) -> None:
    (message,) = sending(end + b"\r\n.\r\n", whole=True, repair=True).kept
    survey, stuffing = Survey(), Stuffing()
    survey.add(message)
    assert not survey.stray
    onward = stuffing.stuff(message) + stuffing.end()
    assert b"\r\n.\r\n" not in b"\r\n" + onward
    survey = Survey()
    survey.add(end)
    assert survey.stray  # our own client refuses to send such a message


@pytest.mark.parametrize("text", [b"x\n.\nQUIT\r\n", b"x\n.\r\nQUIT\r\n", b"x\r.\rQUIT\r\n"])
def test_f9_chunks_hold_no_bare_line_ends(text: bytes) -> None:
    wire = HELLO + ENVELOPE + b"BDAT %d LAST\r\n%s" % (len(text), text)
    for whole in (True, False):
        client = Client().send(*split(wire + b"NOOP\r\n", whole))
        assert client.kept == []
        assert client.codes[4:] == [550]
        assert client.conversation.over
    (message,) = Client(repair=True).send(wire).kept
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", message)


def test_f9_dots_in_chunks_are_stuffed_for_a_next_hop_without_them() -> None:
    text = b"x\r\n.\r\n" + EVIL
    (message,) = Client().send(HELLO + ENVELOPE + b"BDAT %d LAST\r\n" % len(text), text).kept
    assert message == text
    assert Stuffing().stuff(message).startswith(b"x\r\n..\r\nMAIL")


# -- F10, F11: chunks that lie --------------------------------------------------------------------

# fmt: off
LIES = [
    b"99999999999999999999", b"-5", b"+5", b"0x5", b"1" * 21, b"", b" ", b" 5", b"5 5", b"5 LAS",
    b"5,LAST", b"five", b"5\t", b"5\0", b"\xb5", b"9" * 1900,
]
# fmt: on


@pytest.mark.parametrize("size", LIES)
@pytest.mark.parametrize("last", [b"", b" LAST"])
def test_f10_after_a_chunk_of_unknown_size_nothing_is_read(size: bytes, last: bytes) -> None:
    client = Client().send(HELLO + ENVELOPE + b"BDAT " + size + last + b"\r\n" + EVIL)
    assert client.kept == []
    assert client.codes[4:] in ([501], [552], [500])
    assert client.conversation.over


def test_f10_the_octets_of_a_chunk_that_is_too_big_are_read_and_forgotten() -> None:
    client = Client(limits=Limits(message_size=1000))
    client.send(HELLO + ENVELOPE + b"BDAT 5000 LAST\r\n", b"QUIT\r\n" * 833, b"xxNOOP\r\n")
    assert client.codes[4:] == [552, 250]
    assert client.kept == []


@pytest.mark.parametrize("whole", [True, False])
def test_f11_a_refused_chunk_is_read_to_its_end(whole: bool) -> None:
    client = Client().send(*split(HELLO + b"BDAT 5\r\nhelloRSET\r\nNOOP\r\n", whole))
    assert client.codes == [220, 250, 503, 250, 250]
    wire = HELLO + ENVELOPE + b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n"
    client = Client(Refuses()).send(*split(wire, whole))
    assert client.codes[4:] == [554, 503, 250]
    assert client.kept == []


class Refuses(Plugin):
    """Wants no messages."""

    def data(self, transaction: Transaction) -> Answer:
        return Deny()


def test_f11_where_there_are_no_chunks_their_octets_are_no_commands() -> None:
    client = Client().send(b"HELO client.example\r\n" + ENVELOPE + b"BDAT 6\r\nQUIT\r\n" + EVIL)
    assert client.codes[4:] == [502]
    assert client.kept == []


# -- F13: the message behind a DATA that was refused ----------------------------------------------


def test_f13_the_message_of_refused_recipients_is_no_command() -> None:
    recipients = b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@elsewhere.example>\r\n"
    client = Client().send(HELLO + recipients + b"DATA\r\n" + EVIL)
    assert client.codes == [220, 250, 250, 550, 554]
    assert client.kept == []
    assert client.conversation.over


def test_f13_who_waits_for_the_answer_goes_on() -> None:
    recipients = b"MAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@elsewhere.example>\r\n"
    client = Client().send(HELLO + recipients + b"DATA\r\n", b"RSET\r\n")
    assert client.codes == [220, 250, 250, 550, 554, 250]


# -- F14, F15: lines without end ------------------------------------------------------------------


def test_f14_the_rest_of_a_long_command_line_is_no_command() -> None:
    line = b"MAIL FROM:<" + b"x" * 1_000_000 + b"\rNOOP\r NOOP\r\nNOOP\r\n"
    pieces = [line[start : start + 4096] for start in range(0, len(line), 4096)]
    tracemalloc.start()
    client = Client().send(HELLO, *pieces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert client.codes == [220, 250, 500, 250]
    assert b"500 5.5.2 Line too long\r\n" in client.heard
    assert peak < 1_000_000


@pytest.mark.parametrize("verb", [b"DATA\r\n", b"BDAT 10000000 LAST\r\n"])
def test_f15_ten_megabytes_without_a_line_end(verb: bytes) -> None:
    client = Client().send(HELLO + ENVELOPE, verb)
    tracemalloc.start()
    piece = b"x" * 50_000
    client.send(*[piece] * 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    client.send(b"\r\n.\r\n" if verb.startswith(b"DATA") else b"", b"NOOP\r\n")
    assert client.codes[-2:] == [554, 250]
    assert b"554 5.6.0 " in client.heard
    assert client.kept == []
    assert peak < 1_000_000


def test_f15_a_line_up_to_the_limit_is_kept() -> None:
    text = b"x" * 65_534 + b"\r\n"
    assert sending(text + b".\r\n", whole=True).kept == [text]
    assert sending(b"x" + text + b".\r\n", whole=True).kept == []


# -- F16, F17: what a client cannot make us say ---------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"RCPT TO:<bob@example.org\r250 ok>",
        b"RCPT TO:<+0D+0A250_ok@example.org>",
        b"RCPT TO:<%0d%0a250@elsewhere.example>",
        b'RCPT TO:<"a\\\r250 ok"@elsewhere.example>',
        b"EHLO a\r250-SIZE",
        b"VRFY a\r250 ok",
        b"HELP a\r214 ok",
        b"FROB\r250 ok",
        b"NOOP \x1b]0;ok\x07",
        b"MAIL FROM:<a\0b@x>",
    ],
)
def test_f16_a_reply_is_one_reply(line: bytes) -> None:
    client = Client().send(HELLO, b"MAIL FROM:<anne@client.example>\r\n")
    before = len(client.heard)
    client.send(line + b"\r\n")
    said = client.heard[before:]
    assert said.count(b"\r\n") == 1
    assert said.endswith(b"\r\n")
    assert not re.search(rb"[\x00-\x1f\x7f-\xff]", said.removesuffix(b"\r\n"))


@pytest.mark.parametrize("text", ["a\r\n250 ok", "a\n250 ok", "a\r250 ok", "\0\x1b[2J\x85\u2028"])
@pytest.mark.parametrize("kind", [Accept, Deny, Defer])
def test_f16_words_from_elsewhere_stay_in_their_reply(text: str, kind: Any) -> None:
    class Repeats(Plugin):
        """Repeats what DNS told it."""

        def helo(self, session: Session, name: str) -> Answer:
            return kind(text)  # type: ignore[no-any-return]

    client = Client(Repeats()).send(b"HELO client.example\r\n")
    codes = {line[:3] for line in client.heard.splitlines()[1:]}
    assert len(codes) == 1
    assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\xff]", client.heard)


@pytest.mark.parametrize(
    "line",
    [
        b"RCPT TO:<a\rX: y@example.org>",
        b'RCPT TO:<"a\rX: y"@example.org>',
        b'RCPT TO:<"a\\\rX: y"@example.org>',
        b"RCPT TO:<a\0@example.org>",
        b"RCPT TO:<a\tb@example.org>",
        b'RCPT TO:<"a\x7fb"@example.org>',
    ],
)
def test_f17_no_header_is_injected_through_the_envelope(line: bytes) -> None:
    client = Client().send(HELLO, b"MAIL FROM:<anne@client.example>\r\n", line + b"\r\n")
    assert client.heard.splitlines()[-1].startswith(b"501 5.1.3 ")


def test_f17_no_header_is_injected_through_the_greeting() -> None:
    client = Client().send(b"EHLO a\rX:\r\n", b"EHLO (a\r\n", b"EHLO <a>;\r\n")
    assert client.codes == [220, 501, 501, 501]


# -- F18 to F20: who speaks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "opening",
    [
        b"POST / HTTP/1.1\r\nHost: mx.example\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT mx.example:25 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\xff",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"USER anne\r\nPASS secret\r\n",
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_f18_other_protocols_are_not_spoken_here(opening: bytes, whole: bool) -> None:
    client = Client().send(*split(opening + HELLO + ENVELOPE + EVIL, whole))
    assert client.codes == [220, 521]
    assert client.conversation.over
    assert client.kept == []


def test_f18_a_request_between_two_messages_is_the_last_as_well() -> None:
    client = Client().send(HELLO, b"POST / HTTP/1.1\r\n" + ENVELOPE)
    assert client.codes == [220, 250, 521]


def test_f19_plugins_see_who_talks_before_the_banner() -> None:
    class Strict(Plugin):
        """Wants to be waited for."""

        def connect(self, session: Session) -> Answer:
            return Deny(code=521, disconnect=True) if session.unread else None

    run(converse([Strict()], "C: EHLO client.example\nS: 521 5.7.1 ...\nS: <closed>"))
    run(converse([Strict()], "S: 220 ...\nC: EHLO client.example\nS: 250 ..."))


def test_f20_commands_may_come_at_once_and_are_answered_in_order() -> None:
    client = Client().send(HELLO + ENVELOPE + b"NOOP\r\nRSET\r\nFROB\r\nQUIT\r\nNOOP\r\n")
    assert client.codes == [220, 250, 250, 250, 250, 250, 500, 221]
    client = Client().send(HELLO + ENVELOPE + b"DATA\r\nx\r\n.\r\n" + ENVELOPE + b"DATA\r\n.\r\n")
    assert client.codes == [220, 250, 250, 250, 354, 250, 250, 250, 354, 250]
    assert client.kept == [b"x\r\n", b""]


# -- R3: a flood of recipients --------------------------------------------------------------------


def test_r3_a_hundred_thousand_recipients() -> None:
    rcpt = b"RCPT TO:<bob@example.org>\r\n"
    client = Client().send(HELLO + b"MAIL FROM:<anne@client.example>\r\n", *[rcpt * 1000] * 100)
    assert client.codes.count(250) == 2 + 1000
    assert client.codes.count(452) == 1000 + 20
    assert client.codes[-1] == 421
    assert client.conversation.over


def test_r3_so_many_recipients_take_no_time() -> None:
    limits = Limits(recipients=100_000)
    rcpt = b"RCPT TO:<bob@example.org>\r\n" * 1000
    client = Client(limits=limits).send(HELLO, b"MAIL FROM:<anne@client.example>\r\n")
    client.send(*[rcpt] * 20, b"DATA\r\n", b".\r\n")
    assert client.codes[-2:] == [354, 250]
    assert client.codes.count(250) == 2 + 20_000 + 1
