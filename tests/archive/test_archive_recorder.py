"""What is recorded of sessions that really take place."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gatepost import (
    Accept,
    Deny,
    Password,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
)
from gatepost.archive.reading import Archive, Found
from gatepost.archive.recorder import Recorder
from gatepost.archive.records import Record
from gatepost.config import Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement, placed
from gatepost.plugins.queue.discard import Discard
from gatepost.plugins.rcpt.domains import Domains
from gatepost.server.conversation import Conversation
from gatepost.session import Endpoint
from gatepost.testing import converse
from gatepost.testing.samples import MX

OURS = Domains(domains=["example.org"])

HELLO = """
    S: 220 ...
    C: EHLO client.example
    S: 250 ...
"""
MAIL = """
    C: MAIL FROM:<anne@client.example>
    S: 250 2.1.0 ...
    C: RCPT TO:<bob@example.org>
    S: 250 2.1.5 ...
"""
LETTER = """
    C: DATA
    S: 354 ...
    C: Subject: Hello
    C:
    C: The body of the letter.
    C: .
    S: 250 2.0.0 Queued as ...
"""

Held = Callable[..., list[Record]]


def a_recorder(path: Path, plugins: Iterable[Any] = ()) -> Recorder:
    return Recorder(path, list(map(placed, plugins)), keep=1e9, size=10**9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail.sqlite"


def found(path: Path) -> list[Found]:
    """What has been recorded, in its order."""
    with Archive(path) as archive:
        return list(archive.newest())[::-1]


@pytest.fixture
def held(path: Path) -> Held:
    """Holds a dialogue, and tells what is recorded of it; `listen` and the like as `converse`."""

    def hold(plugins: Iterable[Any], script: str, **more: Any) -> list[Record]:
        plugins = list(plugins)
        recorder = (a_recorder(path, plugins), Placement("recorder"))
        asyncio.run(converse([recorder, *plugins], script, **more))
        return [one.record for one in found(path)]

    return hold


def said(record: Record) -> list[tuple[str, str, str, int | None]]:
    """Who decided what."""
    return [(one.plugin, one.hook, one.verdict, one.recipient) for one in record.decisions]


def test_a_message_is_recorded_with_all_that_was_decided(held: Held) -> None:
    message, session = held([OURS, Discard()], HELLO + MAIL + LETTER, tls=True, user="anne")
    assert message.message == 1
    assert message.id == f"{session.session}.1"
    assert (message.client, message.listener, message.verb) == ("192.0.2.1", "mx", "EHLO")
    assert (message.hello, message.user, message.mechanism) == ("client.example", "anne", "PLAIN")
    assert message.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert message.relaying
    assert message.sender == "anne@client.example"
    assert message.recipients == ("bob@example.org",)
    assert message.reply == f"250 2.0.0 Queued as {message.id}"
    assert message.size > 0
    assert said(message) == [("domains", "rcpt", "accept", 0), ("discard", "queue", "accept", None)]
    assert session.message == 0
    assert session.messages == 1
    assert session.started <= message.started
    assert said(session) == []


def test_a_recipient_that_is_refused_is_recorded(held: Held) -> None:
    message, _ = held(
        [OURS],
        HELLO
        + MAIL
        + """
    C: RCPT TO:<bob@elsewhere.example>
    S: 550 5.7.1 We do not relay
    C: RCPT TO:<carol@example.org>
    S: 250 2.1.5 ...
    C: QUIT
    S: 221 ...
""",
    )
    assert message.recipients == ("bob@example.org", "bob@elsewhere.example", "carol@example.org")
    assert said(message) == [
        ("domains", "rcpt", "accept", 0),
        ("nobody", "rcpt", "deny", 1),
        ("domains", "rcpt", "accept", 2),
    ]
    assert message.reply == ""


class Refuses(Plugin):
    """Refuses whoever calls itself evil, and mail from mallory."""

    def helo(self, session: Session, name: str) -> Deny | None:
        session.found("refuses", "fail" if name == "evil.example" else "pass", name)
        return Deny("Not you") if name == "evil.example" else None

    def mail(self, transaction: Transaction, sender: Any) -> Deny | None:
        transaction.found("refuses", "neutral", sender.local)
        return Deny() if sender.local == "mallory" else None


def test_a_greeting_that_is_refused_is_recorded(held: Held) -> None:
    (session,) = held([Refuses()], "S: 220 ...\nC: EHLO evil.example\nS: 550 5.7.1 Not you")
    assert session.hello == "evil.example"
    assert (session.messages, session.message) == (0, 0)
    assert said(session) == [("refuses", "helo", "deny", None)]
    assert [(one.outcome, one.text) for one in session.results] == [("fail", "evil.example")]


def test_a_sender_that_is_refused_is_recorded(held: Held) -> None:
    message, session = held(
        [Refuses()], f"{HELLO}C: MAIL FROM:<mallory@client.example>\nS: 550 ..."
    )
    assert message.sender == "mallory@client.example"
    assert said(message) == [("refuses", "mail", "deny", None)]
    assert [one.text for one in message.results] == ["client.example", "mallory"]
    assert [one.text for one in session.results] == ["client.example"]


def test_a_client_that_says_nothing_is_recorded(held: Held) -> None:
    (session,) = held([], "S: 220 ...")
    assert (session.hello, session.messages) == ("", 0)


def test_each_message_has_a_record(held: Held) -> None:
    *messages, session = held([OURS, Discard()], HELLO + (MAIL + LETTER) * 3)
    assert [message.message for message in messages] == [1, 2, 3]
    assert session.messages == 3
    assert not session.tells


def test_messages_can_be_seen_while_the_session_is_open(path: Path) -> None:
    recorder = a_recorder(path)
    chain = Chain([(recorder, Placement("recorder")), placed(OURS), placed(Discard())])
    site = Site("mx.example")
    conversation = Conversation(Session(Endpoint("192.0.2.1", 7)), chain, site)

    async def talk() -> None:
        await chain.start(site)
        octets = (
            b"EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n"
            b"DATA\r\n.\r\nMAIL FROM:<>\r\n"
        )
        conversation.receive_data(octets)
        while conversation.more:
            await conversation.respond()
        await chain.tell("shutdown", site)

    asyncio.run(talk())
    (one,) = found(path)
    assert one.record.message == 1
    assert one.record.reply.startswith("250 2.0.0 ")


def test_the_configuration_is_recorded_beside_it(held: Held, path: Path) -> None:
    held([OURS, (Discard(), Placement("discard", "sink", listeners=("mx",)))], HELLO)
    (one,) = found(path)
    with Archive(path) as archive:
        domains, sink = archive.configuration(one.configuration)
    assert domains.options == {"domains": '["example.org"]'}
    assert domains.hooks == ("rcpt",)
    assert (sink.name, sink.use, sink.listeners) == ("sink", "discard", ("mx",))


@dataclass
class Users(Plugin):
    """Knows one user."""

    password: str = field(default="", repr=False)

    def auth(self, session: Session, credentials: Any) -> Accept | Deny | None:
        if not isinstance(credentials, Password):
            return None
        return Accept() if credentials.password == self.password else Deny()


def test_secrets_and_bodies_never_get_in(held: Held, path: Path) -> None:
    right = base64.b64encode(b"\0anne\0XyzzyRight").decode()
    wrong = base64.b64encode(b"\0XyzzyTypedAsName\0XyzzyWrong").decode()
    message, _session = held(
        [Users("XyzzyRight"), Discard()],
        f"""
    {HELLO}
    C: AUTH PLAIN {wrong}
    S: 535 ...
    C: AUTH PLAIN {right}
    S: 235 ...
    C: MAIL FROM:<anne@client.example>
    S: 250 2.1.0 ...
    C: RCPT TO:<bob@example.org>
    S: 550 ...
    C: RSET
    S: 250 ...
    """,
        tls=True,
    )
    assert said(message)[:2] == [("users", "auth", "deny", None), ("users", "auth", "accept", None)]
    octets = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"anne@client.example" in octets
    assert b"Xyzzy" not in octets
    assert base64.b64encode(b"Xyzzy")[:6] not in octets


def test_a_body_never_gets_in(held: Held, path: Path) -> None:
    held([OURS, Discard()], HELLO + MAIL + LETTER)
    octets = b"".join(one.read_bytes() for one in path.parent.iterdir())
    assert b"body of the letter" not in octets
    assert b"Subject" not in octets


class Nonsense(Plugin):
    """Puts on the trail what nobody can read."""

    def connect(self, session: Session) -> None:
        value: Any = object()
        session.found(value, value, value, word=value, properties=value)
        session.allow("\udcff" + "x" * 10_000)


def test_nonsense_on_the_trail_stops_nobody(held: Held) -> None:
    *_, message, _session = held([Nonsense(), OURS, Discard()], HELLO + MAIL + LETTER)
    assert message.results[0].outcome.startswith("<object object")
    assert message.allowed.startswith("\\udcffx")
    assert len(message.allowed) < 600


HOSTILE = 'MAIL FROM:<"a\\"<b>"@client.example>'


def test_hostile_names_are_kept_as_they_are(held: Held) -> None:
    *_, message, _session = held(
        [OURS], f"S: 220 ...\nC: EHLO [192.0.2.1]\nS: 250 ...\nC: {HOSTILE}\nS: 250 ..."
    )
    assert message.sender == '"a\\"<b>"@client.example'


def test_a_session_goes_on_when_nothing_can_be_recorded(tmp_path: Path) -> None:
    recorder = a_recorder(tmp_path / "none" / "trail.sqlite")
    placement = Placement("recorder")
    asyncio.run(converse([(recorder, placement), OURS, Discard()], HELLO + MAIL + LETTER))
    assert recorder.dropped == 2


class Routes(Plugin):
    """Sends bob's mail to two others."""

    def route(self, transaction: Transaction, recipient: Recipient) -> tuple[Recipient, ...]:
        return recipient, recipient


def test_recipients_are_those_that_the_client_named(held: Held) -> None:
    message, _ = held([OURS, Routes(), Discard()], HELLO + MAIL + LETTER)
    assert message.recipients == ("bob@example.org",)


def test_a_client_may_become_another(held: Held) -> None:
    listen = Listen(MX.address, name="mx", xclient_from=("192.0.2.0/24",))
    message, session = held(
        [OURS, Discard()],
        f"""
    {HELLO}
    C: XCLIENT ADDR=203.0.113.5 NAME=other.example
    S: 220 ...
    {HELLO.replace("S: 220 ...", "")}
    {MAIL}
    {LETTER}
    """,
        listen=listen,
    )
    assert (message.client, message.client_name) == ("203.0.113.5", "other.example")
    assert session.messages == 1
