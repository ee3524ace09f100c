"""The shapes of generated pages."""

from __future__ import annotations

import pytest

from gatepost.reference.markdown import MARK, fenced, page, table


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("a | b", r"a \| b"),
        ("`a | b`", r"`a \| b`"),
        ("two\nlines", "two lines"),
        ("<b> `<c>`", "&lt;b> `<c>`"),
        ("", ""),
    ],
)
def test_a_cell_stays_a_cell(cell: str, written: str) -> None:
    assert table(("head",), [(cell,)]) == f"| head |\n| --- |\n| {written} |"


def test_a_page_has_one_blank_line_between_its_parts() -> None:
    assert page("Title", "one\n", "", "\n\ntwo") == f"# Title\n\n{MARK}\n\none\n\ntwo\n"


def test_a_block_ends_where_its_text_ends() -> None:
    assert fenced("toml", "\na = 1\n\n") == "```toml\na = 1\n```"
