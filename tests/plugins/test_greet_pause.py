"""The plugin greet_pause: clients wait for their turn, or are refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from gatepost import Answer, Deny, Entries, Session
from gatepost.hooks.loader import load
from gatepost.hooks.placement import Placement
from gatepost.plugins.connect.greet_pause import GreetPause
from gatepost.plugins.connect.relay import Relay
from gatepost.plugins.rcpt.domains import Domains
from gatepost.testing import a_session, a_transaction, converse, run

TALKED = Deny("You spoke before you were greeted", status="5.5.0", disconnect=True)
POURED = Deny("You sent the message before it was asked for", status="5.5.0", disconnect=True)
OURS = Domains(Entries(["example.org"]))


async def paused(plugin: GreetPause, session: Session, *, talks_at: float) -> tuple[Answer, float]:
    """The verdict on a client that talks after so many seconds, and how long it took."""

    def talk() -> None:
        session.unread = 6

    loop = asyncio.get_running_loop()
    start = loop.time()
    loop.call_later(talks_at, talk)
    answer = plugin.connect(session)
    assert isinstance(answer, Awaitable)
    return await answer, loop.time() - start


@pytest.mark.parametrize(
    ("talks_at", "verdict"), [(0.0, TALKED), (4.9, TALKED), (5.1, None), (100.0, None)]
)
def test_the_whole_pause_counts(talks_at: float, verdict: Deny | None) -> None:
    heard, seconds = run(paused(GreetPause(seconds=5), a_session(), talks_at=talks_at))
    assert heard == verdict
    assert 5 <= seconds < 6


@pytest.mark.parametrize(
    ("check", "unread", "chunked", "verdict"),
    [
        (("connect", "data"), 7, False, POURED),
        (("data",), 7, False, POURED),
        (("connect", "data"), 0, False, None),
        (("connect",), 7, False, None),
        # RFC 3030, 4.2: a chunk stands right behind its BDAT.
        (("connect", "data"), 7, True, None),
    ],
)
def test_before_the_message(check: Any, unread: int, chunked: bool, verdict: Deny | None) -> None:
    transaction = a_transaction()
    transaction.session.unread, transaction.chunked = unread, chunked
    assert GreetPause(check=check).data(transaction) == verdict


def test_where_the_banner_is_not_looked_at_nobody_waits() -> None:
    assert GreetPause(check=("data",)).connect(a_session()) is None


def test_a_client_that_talks_first_is_turned_away() -> None:
    script = """
        C: EHLO client.example
        S: 554 5.5.0 You spoke before you were greeted
        S: <closed>
    """
    run(converse([GreetPause()], script))


def test_a_relay_client_need_not_wait() -> None:
    script = """
        C: EHLO client.example
        S: 220 ...
        S: 250 ...
    """
    placement = Placement("greet_pause", unless=("relay",))
    relay = Relay(Entries(["192.0.2.0/24"]))
    run(converse([relay, (GreetPause(), placement)], script))


def test_commands_in_a_batch_are_in_their_turn() -> None:
    script = """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        C: RCPT TO:<bob@example.org>
        C: DATA
        S: 250 2.1.0 ...
        S: 250 2.1.5 ...
        S: 354 ...
        C: .
        S: 451 4.3.0 ...
    """
    run(converse([GreetPause(), OURS], script))


def test_a_message_behind_data_ends_the_session() -> None:
    script = """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        C: RCPT TO:<bob@example.org>
        C: DATA
        C: Subject: Hello
        C: .
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        S: 250 2.1.5 ...
        S: 554 5.5.0 You sent the message before it was asked for
        S: <closed>
    """
    run(converse([GreetPause(), OURS], script))


def test_chunks_need_not_wait() -> None:
    script = r"""
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        C: RCPT TO:<bob@example.org>
        C: BDAT 7 LAST
        C: To: bob\
        C: QUIT
        S: 250 2.1.0 ...
        S: 250 2.1.5 ...
        S: 451 4.3.0 ...
        S: 221 ...
    """
    session = run(converse([GreetPause(), OURS], script))
    assert "greet_pause" not in [decision.plugin for decision in session.trail.decisions]


@pytest.mark.parametrize("seconds", [-1, 301])
def test_a_pause_that_nobody_would_sit_out_is_an_error(seconds: float, tmp_path: Path) -> None:
    table = {"use": "greet_pause", "seconds": seconds}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        (f"greet_pause: option 'seconds' must be from 0 to 300, not {float(seconds)}", "seconds")
    ]


def test_no_number_is_no_pause() -> None:
    with pytest.raises(ValueError, match="'seconds' must be from 0 to 300, not nan"):
        GreetPause(seconds=math.nan)
