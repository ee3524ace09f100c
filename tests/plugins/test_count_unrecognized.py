"""The plugin count_unrecognized: a session may say so many words that are no commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost import Defer
from gatepost.hooks.loader import load
from gatepost.plugins.command.count_unrecognized import CountUnrecognized
from gatepost.testing import a_session, converse, run

ENOUGH = Defer("Too many unrecognized commands", code=421, status="4.7.0")


@pytest.mark.parametrize("most", [0, 1, 4])
def test_the_one_after_the_last(most: int) -> None:
    plugin, session = CountUnrecognized(most=most), a_session()
    heard = [plugin.unrecognized(session, "HALLO", "") for _ in range(most + 2)]
    assert heard == [None] * most + [ENOUGH, ENOUGH]


def test_every_session_is_counted_for_itself() -> None:
    plugin = CountUnrecognized(most=1)
    for session in (a_session(), a_session()):
        assert plugin.unrecognized(session, "HALLO", "") is None


def test_commands_that_are_known_do_not_count_however_wrong() -> None:
    script = """
        S: 220 ...
        C: RCPT TO:<bob@example.org>
        S: 503 ...
        C: MAIL anne
        S: 501 ...
        C: NOOP
        S: 250 ...
        C: HALLO
        S: 500 5.5.2 Command not recognized
        C: HALLO again
        S: 421 4.7.0 Too many unrecognized commands
        S: <closed>
    """
    run(converse([CountUnrecognized(most=1)], script))


def test_fewer_than_none_is_an_error(tmp_path: Path) -> None:
    table = {"use": "count_unrecognized", "most": -1}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        ("count_unrecognized: option 'most' must be 0 or more, not -1", "most")
    ]
