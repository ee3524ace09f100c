"""Writer: a thread that puts records into a ring; whoever hands them over never waits."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread

from gatepost.archive.drafts import Draft
from gatepost.archive.ring import AT_ONCE, Ring

log = logging.getLogger(__name__)

#: Seconds for which records are gathered before they are written together.
GATHERING = 0.1
#: Seconds without a record after which what is too old is looked for.
IDLE = 60.0
#: Seconds that the last records have to be written when it ends.
FAREWELL = 5.0
#: Weight of the records that may wait, in hundreds of octets or so.
WAITING = 100_000
#: Seconds between two complaints about records that were lost.
_COMPLAINING = 60.0


class Writer:
    """Takes records from an event loop, and writes many of them together.

    When they come faster than they can be written, or cannot be written at all, they are dropped
    and counted: they explain mail, they are none.
    """

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._queue: SimpleQueue[Draft | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._ending = Event()
        # Each is counted by one thread alone, so that neither needs a lock.
        self._weight_in = 0
        self._weight_out = 0
        self._turned_away = 0
        self._unwritten = 0
        self._told = 0  #: of those that were lost, how many have been complained of
        self._told_at = 0.0

    @property
    def dropped(self) -> int:
        """How many records were lost so far."""
        return self._turned_away + self._unwritten

    def start(self) -> None:
        """Begin to write."""
        self._ending.clear()
        self._thread = Thread(target=self._run, name="gatepost-trail", daemon=True)
        self._thread.start()

    def put(self, draft: Draft) -> None:
        """Have a record made of a draft, and written soon."""
        if self._weight_in - self._weight_out > WAITING:
            self._turned_away += 1
            return
        self._weight_in += draft.weight
        self._queue.put(draft)

    def stop(self) -> None:
        """Write what waits, for `FAREWELL` seconds at most, and end; this blocks."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._ending.set()
        self._queue.put(None)
        thread.join(FAREWELL)

    # -- In the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        drafts: list[Draft] = []  # none at first: the file is made, so that it can be looked into
        while True:
            is_last = self._ending.is_set() and len(drafts) < AT_ONCE
            reason = "they come faster than they can be written"
            try:
                if drafts:
                    self._ring.write([draft.record() for draft in drafts])
                drafts = []
                self._ring.trim()
            except (sqlite3.Error, OSError) as error:
                self._unwritten += len(drafts)
                reason = str(error)
            if self.dropped > self._told:
                self._complain(reason)
            if is_last:
                break
            drafts = self._gathered()
        with suppress(sqlite3.Error):
            self._ring.close()

    def _gathered(self) -> list[Draft]:
        """The drafts that have come, after a while in which more may come; none after `IDLE`."""
        drafts: list[Draft] = []
        try:
            self._take(self._queue.get(timeout=0 if self._ending.is_set() else IDLE), drafts)
            self._ending.wait(GATHERING)
            while len(drafts) < AT_ONCE:
                self._take(self._queue.get_nowait(), drafts)
        except Empty:
            pass
        return drafts

    def _take(self, draft: Draft | None, drafts: list[Draft]) -> None:
        if draft is not None:
            self._weight_out += draft.weight
            drafts.append(draft)

    def _complain(self, reason: str) -> None:
        now = time.monotonic()
        if self._told and now - self._told_at < _COMPLAINING:
            return
        lost = self.dropped - self._told
        self._told, self._told_at = self.dropped, now
        log.warning("Records that the trail lost: %d: %s", lost, reason)
