"""`gatepost watch`: what happens now, one line a message, with a symbol for each plugin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console

from gatepost.archive.reading import Archive, CannotRead, Found
from gatepost.archive.records import Record
from gatepost.cli.archive_file import archive_path
from gatepost.cli.configuration import config_option
from gatepost.cli.criteria import Criteria, criteria_options
from gatepost.cli.scroll import PlainScroll, Scroll, TerminalScroll
from gatepost.cli.symbols import Strip
from gatepost.visible import visible

#: Seconds between two looks into the file.
PAUSE = 0.25


class News(NamedTuple):
    """A record, and the plugins that it was put to."""

    record: Record
    strip: Strip


@click.command("watch")
@criteria_options
@click.option(
    "-n",
    "--lines",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Begin with so many that were there before.",
)
@config_option
def command(criteria: Criteria, lines: int, config_file: Path) -> None:
    """Show each message as it is answered.

    A session that brings none has a line when it ends.  Each plugin has its place in a strip of
    symbols; a legend says what they mean.  Options that are combined must all apply.  It ends
    with Ctrl-C, and goes on by itself when the server is started anew.
    """
    path = archive_path(config_file)
    console = Console(highlight=False)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        scroll: Scroll = PlainScroll()
        if console.is_terminal:
            scroll = stack.enter_context(TerminalScroll(console))
        for news in follow(path, criteria, lines):
            for record, strip in news:
                scroll.show(record, strip)
            time.sleep(PAUSE)


def follow(path: Path, criteria: Criteria, lines: int) -> Iterator[list[News]]:
    """The latest `lines` records, then at each look those that are new; for ever."""
    trouble = ""
    while True:
        try:
            with Archive(path) as archive:
                trouble = ""
                reader = _Reader(archive, criteria)
                yield reader.latest(lines)
                while archive.is_current:
                    yield reader.new()
                lines = _ALL  # the file that stands in the place of this one has not been seen
        except CannotRead as error:
            if str(error) != trouble:
                trouble = str(error)
                click.echo(visible(f"{trouble}; it is waited for"), err=True)
            yield []


#: More lines than there are.
_ALL = 1 << 62


class _Reader:
    """One archive, as far as it has been read."""

    def __init__(self, archive: Archive, criteria: Criteria) -> None:
        self._archive = archive
        self._criteria = criteria
        self._last = archive.last
        self._strips: dict[int, Strip] = {}

    def latest(self, lines: int) -> list[News]:
        """So many of the records that are there already."""
        archive = self._archive
        found = archive.newest(*([clue] for clue in self._criteria.clues))
        wanted = (one for one in found if one.number <= self._last and self._is_wanted(one))
        return [self._news(one) for one in reversed(list(islice(wanted, lines)))]

    def new(self) -> list[News]:
        """The records that have come since the last look, or the first of them."""
        found = self._archive.after(self._last)
        if found:
            self._last = found[-1].number
        return [self._news(one) for one in found if self._is_wanted(one)]

    def _is_wanted(self, found: Found) -> bool:
        return self._criteria.cover(found.record)

    def _news(self, found: Found) -> News:
        number = found.configuration
        if number not in self._strips:
            self._strips[number] = Strip(self._archive.configuration(number))
        return News(found.record, self._strips[number])
