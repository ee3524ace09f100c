"""Foreign text, and what a terminal gets to see of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with blanks", "plain, with blanks"),
        ("bücher.example", "bücher.example"),
        ("a\n12:00:00 forged", r"a\n12:00:00 forged"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("nul \0, bell \a, tab \t", r"nul \x00, bell \x07, tab \t"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("\u202eright to left", r"\u202eright to left"),
        ("line\u2028separator", r"line\u2028separator"),
        ("\udcff from octets", r"\udcff from octets"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_all_of_it_can_be_printed_on_one_line(text: str) -> None:
    assert visible(text).isprintable()
    assert len(visible(text).splitlines()) <= 1
