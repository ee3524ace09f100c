"""The plugin help_text: what HELP tells."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from gatepost import Accept, Entries
from gatepost.hooks.loader import load
from gatepost.plugins.command.help_text import HelpText
from gatepost.testing import a_session, converse, run

TEXTS = HelpText(
    subjects=Entries(["mail first line", "RCPT  of\trecipients ", "MAIL second line"]),
    general=Entries(["Hello.", "Ask."]),
)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", Accept("Hello.\nAsk.")),
        (" ", Accept("Hello.\nAsk.")),
        ("mail", Accept("first line\nsecond line")),
        ("MAIL", Accept("first line\nsecond line")),
        ("MAIL FROM", Accept("first line\nsecond line")),
        ("rcpt", Accept("of\trecipients ")),
        ("MAI", None),
        ("first", None),
    ],
)
def test_what_help_tells(text: str, verdict: Accept | None) -> None:
    assert TEXTS.help(a_session(), text) == verdict


def test_without_lines_there_is_the_usual_answer() -> None:
    assert HelpText().help(a_session(), "") is None
    assert HelpText().help(a_session(), "mail") is None


def test_a_subject_without_a_text_is_an_error(tmp_path: Path) -> None:
    table = {"use": "help_text", "subjects": ["mail", "rcpt of recipients"]}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        ("help_text: option 'subjects': 'mail': no text behind the subject", "subjects")
    ]


def test_a_file_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "help.txt"
    path.write_text("mail old\n")
    plugin = HelpText(subjects=Entries.in_file(path, clock=count(0, 10).__next__))
    assert plugin.help(a_session(), "mail") == Accept("old")
    path.write_text("mail new # since June\n")
    os.utime(path, ns=(0, 1))
    assert plugin.help(a_session(), "mail") == Accept("new")


def test_no_line_can_end_the_reply() -> None:
    script = """
        S: 220 ...
        C: HELP x
        S: 214-2.0.0 one
        S: 214-2.0.0 221 two
        S: 214 2.0.0 three
        C: NOOP
        S: 250 2.0.0 Ok
    """
    run(converse([HelpText(subjects=Entries(["x one\r\n221 two\rthree"]))], script))
