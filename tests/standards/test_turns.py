"""How many replies a step earns, and what is never taken for a command, at the odd moments."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

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
from gatepost.server.conversation import Conversation
from gatepost.testing import LMTP, MX, a_session

MAIL = b"MAIL FROM:<anne@client.example>\r\n"
TWO = MAIL + b"RCPT TO:<bob@example.org>\r\nRCPT TO:<carl@example.org>\r\n"


@dataclass
class Keeps(Plugin):
    """Takes mail for everybody but a few; keeps what reaches the queue."""

    kept: list[bytes] = field(default_factory=list)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        answers: dict[str, Answer] = {"nobody": Deny(), "later": Defer()}
        return answers.get(recipient.address.local, Accept())

    def queue(self, transaction: Transaction) -> AnswerForEach:
        self.kept.append(b"".join(transaction.message.body()))
        return Accept()


class OffersBinary(Plugin):
    """Offers BINARYMIME, as where the next hop takes it."""

    def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "BINARYMIME")


class TurnsAway(Plugin):
    """Wants nobody."""

    def connect(self, session: Session) -> Answer:
        return Deny()


@dataclass
class BreaksOnce(Plugin):
    """Cannot tell the capabilities the second time."""

    asked: int = 0

    def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        self.asked += 1
        if self.asked == 2:
            raise ValueError("out of order")
        return offered


class Client:
    """A client that says what it likes."""

    def __init__(self, *plugins: Plugin, limits: Limits | None = None, lmtp: bool = False) -> None:
        self.keeps = Keeps()
        chain = Chain((plugin, Placement("it")) for plugin in (*plugins, self.keeps))
        site = Site("mx.example", limits=limits or Limits())
        self.conversation = Conversation(a_session(), chain, site, listen=LMTP if lmtp else MX)
        self.send(b"LHLO client.example\r\n" if lmtp else b"EHLO client.example\r\n")

    def send(self, *pieces: bytes) -> list[int]:
        """The codes of what is answered to these octets."""
        return asyncio.run(self._send(pieces))

    async def _send(self, pieces: tuple[bytes, ...]) -> list[int]:
        heard = b""
        for piece in pieces:
            self.conversation.receive_data(piece)
            while self.conversation.more:
                heard += await self.conversation.respond()
        return [int(code) for code in re.findall(rb"^(\d{3}) ", heard, re.MULTILINE)]


def test_a_broken_chunk_that_is_not_the_last_earns_one_reply_in_lmtp() -> None:
    client = Client(lmtp=True, limits=Limits(text_line=1000))
    assert client.send(TWO) == [250, 250, 250]
    assert client.send(b"BDAT 1500\r\n" + b"x" * 1500) == [554]
    assert client.send(b"BDAT 2 LAST\r\nxxNOOP\r\n") == [503, 250]


def test_a_broken_last_chunk_earns_a_reply_for_each_recipient_in_lmtp() -> None:
    client = Client(lmtp=True, limits=Limits(text_line=1000))
    assert client.send(TWO + b"BDAT 5\r\nhello") == [250, 250, 250, 250]
    assert client.send(b"BDAT 1500 LAST\r\n" + b"x" * 1500) == [554, 554]


@pytest.mark.parametrize("command", [b"DATA\r\n", b"BDAT 5 LAST\r\nhello"])
def test_rfc2033_4_2_without_recipients_an_lmtp_server_says_503(command: bytes) -> None:
    client = Client(lmtp=True)
    assert client.send(MAIL + b"RCPT TO:<nobody@example.org>\r\n") == [250, 550]
    assert client.send(command) == [503]


@pytest.mark.parametrize("command", [b"DATA x", b"DATA \t", b"data 1"])
def test_f13_what_stands_behind_a_malformed_data_is_no_command(command: bytes) -> None:
    client = Client()
    assert client.send(TWO) == [250, 250, 250]
    assert client.send(command + b"\r\nNOOP\r\nRSET\r\n.\r\n") == [501]
    assert client.conversation.over


def test_who_waits_after_a_malformed_data_goes_on() -> None:
    client = Client()
    assert client.send(TWO, b"DATA x\r\n", b"DATA\r\n") == [250, 250, 250, 501, 354]


@pytest.mark.parametrize("start", [b"BDAT 5 LAST", b"bdat 5", b"DATA"])
@pytest.mark.parametrize("in_two", [False, True])
def test_f10_what_stands_behind_an_endless_bdat_is_no_command(start: bytes, in_two: bool) -> None:
    client = Client()
    assert client.send(TWO) == [250, 250, 250]
    pieces = [start + b" " * 3000, b" \r\nNOOP\r\nNOOP\r\n"]
    assert client.send(*(pieces if in_two else [b"".join(pieces)])) == [500]
    assert client.conversation.over


@pytest.mark.parametrize("lmtp", [False, True])
def test_f11_who_was_turned_away_cannot_smuggle_commands_by_bdat(lmtp: bool) -> None:
    client = Client(TurnsAway(), lmtp=lmtp)
    assert client.send(b"BDAT 12 LAST\r\nNOOP\r\nQUIT\r\n") == [503]
    assert client.conversation.over


def test_rfc3030_3_a_binary_message_comes_by_bdat() -> None:
    client = Client(OffersBinary())
    binary = MAIL.replace(b"\r\n", b" BODY=BINARYMIME\r\n") + b"RCPT TO:<bob@example.org>\r\n"
    assert client.send(binary, b"DATA\r\n") == [250, 250, 503]
    octets = b"\r\n\0\r.\n" + b"x" * 70_000 + b"\r"
    assert client.send(b"BDAT %d LAST\r\n" % len(octets) + octets) == [250]
    assert client.keeps.kept == [octets[2:]]
    assert client.send(TWO, b"DATA\r\n", b"a\nb\r\n.\r\n") == [250, 250, 250, 354, 550]


def test_rfc5321_4_1_1_1_a_greeting_that_fails_changes_nothing() -> None:
    client = Client(BreaksOnce())
    assert client.send(b"HELO other.example\r\n", b"EHLO third.example\r\n") == [250, 451]
    session = client.conversation.session
    assert (session.verb, session.hello) == ("HELO", "other.example")


def test_r3_recipients_that_are_put_off_are_not_proposed_for_ever() -> None:
    client = Client(limits=Limits(recipients=100, errors=5))
    codes = client.send(MAIL + b"RCPT TO:<later@example.org>\r\n" * 300)
    assert codes == [250] + [450] * 205 + [421]
    assert client.conversation.over
