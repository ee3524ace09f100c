"""Dialogues that are found in docstrings."""

from __future__ import annotations

import pytest

from gatepost.testing import dialogues
from gatepost.testing.docstrings import shown_dialogues


class Shown:
    """A label.

    Some words, and a dialogue without options:

        S: 220 ...
        C: EHLO x
        # a comment
        S: 250 ...

    Options apply to what comes behind them,

        zones = ["a.example"]
        wait = 5

        S: 220 a

    also to several,

        S: 220 b

    until there are others; those may be whole tables.

        [[plugin]]
        use = "one"

        [[plugin]]
        use = "two"

        C: early

    Other examples are left alone:

        $ gatepost check
    """


def test_dialogues_and_their_options() -> None:
    options = 'zones = ["a.example"]\nwait = 5'
    tables = '[[plugin]]\nuse = "one"\n[[plugin]]\nuse = "two"'
    assert dialogues(Shown.__doc__) == [
        ("", "S: 220 ...\nC: EHLO x\n# a comment\nS: 250 ..."),
        (options, "S: 220 a"),
        (options, "S: 220 b"),
        (tables, "C: early"),
    ]


def test_the_lines_on_which_they_begin() -> None:
    assert [shown.line for shown in shown_dialogues(Shown.__doc__)] == [5, 15, 19, 29]
    lines = (Shown.__doc__ or "").split("\n")
    assert lines[5 - 1].strip() == "S: 220 ..."
    assert lines[29 - 1].strip() == "C: early"


@pytest.mark.parametrize(
    "docstring",
    [
        None,
        "",
        "A label.",
        "A label.\n\n    Text like this: S: 220 is no dialogue.\n    ",
        "A label.\n\n        wait = 5\n    ",
    ],
)
def test_docstrings_without_dialogues(docstring: str | None) -> None:
    assert dialogues(docstring) == []


def test_a_docstring_without_further_words() -> None:
    docstring = "A label.\n\n    wait = 5\n\n    S: 220 ...\n    C: NOOP\n    "
    assert dialogues(docstring) == [("wait = 5", "S: 220 ...\nC: NOOP")]
