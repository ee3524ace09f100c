"""What happens, one readable line each."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gatepost import (
    Accept,
    AnswerForEach,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Recipient,
    Session,
    Site,
    Transaction,
)
from gatepost.config.log import PLUGIN_LOGGER
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.journal.journal import Journal, with_journal
from gatepost.journal.summaries import Summaries
from gatepost.server.conversation import Conversation
from gatepost.session import Endpoint
from gatepost.testing import MX, run
from gatepost.testing.samples import A_TLS


class TakesAll(Plugin):
    """Accepts every recipient and every message, and everybody who is called anne."""

    def auth(self, session: Session, credentials: Credentials) -> Accept | None:
        assert isinstance(credentials, Password)
        return Accept() if credentials.user == "anne" else None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept()


@dataclass
class Judges(Plugin):
    """Has something against sales."""

    verdict: Deny | Defer

    def helo(self, session: Session, name: str) -> Deny | Defer | None:
        return self.verdict if name.startswith("sales") else None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Deny | Defer | None:
        return self.verdict if recipient.address.local == "sales" else None


NO = (Judges(Deny("No sales")), Placement("judges"))


def talk(octets: bytes, *plugins: tuple[Plugin, Placement], secure: bool = False) -> Session:
    """Have a client say something, perhaps bring up TLS then, and go."""
    placed = [(Journal(), Placement("journal")), *plugins, (TakesAll(), Placement("takes_all"))]
    session = Session(Endpoint("192.0.2.1", 7), Endpoint("198.51.100.1", 25), "mx")
    listen = replace(MX, auth_without_tls=True, tls="starttls")
    conversation = Conversation(session, Chain(placed), Site("mx.example"), listen=listen)

    async def hold() -> None:
        conversation.receive_data(octets)
        while conversation.more:
            await conversation.respond()
        if secure:
            await conversation.secured(A_TLS)
        await conversation.end()

    run(hold())
    return session


Told = Callable[..., list[str]]


@pytest.fixture
def journal(caplog: pytest.LogCaptureFixture) -> Told:
    """The lines about one session, with its id as ID and what depends on the clock as T."""

    def lines(octets: bytes, *plugins: tuple[Plugin, Placement], secure: bool = False) -> list[str]:
        with caplog.at_level(logging.INFO, logger="gatepost"):
            session = talk(octets, *plugins, secure=secure)
        lines = [record.getMessage().replace(session.id, "ID") for record in caplog.records]
        return [re.sub(r"\d+\.\d\d s", "T", line) for line in lines]

    return lines


HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<anne@client.example>\r\n"
BOB, SALES = b"RCPT TO:<bob@example.org>\r\n", b"RCPT TO:<sales@example.org>\r\n"


def test_a_session_reads_like_a_story(journal: Told) -> None:
    lines = journal(HELLO + MAIL + SALES + BOB + b"DATA\r\n.\r\nQUIT\r\n", NO)
    assert [re.sub(r"\d+ octets", "N octets", line) for line in lines] == [
        "ID connected from 192.0.2.1:7 to mx",
        "ID.1 rcpt: judges denies: No sales (<sales@example.org>)",
        "ID.1 rcpt: takes_all accepts (<bob@example.org>)",
        "ID.1 queue: takes_all accepts",
        "ID.1 <anne@client.example> -> <bob@example.org>, N octets from 192.0.2.1:7 "
        "(client.example) in T: 250 2.0.0 Queued as ID.1 (takes_all on queue)",
        "ID 192.0.2.1:7 (client.example) gone after T and 1 message, 1 taken, N octets",
    ]


def test_tls_and_the_user_are_told_of_when_they_are_known(journal: Told) -> None:
    assert "ID speaks TLSv1.3 TLS_AES_256_GCM_SHA384" in " ".join(
        journal(HELLO + b"STARTTLS\r\n", secure=True)
    )


def test_who_has_authenticated_is_told_of(journal: Told) -> None:
    lines = journal(HELLO + b"AUTH PLAIN AGFubmUAc2VjcmV0\r\n")
    assert lines[1:3] == ["ID auth: takes_all accepts", "ID is anne, by PLAIN"]


def test_that_nobody_spoke_is_told_where_it_refuses(journal: Told) -> None:
    lines = journal(HELLO + b"AUTH PLAIN AGV2ZQBzZWNyZXQ=\r\n")
    assert lines[1] == "ID auth: nobody denies"


@pytest.mark.parametrize(
    ("placement", "told"),
    [
        (Placement("judges"), "denies"),
        (Placement("judges", mode="report"), "denies (report)"),
        (Placement("judges", mode="later", pronounce="data"), "denies (later)"),
        (Placement("judges", soften=True), "defers"),
        (Placement("judges", name="shops"), "denies"),
    ],
)
def test_what_follows_from_a_decision_is_told_with_it(
    placement: Placement, told: str, journal: Told
) -> None:
    name = placement.name or placement.use
    lines = journal(HELLO + MAIL + SALES, (Judges(Deny("No sales")), placement))
    assert f"ID.1 rcpt: {name} {told}: No sales (<sales@example.org>)" in lines


def test_a_name_that_is_refused_is_told_with_the_refusal(journal: Told) -> None:
    assert "ID helo: judges denies: No sales (sales.example)" in journal(
        b"EHLO sales.example\r\n", NO
    )


def test_programs_get_a_decision_as_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gatepost"):
        session = talk(HELLO + MAIL + SALES, NO)
    decisions = [record for record in caplog.records if record.__dict__["event"] == "decision"]
    (record,) = decisions
    assert record.name == f"{PLUGIN_LOGGER}.judges"
    fields: dict[str, Any] = dict(record.__dict__["fields"])
    assert fields.pop("seconds") >= 0
    assert fields == {
        "session": session.id,
        "message": f"{session.id}.1",
        "verdict": "deny",
        "plugin": "judges",
        "hook": "rcpt",
        "reason": "No sales",
        "mode": "enforce",
        "to": "sales@example.org",
    }


# -- Where it stands ------------------------------------------------------------------------------

PLUGINS = [NO, (TakesAll(), Placement("takes_all", name="box"))]


def placed(caplog: pytest.LogCaptureFixture, **levels: int) -> list[tuple[Plugin, Placement]]:
    """The plugins with the journal that comes of levels, `plugin__box` for gatepost.plugin.box."""
    with caplog.at_level(logging.WARNING, logger="gatepost"):
        loggers = [logging.getLogger(f"gatepost.{name.replace('__', '.')}") for name in levels]
        before = [logger.level for logger in loggers]
        try:
            for logger, level in zip(loggers, levels.values(), strict=True):
                logger.setLevel(level)
            return with_journal(PLUGINS)
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def test_where_nobody_reads_there_is_no_journal(caplog: pytest.LogCaptureFixture) -> None:
    assert placed(caplog) == PLUGINS


@pytest.mark.parametrize(
    "read", ["connection", "plugin", "plugin__judges", "plugin__box", "plugin__nobody"]
)
def test_whoever_reads_of_decisions_or_connections_gets_all(
    read: str, caplog: pytest.LogCaptureFixture
) -> None:
    (journal, placement), *others = placed(caplog, **{read: logging.INFO})
    assert (type(journal), placement.use) == (Journal, "journal")
    assert others == PLUGINS


@pytest.mark.parametrize("read", ["message", "session"])
def test_whoever_reads_summaries_gets_those(read: str, caplog: pytest.LogCaptureFixture) -> None:
    (journal, _), *others = placed(caplog, **{read: logging.INFO})
    assert type(journal) is Summaries
    assert others == PLUGINS


def test_a_plugin_that_is_not_there_makes_no_journal(caplog: pytest.LogCaptureFixture) -> None:
    assert placed(caplog, plugin__dnsbl=logging.INFO) == PLUGINS
