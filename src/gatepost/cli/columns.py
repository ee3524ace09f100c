"""Columns: a table for a person, wrapped to the terminal; plain lines where none is looking."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatepost.visible import visible

#: Blanks between two columns.
_GAP = 2


def show_columns(rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print rows of equally many cells; `styles` are those of rich, one a column."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for line in _plain(rows):
            click.echo(line)
        return
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for column in range(len(rows[0]) if rows else 0):
        style = styles[column] if column < len(styles) else ""
        table.add_column(style=style, no_wrap=column == 0)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table)


def _plain(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + _GAP for column in zip(*cells, strict=True)]
    return [
        "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
