"""Scroll: lines about messages, below or above a legend of the symbols in them."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from gatepost.archive.records import Record
from gatepost.cli.symbols import COLOURS, Strip
from gatepost.cli.wording import listed, outcome, paths
from gatepost.visible import visible

#: Columns of the time and of an id, each with the blank behind it.
_TIME, _ID = 9, 17


class Scroll(Protocol):
    """Where the lines go."""

    def show(self, record: Record, strip: Strip) -> None:
        """Add a line about a record."""


class PlainScroll:
    """Lines for a file or another program: a legend stands where the plugins change."""

    def __init__(self) -> None:
        self._legend: list[str] = []

    def show(self, record: Record, strip: Strip) -> None:
        """Add a line about a record."""
        legend = _legend(strip)
        if legend != self._legend:
            self._legend = legend
            for line in legend:
                click.echo(line)
        click.echo(f"{_before(record)}{strip.of(record)}  {_behind(record)}")


class TerminalScroll:
    """Lines in colour that run through a terminal, with the legend below them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._legend: list[str] = []

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self, record: Record, strip: Strip) -> None:
        """Add a line about a record."""
        legend = _legend(strip)
        if legend != self._legend:
            self._legend = legend
            self._live.update(Group(*(Text(line, "dim") for line in legend)), refresh=True)
        symbols = Text()
        for symbol in strip.of(record):
            symbols.append(symbol, COLOURS.get(symbol, "dim"))
        line = Text.assemble((_before(record), "dim"), symbols, f"  {_behind(record)}")
        self._console.print(line, no_wrap=True, overflow="ellipsis")


def _legend(strip: Strip) -> list[str]:
    """The letters of the plugins, where their symbols stand, and what both mean."""
    return [" " * (_TIME + _ID) + strip.head, *map(visible, strip.legend)]


def _before(record: Record) -> str:
    """What stands in front of the symbols."""
    moment = time.strftime("%H:%M:%S", time.localtime(record.started + record.seconds))
    return f"{moment:<{_TIME}}{visible(record.id):<{_ID}}"


def _behind(record: Record) -> str:
    """What stands behind the symbols."""
    parts = [record.client or "unix", record.hello]
    if record.message:
        count = len(record.recipients) + record.more_recipients
        to = listed(paths(record.recipients[:1]), count) if count else "nobody"
        parts.append(f"<{record.sender}> -> {to}")
    return visible("  ".join(filter(None, [*parts, outcome(record)])))
