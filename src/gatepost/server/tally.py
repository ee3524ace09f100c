"""Tally: counts that several worker processes keep together, without a lock.

Each worker writes to a region of its own and reads those of all.  So nobody waits for anybody, and
what a worker that died had counted is forgotten by clearing its region.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from hashlib import blake2b
from struct import Struct

#: Counts that one worker can keep at a time.
SLOTS = 16_384
#: Workers that can count together.
REGIONS = 128
_SLOT = Struct("<16sII")  # a name's hash, the count, and when it was last raised
_COUNT = Struct("<II")
_REGION = SLOTS * _SLOT.size
#: At the front an octet for each region says whether it is in use, and behind them stands a secret:
#: whoever could reckon where names stand could crowd out the count of all connections, or his own.
_FRONT = 4096
_SECRET = slice(REGIONS, REGIONS + 16)
#: Neighbouring slots among which a name may stand.
_NEIGHBOURS = 16
_KEY = 16
_WINDOW = _NEIGHBOURS * _SLOT.size
_NOBODY = bytes(_KEY)
#: The time of what is not forgotten but lowered: it is the last to give way.
_NOW = 0xFFFF_FFFF


class Tally:
    """Counts by name, of this worker and of all together.

    `memory` is shared between the workers; `region` says which part is ours.  Where all slots that
    a name may have are taken, the count that was raised the longest ago gives way; one of things
    that are still there does so last, the smallest first, or who makes others up would be let off
    his own.
    """

    __slots__ = ("_clock", "_memory", "_number", "_region", "_secret")

    def __init__(
        self,
        memory: mmap.mmap,
        region: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._number = region
        self._region = _FRONT + region * _REGION
        self._secret = memory[_SECRET]
        self._clock = clock

    @classmethod
    def private(cls, *, clock: Callable[[], float] = time.monotonic) -> Tally:
        """Counts of this process alone."""
        memory = mmap.mmap(-1, _FRONT + _REGION)
        memory[_SECRET] = os.urandom(16)
        tally = cls(memory, clock=clock)
        tally.enter()
        return tally

    def enter(self) -> None:
        """Begin to count in the region, with nothing."""
        self._memory[self._region : self._region + _REGION] = bytes(_REGION)
        self._memory[self._number] = 1

    def leave(self) -> None:
        """What was counted in the region counts no more."""
        self._memory[self._number] = 0

    def raise_(self, name: str, within: float | None = None) -> int:
        """Count one more of a name; how many there are now, in all workers.

        With `within`, what was not raised for so many seconds has been forgotten.
        """
        key, place = self._placed(name)
        now = int(self._clock())
        offset = self._own(key, place)
        found, count, last = _SLOT.unpack_from(self._memory, offset)
        if found != key or _is_old(last, now, within):
            count = 0
        self._write(offset, count + 1, _NOW if within is None else now)
        if found != key:
            self._memory[offset : offset + _KEY] = key
        return self._total(key, place, now, within)

    def lower(self, name: str) -> None:
        """Count one less of a name that this worker has raised."""
        key, place = self._placed(name)
        offset = self._find(self._region, key, place)
        if offset is None:
            return
        _, count, last = _SLOT.unpack_from(self._memory, offset)
        if count <= 1:
            self._memory[offset : offset + _SLOT.size] = bytes(_SLOT.size)
        else:
            self._write(offset, count - 1, last)

    def total(self, name: str, within: float | None = None) -> int:
        """How many of a name there are, in all workers."""
        key, place = self._placed(name)
        return self._total(key, place, int(self._clock()), within)

    def _placed(self, name: str) -> tuple[bytes, int]:
        """A name's hash, and the first octet in a region where it may stand."""
        octets = name.encode("utf-8", "surrogateescape")
        key = blake2b(octets, digest_size=_KEY, key=self._secret).digest()
        first = int.from_bytes(key[:4], "little") % (SLOTS - _NEIGHBOURS)
        return key, first * _SLOT.size

    def _total(self, key: bytes, place: int, now: int, within: float | None) -> int:
        total = 0
        front = self._memory[:REGIONS]
        number = front.find(1)
        while number >= 0:
            start = _FRONT + number * _REGION + place
            window = self._memory[start : start + _WINDOW]  # it may change at any time
            at = _slot_of(key, window)
            number = front.find(1, number + 1)
            if at >= 0:
                _, count, last = _SLOT.unpack_from(window, at)
                if not _is_old(last, now, within):
                    total += count
        return total

    def _find(self, region: int, key: bytes, place: int) -> int | None:
        start = region + place
        at = _slot_of(key, self._memory[start : start + _WINDOW])
        return start + at if at >= 0 else None

    def _write(self, offset: int, count: int, last: int) -> None:
        # In one piece: `Struct.pack_into` fills with zeros first, and others would read these.
        self._memory[offset + _KEY : offset + _SLOT.size] = _COUNT.pack(count, last)

    def _own(self, key: bytes, place: int) -> int:
        """Where this worker counts a name: where it stands, where nothing does, or the oldest."""
        start = self._region + place
        found = self._find(self._region, key, place)
        if found is not None:
            return found
        free = self._find(self._region, _NOBODY, place)
        if free is not None:
            return free
        offsets = range(start, start + _WINDOW, _SLOT.size)
        return min(offsets, key=lambda offset: _SLOT.unpack_from(self._memory, offset)[:0:-1])


def shared_memory() -> int:
    """A file descriptor of memory for `REGIONS` workers, to be inherited; nothing is in use."""
    descriptor = os.memfd_create("gatepost-tally", 0)
    os.ftruncate(descriptor, _FRONT + REGIONS * _REGION)
    os.pwrite(descriptor, os.urandom(16), _SECRET.start)
    return descriptor


def _slot_of(key: bytes, window: bytes) -> int:
    """Where in some neighbouring slots a key stands; -1: nowhere."""
    at = window.find(key)
    while at >= 0 and at % _SLOT.size:  # across two slots
        at = window.find(key, at + 1)
    return at


def _is_old(last: int, now: int, within: float | None) -> bool:
    return within is not None and now - last > within
