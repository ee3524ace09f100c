"""What a client sends costs about what an ordinary letter of that size costs (R6)."""

from __future__ import annotations

from time import process_time

import pytest

from gatepost import Accept, Plugin, Recipient, Site, Transaction
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.server.conversation import Conversation
from gatepost.testing import a_session, run
from tests.hostile_letters import LETTERS, ordinary

ENVELOPE = b"EHLO x.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
#: Octets that come at a time.
PIECE = 65_536
#: How many times as much a letter may cost, and how often it is tried.
MOST, TIMES = 20, 3


class TakesAll(Plugin):
    """Accepts everything, and looks at the header as plugins do."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def message(self, transaction: Transaction) -> None:
        headers = transaction.message.headers
        headers.get("From"), headers.get_all("To"), headers.raw("DKIM-Signature")

    def queue(self, transaction: Transaction) -> Accept:
        return Accept()


def taken(text: bytes) -> tuple[bytes, float]:
    """The last reply to a letter, and the seconds that it took to come to it."""
    chain = Chain([(TakesAll(), Placement("takes_all"))])
    conversation = Conversation(a_session(), chain, Site("mx.example"))
    sent = text + b"\r\n.\r\n"

    async def converse() -> bytes:
        replies = b""
        for start in range(0, len(sent), PIECE):
            conversation.receive_data(sent[start : start + PIECE])
            while conversation.more:
                replies = await conversation.respond() or replies
        return replies

    conversation.receive_data(ENVELOPE)
    run(conversation.respond())
    started = process_time()
    replies = run(converse())
    return replies, process_time() - started


@pytest.mark.parametrize("name", LETTERS)
def test_a_letter_costs_what_its_size_costs(name: str) -> None:
    letter = LETTERS[name]
    text = letter.text
    costs, usual = [], []
    for _ in range(TIMES):
        replies, seconds = taken(text)
        assert replies.startswith(letter.reply)
        costs.append(seconds)
        usual.append(taken(ordinary(max(len(text), 500_000)))[1])
    assert min(costs) < MOST * min(usual)
