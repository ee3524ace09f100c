"""SASLprep: the RFC's examples, and that what is prepared stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.saslprep import saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        # RFC 4013, 3.
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        # RFC 4013, 2.1: spaces become the space, what is invisible becomes nothing.
        ("a\u00a0b\u3000c\u1680d", "a b c d"),
        ("a\u200d\ufeffb", "ab"),
        ("\u00ad", ""),
        ("", ""),
        ("e\u0301", "\u00e9"),
        # RFC 3454, 6: right to left from the first character to the last.
        ("\u0627\u0628", "\u0627\u0628"),
        ("\u06271\u0628", "\u06271\u0628"),
        # RFC 3454, 7: a query may hold what was unassigned in 2002.
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_what_looks_the_same_becomes_the_same(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    [
        # RFC 4013, 3.
        "\u0007",
        "\u06271",
        # RFC 4013, 2.3, a character of each table.
        "a\tb",
        "a\x7fb",
        "\u0085",
        "\u06dd",
        "\ue000",
        "\ufffe",
        chr(0xD800),
        "\ufffd",
        "\u2ff0",
        "\u202e",
        "\U000e0041",
        "a\0",
        # RFC 3454, 6.
        "\u0627a\u0628",
        "1\u0627",
    ],
)
def test_what_is_prohibited(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it ") as raised:
        saslprep(text)
    assert text not in str(raised.value)


@given(st.text())
def test_what_is_prepared_stays_so(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert saslprep(prepared) == prepared
