"""Markdown: the few shapes that the generated pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MARK = "<!-- Made from the code by `make docs`; changes to this file are lost. -->"


def page(title: str, *parts: str) -> str:
    """A whole page: its title, then its parts with a blank line between each and the next."""
    return "\n\n".join([f"# {title}", MARK, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a `|` or a line break in a cell does not end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def code(text: str) -> str:
    """A word of code within a sentence; nothing for an empty one."""
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    """One line that neither ends its cell nor is taken for HTML, except in its words of code."""
    words = " ".join(text.split()).replace("|", r"\|").split("`")
    words[::2] = [word.replace("<", "&lt;") for word in words[::2]]
    return "`".join(words)
