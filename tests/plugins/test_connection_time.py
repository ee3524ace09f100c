"""The plugin connection_time: how long sessions last, in the log."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest

from gatepost.hooks.loader import load
from gatepost.plugins.disconnect.connection_time import ConnectionTime
from gatepost.testing import a_session, converse, run


@pytest.mark.parametrize(
    ("at_least", "seconds", "words"),
    [
        (0, 12.345, "stayed for 12.35 s, messages: 2"),
        (0, 0, "stayed for 0.00 s, messages: 2"),
        (0, -5, "stayed for 0.00 s, messages: 2"),
        (60, 60, "stayed for 60.00 s, messages: 2"),
        (60, 59.9, ""),
    ],
)
def test_what_is_logged(
    at_least: float, seconds: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    plugin, session = ConnectionTime(at_least=at_least), a_session()
    session.started, session.messages = 1000.0, 2
    plugin.clock = lambda: 1000.0 + seconds
    with caplog.at_level(logging.INFO):
        plugin.disconnect(session)
    assert caplog.messages == ([f"{session.id} 192.0.2.1:49152 {words}"] if words else [])


def test_clients_that_hang_up_are_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gatepost.plugins"):
        session = run(converse([ConnectionTime()], "S: 220 ..."))
    assert [message.split()[0] for message in caplog.messages] == [session.id]


def test_less_than_no_time_is_an_error(tmp_path: Path) -> None:
    table = {"use": "connection_time", "at_least": -1}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        ("connection_time: option 'at_least' must be 0 or more, not -1.0", "at_least")
    ]


def test_no_number_is_no_time() -> None:
    with pytest.raises(ValueError, match="'at_least' must be 0 or more, not nan"):
        ConnectionTime(at_least=math.nan)
