"""What happens, one readable line each."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from gatepost import Accept, AnswerForEach, Deny, Plugin, Recipient, Session, Site, Transaction
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.server.conversation import Conversation
from gatepost.server.journal import Journal
from gatepost.session import Endpoint

USUAL = Limits()


class TakesAll(Plugin):
    """Accepts every recipient but Mallory, and every message."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept | Deny:
        return Deny() if recipient.address.local == "mallory" else Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


def journal(octets: bytes, caplog: pytest.LogCaptureFixture, limits: Limits = USUAL) -> list[str]:
    """The lines about one session, with its id as ID and what depends on the clock as T."""
    chain = Chain([(Journal(), Placement("journal")), (TakesAll(), Placement("takes_all"))])
    session = Session(Endpoint("192.0.2.1", 7), Endpoint("198.51.100.1", 25), "mx")
    conversation = Conversation(session, chain, Site("mx.example", limits=limits))

    async def talk() -> None:
        conversation.receive_data(octets)
        while conversation.more:
            await conversation.respond()
        await conversation.end()

    with caplog.at_level(logging.INFO, logger="gatepost"):
        asyncio.run(talk())
    lines = [record.getMessage().replace(session.id, "ID") for record in caplog.records]
    return [re.sub(r"\d+\.\d\d s", "T", line) for line in lines]


def test_a_session_reads_like_a_story(caplog: pytest.LogCaptureFixture) -> None:
    octets = (
        b"EHLO client.example\r\nMAIL FROM:<anne@client.example>\r\nRCPT TO:<bob@example.org>\r\n"
        b"DATA\r\n.\r\nQUIT\r\n"
    )
    lines = journal(octets, caplog)
    assert lines[0] == "ID connected from 192.0.2.1:7 to mx"
    assert "ID.1 rcpt: takes_all accepts (<bob@example.org>)" in lines
    queued = next(line for line in lines if "->" in line)
    assert "<anne@client.example> -> <bob@example.org>, " in queued
    assert "250 2.0.0 Queued as ID.1 (takes_all on queue)" in queued
    assert lines[-1].startswith(
        "ID 192.0.2.1:7 (client.example) gone after T and 1 message, 1 taken"
    )


def test_many_recipients_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    recipients = b"".join(b"RCPT TO:<r%d@example.org>\r\n" % number for number in range(8))
    lines = journal(
        b"EHLO client.example\r\nMAIL FROM:<>\r\n" + recipients + b"DATA\r\n.\r\n", caplog
    )
    queued = next(line for line in lines if "->" in line)
    assert "<r4@example.org> and 3 more," in queued
    assert "<r5@" not in queued


def test_a_client_without_a_greeting_is_called_that(caplog: pytest.LogCaptureFixture) -> None:
    assert journal(b"", caplog)[-1] == "ID 192.0.2.1:7 (no greeting) gone after T and 0 messages"


def test_a_limit_is_named(caplog: pytest.LogCaptureFixture) -> None:
    envelope = b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n"
    octets = b"EHLO client.example\r\n" + envelope + b"DATA\r\nSubject: Hello\r\n.\r\nFROB\r\n"
    lines = journal(octets, caplog, Limits(message_size=10, errors=0))
    assert lines[-2].endswith("552 5.3.4 Message too big (limit message_size)")
    assert lines[-1].endswith("1 message, 0 taken, 0 octets (limit errors)")
    fields = [record.__dict__["fields"] for record in caplog.records[-2:]]
    assert [one["limits"] for one in fields] == [["message_size"], ["errors"]]
    assert (fields[0]["verdict"], fields[0]["plugin"]) == ("deny", "")


def test_a_message_that_comes_to_no_end_because_of_a_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    octets = (
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<mallory@example.org>\r\n"
        b"BDAT 99\r\n0123456789\r\n"
    )
    lines = journal(octets, caplog, Limits(message_size=10))
    assert lines[-2].endswith("not sent (limit message_size)")
    assert caplog.records[-2].__dict__["fields"]["plugin"] == ""
    assert "limit" not in lines[-1]


def test_no_client_can_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    octets = (
        b"EHLO a%s{}\x1b[2J\rforged\r\nEHLO client.example\r\n"
        b'MAIL FROM:<"a\nforged\x1b"@client.example>\r\n'
    )
    for line in journal(octets, caplog):
        assert line.isprintable()
