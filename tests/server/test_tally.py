"""Counts that several processes keep together: laws, what gives way, and two real processes."""

from __future__ import annotations

import mmap
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gatepost.server.tally import REGIONS, SLOTS, Tally, _slot_of, shared_memory

#: Octets of a slot, and of the hash that it begins with.
SLOT, KEY = 24, 16
#: Slots that a name may take.
NEIGHBOURS = 16


@dataclass
class Clock:
    """Goes on when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def shared() -> Iterator[mmap.mmap]:
    descriptor = shared_memory()
    try:
        with mmap.mmap(descriptor, 0) as memory:
            yield memory
    finally:
        os.close(descriptor)


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    """Memory for all workers; nobody counts there yet."""
    with shared() as memory:
        yield memory


# -- Laws -----------------------------------------------------------------------------------------

WORKERS = st.integers(0, 3)
NAMES = st.sampled_from(["", "connections", "192.0.2.1", "2001:db8::/64", "\udcff"])


class Workers(RuleBasedStateMachine):
    """Four workers that come, count and go; a Counter for each says what is right."""

    @initialize()
    def begin(self) -> None:
        self.context = shared()
        memory = self.context.__enter__()
        # The first and the last region, and two that are neighbours.
        self.tallies = [Tally(memory, region) for region in (0, 1, 2, REGIONS - 1)]
        self.counts: dict[int, Counter[str]] = {}

    def teardown(self) -> None:
        self.context.__exit__(None, None, None)

    def total(self, name: str) -> int:
        return sum(count[name] for count in self.counts.values())

    @rule(worker=WORKERS)
    def enter(self, worker: int) -> None:
        self.tallies[worker].enter()
        self.counts[worker] = Counter()

    @rule(worker=WORKERS)
    def leave(self, worker: int) -> None:
        self.tallies[worker].leave()
        self.counts.pop(worker, None)

    @precondition(lambda self: self.counts)
    @rule(data=st.data(), name=NAMES)
    def raise_(self, data: st.DataObject, name: str) -> None:
        worker = data.draw(st.sampled_from(sorted(self.counts)))
        self.counts[worker][name] += 1
        assert self.tallies[worker].raise_(name) == self.total(name)

    @precondition(lambda self: self.counts)
    @rule(data=st.data(), name=NAMES)
    def lower(self, data: st.DataObject, name: str) -> None:
        worker = data.draw(st.sampled_from(sorted(self.counts)))
        self.tallies[worker].lower(name)
        if self.counts[worker][name]:
            self.counts[worker][name] -= 1  # never below nothing

    @invariant()
    def all_see_the_same(self) -> None:
        for name in ("", "connections", "192.0.2.1", "nobody"):
            assert {tally.total(name) for tally in self.tallies} == {self.total(name)}


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)

STEPS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 9, 10, 11, 30])), max_size=30)


@given(steps=STEPS)
@settings(deadline=None, max_examples=100)
def test_what_was_not_raised_of_late_is_forgotten(steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    with shared() as memory:
        tallies = [Tally(memory, region, clock=clock) for region in range(2)]
        for tally in tallies:
            tally.enter()
        counts, raised = [0, 0], [clock.now] * 2
        for worker, seconds in steps:
            clock.now += seconds
            is_fresh = [clock.now - moment <= 10 for moment in raised]
            counts = [count if fresh else 0 for count, fresh in zip(counts, is_fresh, strict=True)]
            counts[worker] += 1
            raised[worker] = clock.now
            assert tallies[worker].raise_("anne", 10) == sum(counts)
            assert tallies[1 - worker].total("anne", 10) == sum(counts)


def test_a_fraction_of_a_second_is_not_forgotten_too_early() -> None:
    clock = Clock(1000.9)
    tally = Tally.private(clock=clock)
    tally.raise_("anne", 10)
    clock.now = 1010.95
    assert tally.total("anne", 10) == 1
    clock.now = 1012.0
    assert tally.total("anne", 10) == 0


def test_what_is_lowered_is_never_forgotten() -> None:
    clock = Clock()
    tally = Tally.private(clock=clock)
    tally.raise_("connections")
    clock.now += 1e8
    assert tally.raise_("connections") == 2


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_name_is_found_in_its_slot_and_not_across_two(data: st.DataObject) -> None:
    octets = st.sampled_from([0, 1])
    key = bytes(data.draw(st.lists(octets, min_size=KEY, max_size=KEY)))
    window = bytearray(data.draw(st.lists(octets, min_size=4 * SLOT, max_size=4 * SLOT)))
    for at in data.draw(st.lists(st.integers(0, 4 * SLOT - KEY), max_size=2)):
        window[at : at + KEY] = key
    places = [at for at in range(0, 4 * SLOT, SLOT) if window[at : at + KEY] == key]
    assert _slot_of(key, bytes(window)) == (places or [-1])[0]


# -- Bounds (R13: many distinct keys) -------------------------------------------------------------


def names(count: int) -> list[str]:
    return [f"2001:db8:{number:x}::/64" for number in range(count)]


def test_however_many_names_there_are_the_memory_is_what_it_was(memory: mmap.mmap) -> None:
    size = len(memory)
    first, second, third = (Tally(memory, region, clock=Clock()) for region in range(3))
    for tally in (first, second, third):
        tally.enter()
    first.raise_("connections")
    third.raise_("connections")
    for name in names(3 * SLOTS):
        assert second.raise_(name, 900) == 1
    assert second.total("connections") == 2
    assert len(memory) == size
    assert sum(second.total(name, 900) for name in names(3 * SLOTS)) <= SLOTS


def test_the_oldest_give_way() -> None:
    clock = Clock()
    tally = Tally.private(clock=clock)
    many = names(2 * SLOTS)
    for name in many:
        clock.now += 1
        tally.raise_(name, 1e6)
    kept = [name for name in many if tally.total(name, 1e6)]
    assert set(many[-2000:]) <= set(kept)
    assert len(set(kept) & set(many[:2000])) < 100


def test_what_is_there_gives_way_last() -> None:
    """Or who makes names up would be let off his own."""
    clock = Clock()
    tally = Tally.private(clock=clock)
    there = names(500)
    for name in there:
        tally.raise_(name)
    for number in range(3 * SLOTS):
        clock.now += 1
        tally.raise_(f"failures of account {number}", 900)
    assert [tally.total(name) for name in there] == [1] * 500


def test_of_what_is_there_the_smallest_gives_way_first() -> None:
    tally = Tally.private()
    for _ in range(3):
        tally.raise_("connections")
    for name in names(2 * SLOTS):
        tally.raise_(name)
    assert tally.total("connections") == 3


def test_what_gave_way_can_be_lowered_and_nothing_is_left() -> None:
    memory = mmap.mmap(-1, len(Tally.private()._memory))
    tally = Tally(memory)
    tally.enter()
    empty = memory[:]
    for name in names(2 * SLOTS):
        tally.raise_(name)
    for name in names(2 * SLOTS):
        tally.lower(name)
        assert tally.total(name) == 0
    assert memory[:] == empty


# -- Two processes --------------------------------------------------------------------------------

#: Raises a name as often as it is told to, says so, and raises and lowers it as long as it may.
WORKER = """\
import mmap, sys, time
from gatepost.server.tally import Tally

descriptor, region, count, seconds = map(int, sys.argv[1:])
tally = Tally(mmap.mmap(descriptor, 0), region)
for _ in range(count):
    tally.raise_("connections")
print("ready", flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    tally.raise_("connections")
    tally.lower("connections")
sys.stdin.read()
"""
BASE = 300  #: more than an octet holds


@contextmanager
def working(descriptor: int, region: int, seconds: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A process that counts in a region, until the test is over."""
    words = map(str, (descriptor, region, BASE, seconds))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *words],
        pass_fds=[descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert select.select([process.stdout], [], [], 60)[0], "it does not come up"
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def descriptor() -> Iterator[int]:
    descriptor = shared_memory()
    yield descriptor
    os.close(descriptor)


def test_two_processes_count_together(descriptor: int) -> None:
    with mmap.mmap(descriptor, 0) as memory:
        ours, theirs = Tally(memory, 1), Tally(memory, 0)
        ours.enter()
        theirs.enter()
        with working(descriptor, 0) as process:
            assert ours.total("connections") == BASE
            assert ours.raise_("connections") == BASE + 1
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        assert ours.total("connections") == BASE + 1  # nobody has noticed yet
        theirs.leave()
        assert ours.total("connections") == 1


def test_nobody_ever_reads_half_of_what_another_writes(descriptor: int) -> None:
    with mmap.mmap(descriptor, 0) as memory:
        ours, theirs = Tally(memory, 0), Tally(memory, 1)
        ours.enter()
        theirs.enter()
        with working(descriptor, 1, 10):
            deadline = time.monotonic() + 1
            seen: set[int] = set()
            while time.monotonic() < deadline:
                seen.update(ours.total("connections") for _ in range(1000))
        assert seen <= {BASE, BASE + 1}


# -- Names that somebody chooses ------------------------------------------------------------------


def test_nobody_can_crowd_out_a_count_by_names_that_he_chooses(memory: mmap.mmap) -> None:
    tally = Tally(memory)
    tally.enter()
    for _ in range(5):
        tally.raise_("connections")
    names = (f"2001:db8:{high:x}:{low:x}::/64" for high in count() for low in range(65_536))
    neighbours = (name for name in names if place(name) == place("connections"))
    for name in islice(neighbours, NEIGHBOURS):
        tally.raise_(name)
    assert tally.total("connections") == 5


def place(name: str) -> int:
    """Where a name would stand if there were no secret."""
    key = blake2b(name.encode(), digest_size=KEY).digest()
    return int.from_bytes(key[:4], "little") % (SLOTS - NEIGHBOURS)
