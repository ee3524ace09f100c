"""Foreign text made fit for a terminal or a log: what cannot be seen is spelled out."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""The text on one line: a line break becomes `\n`, an escape `\x1b`.

    Whatever a client sends, it neither forges a line nor gives orders to a terminal.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in text)


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
