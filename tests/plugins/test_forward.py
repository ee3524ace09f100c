"""Messages are handed on to a real next hop: another Gate, over real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatepost import (
    Accept,
    AnswerForEach,
    Defer,
    Deny,
    Each,
    Plugin,
    Recipient,
    Session,
    Transaction,
    Verdict,
)
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.plugins.queue.forward import Forward
from gatepost.site import Site
from gatepost.testing import LETTER, a_transaction


@dataclass
class NextHop(Plugin):
    """Judges recipients by their names, and keeps what it takes."""

    kept: list[bytes] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    def connect(self, session: Session) -> None:
        self.sessions.append(session)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Verdict:
        match recipient.address.local:
            case "nobody":
                return Deny("No such mailbox", status="5.1.1")
            case "full":
                return Defer("Mailbox full", code=452, status="4.2.2")
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        late = {
            who: Deny("Too long a story", code=552, status="5.2.3")
            for who in transaction.recipients
            if who.address.local == "strict"
        }
        self.kept.append(bytes(transaction.message))
        verdicts: dict[Recipient, Verdict] = {who: Accept() for who in transaction.recipients}
        return Each(verdicts | late) if late else Accept("Kept")


async def forwarded(
    *recipients: str, lmtp: bool = False, listen: str = "127.0.0.1:0", message: bytes = LETTER
) -> tuple[object, NextHop]:
    """What the plugin says of a message, and the next hop that got it."""
    hop = NextHop()
    protocol = Listen(listen, protocol="lmtp" if lmtp else "smtp")
    async with Gate([hop], listen=protocol, hostname="hop.example") as gate:
        plugin = Forward(to=(f"{'lmtp:' if lmtp else ''}{gate.addresses[0]}",))
        plugin.startup(Site("mx.example"))
        transaction = a_transaction(recipients=recipients, message=message)
        verdict = await plugin.queue(transaction)
        await plugin.shutdown(Site("mx.example"))
    if isinstance(verdict, Each):
        return [verdict.verdicts[who] for who in transaction.recipients], hop
    return verdict, hop


def test_a_message_is_taken_when_the_next_hop_took_it() -> None:
    verdict, hop = asyncio.run(forwarded("bob@example.org"))
    assert verdict == Accept("Kept")
    assert len(hop.kept) == 1
    assert hop.kept[0].endswith(LETTER)
    assert hop.sessions[0].hello == "mx.example"


@pytest.mark.parametrize(
    ("recipient", "verdict"),
    [
        ("nobody@example.org", Deny("No such mailbox", code=550, status="5.1.1")),
        ("full@example.org", Defer("Mailbox full", code=452, status="4.2.2")),
        ("strict@example.org", Deny("Too long a story", code=552, status="5.2.3")),
    ],
)
def test_a_refusal_is_passed_back_with_its_code(recipient: str, verdict: Verdict) -> None:
    assert asyncio.run(forwarded(recipient, lmtp=True))[0] == verdict


def test_lmtp_answers_for_each_recipient(tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/hop.sock"
    verdicts, hop = asyncio.run(
        forwarded(
            "bob@example.org", "nobody@example.org", "strict@example.org", lmtp=True, listen=socket
        )
    )
    assert verdicts == [
        Accept("Queued as " + f"{hop.sessions[0].id}.1"),
        Deny("No such mailbox", code=550, status="5.1.1"),
        Deny("Too long a story", code=552, status="5.2.3"),
    ]


@pytest.mark.parametrize(
    "letter",
    [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
        b"Subject: long\r\n\r\n" + b"x" * 998 + b"\r\n",
        b"Subject: eight\r\n\r\n\xe9\xff\r\n",
        b"\r\n",
        b"Subject: big\r\n\r\n" + b"0123456789abcde\r\n" * 200_000,
    ],
    ids=["dots", "long line", "8 bit", "empty", "3 MB"],
)
def test_a_message_arrives_octet_for_octet(letter: bytes) -> None:
    verdict, hop = asyncio.run(forwarded("bob@example.org", message=letter))
    assert verdict == Accept("Kept")
    assert hop.kept[0].endswith(letter)


def test_connections_are_used_again() -> None:
    async def two_messages() -> list[Session]:
        hop = NextHop()
        async with Gate([hop]) as gate:
            plugin = Forward(to=(str(gate.addresses[0]),))
            plugin.startup(Site("mx.example"))
            for _ in range(2):
                transaction = a_transaction(recipients=("bob@example.org",), message=LETTER)
                assert await plugin.queue(transaction) == Accept("Kept")
            await plugin.shutdown(Site("mx.example"))
        return hop.sessions

    assert len(asyncio.run(two_messages())) == 1


def test_the_next_one_is_tried_when_one_is_down(tmp_path: Path) -> None:
    async def scenario() -> tuple[object, object]:
        hop = NextHop()
        async with Gate([hop]) as gate:
            plugin = Forward(to=(f"unix:{tmp_path}/nobody.sock", str(gate.addresses[0])))
            transaction = a_transaction(recipients=("bob@example.org",), message=LETTER)
            up = await plugin.queue(transaction)
            await plugin.shutdown(Site("mx.example"))
        transaction = a_transaction(recipients=("bob@example.org",), message=LETTER)
        return up, await Forward(to=(f"unix:{tmp_path}/nobody.sock",)).queue(transaction)

    up, down = asyncio.run(scenario())
    assert up == Accept("Kept")
    assert isinstance(down, Defer)


@pytest.mark.parametrize("to", [(), ("",), ("host:99999999",)])
def test_what_is_no_next_hop(to: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"next hop|destination"):
        Forward(to=to)
