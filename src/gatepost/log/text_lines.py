"""The log as a person reads it: one line an event."""

from __future__ import annotations

import logging
import time

import click

from gatepost.log.record import text_of
from gatepost.visible import visible

#: How the time is told, in the words of `strftime`: to one who looks on, and to one who looks back.
TIME_OF_DAY, DATE_AND_TIME = "%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"

_COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class TextLines(logging.Formatter):
    """Writes an event as `12:30:59 warning: what happened`; control characters are spelled out.

    An exception is told behind it, with the lines of code that led there, the outermost first.
    `moment` says how the time is told; empty: it is not.
    """

    def __init__(self, moment: str = TIME_OF_DAY, *, colour: bool = False) -> None:
        super().__init__()
        self._moment = moment
        self._colour = colour
        self._told = (-1, "")  # the last second, and how it is told

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event, without its line end."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        line = visible(f"{level}{text_of(record)}")
        if not self._moment:
            return line
        moment = self._at(int(record.created))
        if not self._colour:
            return f"{moment} {line}"
        return f"{click.style(moment, dim=True)} {click.style(line, _COLOURS.get(record.levelno))}"

    def _at(self, second: int) -> str:
        known, told = self._told  # together, because several threads log
        if second != known:
            told = time.strftime(self._moment, time.localtime(second))
            self._told = second, told
        return told
