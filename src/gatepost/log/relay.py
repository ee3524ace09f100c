"""Relay: a thread that writes the log, so that nobody else waits for a slow disk or terminal."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from typing import Any, Protocol

from gatepost.visible import visible

#: Events that may wait to be written; when there are so many, further ones are dropped until half
#: of these are written.
ROOM = 10_000
#: Events that are written together.
BATCH = 500
#: Seconds that the thread rests between two batches: to be woken for each event would cost those
#: who log more than the writing.
REST = 0.01
#: Seconds that there are at the end to write what waits.
FAREWELL = 5.0

_DROPPED = "%d lines are missing here: they came faster than they could be written"
_UNWRITTEN = "%d lines are missing here: they could not be written"


class NotWritten(Exception):
    """Some events of a batch were not written, the others were."""

    def __init__(self, count: int, trouble: Exception) -> None:
        super().__init__(repr(trouble))
        self.count = count
        self.trouble = trouble


class Sink(Protocol):
    """Where a relay writes."""

    def prepare(self, record: logging.LogRecord) -> Any:
        """What is to be written of an event; it is asked for where the event happens."""

    def write(self, batch: list[Any]) -> None:
        """Write what was prepared; that may take time.

        Raises NotWritten, or any other exception where nothing of the batch was written.
        """

    def close(self) -> None:
        """Write no more."""


class Relay(logging.Handler):
    """Hands events to a sink through a queue that is bounded.

    Events that found no room, or that could not be written, are counted, and told of in one line
    when it goes on.
    """

    def __init__(self, sink: Sink, *, room: int = ROOM) -> None:
        super().__init__()
        self._sink = sink
        self._room = room
        self._waiting: SimpleQueue[Any] = SimpleQueue()  # at the end stands None
        self._dropped = 0  # since there was room last
        self._unwritten = 0  # since anything was written last
        self._closed = False
        self._thread = Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Let an event wait for its turn, or count it."""
        if get_ident() == self._thread.ident:
            return  # what a sink logs about its own troubles would make it some more
        if self._closed:
            self._hand_on(record)
            return
        waiting = self._waiting.qsize()
        if waiting >= self._room or (self._dropped and waiting > self._room // 2):
            self._dropped += 1
            return
        self._tell_of_the_dropped()
        try:
            prepared = self._sink.prepare(record)
        except Exception as error:  # its values may raise whatever they like when they become text
            about = record.msg if type(record.msg) is str else type(record.msg)
            prepared = self._notice("cannot tell %r: %r", about, type(error))
        self._waiting.put(prepared)

    def close(self) -> None:
        """Write what waits, and no more.  A sink that does not take it in time is left behind."""
        self.acquire()  # whoever is in `emit` finishes first
        try:
            was_open, self._closed = not self._closed, True
            if was_open:
                self._tell_of_the_dropped()
                self._waiting.put(None)
        finally:
            self.release()
        if was_open:
            self._thread.join(FAREWELL)
        super().close()

    def _hand_on(self, record: logging.LogRecord) -> None:
        """Let whoever has taken over have an event that was on its way here."""
        for other in logging.getLogger().handlers:
            if other is not self:
                other.handle(record)

    def _tell_of_the_dropped(self) -> None:
        if self._dropped:
            self._waiting.put(self._notice(_DROPPED, self._dropped))
            self._dropped = 0

    def _notice(self, text: str, *values: object) -> Any:
        level = logging.WARNING
        return self._sink.prepare(
            logging.LogRecord(__name__, level, __file__, 0, text, values, None)
        )

    # -- In the thread ----------------------------------------------------------------------------

    def _write(self) -> None:
        is_over = False
        while not is_over:
            batch = [self._waiting.get()]
            with suppress(Empty):
                while len(batch) < BATCH:
                    batch.append(self._waiting.get_nowait())
            prepared = [one for one in batch if one is not None]
            is_over = len(prepared) < len(batch)
            if prepared:
                self._hand_over(prepared)
            if not self._closed:
                time.sleep(REST)
        try:
            self._sink.close()
        except Exception as error:  # somebody else's handler may raise whatever it likes
            _tell_beside(f"The log cannot be closed: {error!r}")

    def _hand_over(self, batch: list[Any]) -> None:
        if self._unwritten and self._attempt([self._notice(_UNWRITTEN, self._unwritten)]) is None:
            self._unwritten = 0
        if failure := self._attempt(batch):
            if not self._unwritten:
                _tell_beside(f"The log cannot be written: {failure}")
            self._unwritten += failure.count

    def _attempt(self, batch: list[Any]) -> NotWritten | None:
        try:
            self._sink.write(batch)
        except NotWritten as failure:
            return failure
        except Exception as error:  # somebody else's handler may raise whatever it likes
            return NotWritten(len(batch), error)
        return None


def _tell_beside(text: str) -> None:
    # Not by `print`: a thread that is left behind in there would hold a lock of Python's.
    with suppress(OSError, ValueError, AttributeError):  # standard error may be closed, too
        os.write(sys.stderr.fileno(), f"{visible(text)}\n".encode())
