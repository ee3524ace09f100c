"""The log as a person reads it: one line an event, on standard error."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from typing import TextIO

import click

from gatepost.visible import visible

#: Exceptions of one event that are explained: the last, and what it came from.
_CAUSES = 3

_COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class LogLines(logging.Formatter):
    """Writes an event as `12:30:59 warning: what happened`; control characters are spelled out.

    An exception is told behind it, with the lines of code that led there, the outermost first.
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line of one event, without its line end."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "".join(f": {words}" for words in _explained(record.exc_info[1]))
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = visible(f"{level}{text}")
        if not self._colour:
            return f"{moment} {line}"
        return f"{click.style(moment, dim=True)} {click.style(line, _COLOURS.get(record.levelno))}"


def log_to(stream: TextIO, level: int) -> None:
    """Write all events of this level and above to a stream, in colour if it is a terminal."""
    log_through(logging.StreamHandler(stream), level, colour=stream.isatty())


def log_through(handler: logging.Handler, level: int, *, colour: bool = False) -> None:
    """Give all events of this level and above to one handler, and to no other."""
    handler.setFormatter(LogLines(colour=colour))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _explained(error: BaseException) -> Iterator[str]:
    """An exception, then those that it came from."""
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if cause is None:
            return
        frames = traceback.extract_tb(cause.__traceback__)
        path = " > ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
        notes = "".join(f", {note}" for note in getattr(cause, "__notes__", ()))
        yield f"{type(cause).__name__}: {cause}{notes} ({path})"
        cause = cause.__cause__
