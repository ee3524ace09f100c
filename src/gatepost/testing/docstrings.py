"""Dialogues in docstrings: what a plugin's author shows is what is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_DIALOGUE = re.compile(r"[SC]:(?: |$)")
_OPTION = re.compile(r"""\[|[A-Za-z0-9_"'.-]+\s*=""")


class Shown(NamedTuple):
    """One dialogue of a docstring."""

    options: str  #: TOML: of the plugin, or whole [[plugin]] tables
    script: str
    line: int  #: of the docstring, from 1, on which it begins


def dialogues(docstring: str | None) -> list[tuple[str, str]]:
    """The dialogues of a docstring, each with the options that it is held under.

    An indented run of `S:` and `C:` lines is a dialogue.  An indented block of TOML, a plugin's
    options or whole [[plugin]] tables, applies to the dialogues behind it, until the next.
    """
    return [(shown.options, shown.script) for shown in shown_dialogues(docstring)]


def shown_dialogues(docstring: str | None) -> list[Shown]:
    """The same, with the lines on which they begin."""
    found: list[Shown] = []
    options: list[str] = []
    used = False  #: whether a dialogue has been held under these options
    for line, block in _indented_blocks(docstring or ""):
        first = next((text for text in block if not text.startswith("#")), "")
        if _DIALOGUE.match(first):
            found.append(Shown("\n".join(options), "\n".join(block), line))
            used = True
        elif _OPTION.match(first):
            options = block if used else [*options, *block]
            used = False
    return found


def _indented_blocks(docstring: str) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that stand further right than the text, without the blanks before them."""
    lines = docstring.expandtabs().split("\n")
    prose = [line for line in lines[1:] if line.strip() and not _is_shown(line.strip())]
    margin = min(map(_indent, prose), default=-1)  # without prose, all that stands there is shown
    block: list[str] = []
    for number, line in enumerate([*lines[1:], ""], 2):
        if line.strip() and _indent(line) > margin:
            block.append(line.strip())
        elif block:
            yield number - len(block), block
            block = []


def _is_shown(text: str) -> bool:
    return bool(_DIALOGUE.match(text) or _OPTION.match(text))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
