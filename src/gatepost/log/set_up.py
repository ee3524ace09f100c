"""From the table [log] to a log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TextIO

from gatepost.config.log import Level, LogSettings, handler_class, is_class
from gatepost.log.journald import JOURNAL, Journald
from gatepost.log.json_lines import JsonLines
from gatepost.log.relay import Relay, Sink
from gatepost.log.sinks import Handled, LogFile, LogStream
from gatepost.log.syslog import SYSLOG, Syslog
from gatepost.log.text_lines import DATE_AND_TIME, TIME_OF_DAY, TextLines

LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
#: The loggers to which the settings in force give levels of their own.
_levelled: set[str] = set()
#: Where those listen who are sent the log.
_PLACES = {"syslog": SYSLOG, "journald": JOURNAL}


class CannotLog(Exception):
    """The target of the log cannot be had; the text says which, and why."""


def set_up(settings: LogSettings, *, quiet: bool) -> None:
    """Have all events go where the settings say, and nowhere else; a thread writes them.

    With `quiet`, only warnings and errors do.  May be called again at any time: what the log before
    has not written yet is written there; that is waited for, five seconds at most.  Raises
    CannotLog, and the log before stays in force.
    """
    relay = Relay(_sink(settings))
    least = logging.WARNING if quiet else logging.DEBUG
    level = max(LEVELS[settings.level], least)
    wanted = {name: max(LEVELS[one], least) for name, one in settings.levels.items()}
    # Libraries may tell secrets when they are asked for everything.
    _install(relay, max(level, logging.INFO), {"gatepost": level} | wanted)


def log_to(stream: TextIO, level: int) -> None:
    """Write all events of this level and above to a stream, in colour if it is a terminal.

    Each is written before its teller goes on.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextLines(colour=stream.isatty()))
    _install(handler, level)


def log_nothing() -> None:
    """Write no event at all."""
    _install(logging.NullHandler(), logging.CRITICAL)


def _install(
    handler: logging.Handler, level: int, levels: Mapping[str, int] = MappingProxyType({})
) -> None:
    root = logging.getLogger()
    former = root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _levelled.difference(levels):
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, wanted in levels.items():
        logging.getLogger(name).setLevel(wanted)
    _levelled.clear()
    _levelled.update(levels)
    for one in former:
        if isinstance(one, Relay):
            one.close()


def _sink(settings: LogSettings) -> Sink:
    target = settings.target
    if is_class(target):
        return Handled(_dressed(_made(settings), _lines(settings, DATE_AND_TIME)))
    try:
        if target == "journald":
            return Handled(Journald(_PLACES[target]))
        if target == "syslog":
            handler = Syslog(_PLACES[target])  # it tells the time itself
            return Handled(_dressed(handler, _lines(settings, "")))
        if target == "stderr":
            colour = sys.stderr.isatty()
            return LogStream(sys.stderr, _lines(settings, TIME_OF_DAY, colour=colour))
        return LogFile(target, _lines(settings, DATE_AND_TIME))
    except OSError as error:
        where = f" ({_PLACES[target]})" if target in _PLACES else ""
        raise CannotLog(f"cannot log to {target}{where}: {error.strerror}") from error


def _lines(settings: LogSettings, moment: str, *, colour: bool = False) -> logging.Formatter:
    return JsonLines() if settings.format == "json" else TextLines(moment, colour=colour)


def _made(settings: LogSettings) -> logging.Handler:
    """A handler of the class that the settings name."""
    kind: Callable[..., logging.Handler] = handler_class(settings.target)
    try:
        return kind(**settings.options)
    except Exception as error:  # somebody else's constructor may raise whatever it likes
        raise CannotLog(f"cannot log to {settings.target}: {error!r}") from error


def _dressed(handler: logging.Handler, lines: logging.Formatter) -> logging.Handler:
    """The handler, with a formatter if it has none of its own."""
    if handler.formatter is None:
        handler.setFormatter(lines)
    return handler
