"""How long the answer to a wrong password takes: twice as long each time, up to a bound."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gatepost.limits import Limits
from gatepost.server.guesses import FIRST_DELAY, LONGEST_DELAY, MEMORY, Guesses
from gatepost.server.tally import Tally, shared_memory


@dataclass
class Clock:
    """Goes on when it is told to."""

    now: float = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(Tally.private(clock=clock))


@pytest.fixture
def workers(clock: Clock) -> Iterator[list[Guesses]]:
    """What two workers know."""
    descriptor = shared_memory()
    with mmap.mmap(descriptor, 0) as memory:
        os.close(descriptor)
        tallies = [Tally(memory, region, clock=clock) for region in range(2)]
        for tally in tallies:
            tally.enter()
        yield [Guesses(tally) for tally in tallies]


def test_each_failure_doubles_the_delay_up_to_the_longest(guesses: Guesses) -> None:
    delays = [guesses.count("192.0.2.1", "anne") for _ in range(2000)]
    assert delays[:7] == [0.5, 1, 2, 4, 8, 16, 16]
    assert set(delays[5:]) == {LONGEST_DELAY}


def test_who_guesses_at_many_accounts_is_known_by_his_address(guesses: Guesses) -> None:
    assert [guesses.count("192.0.2.1", f"user{number}") for number in range(4)] == [0.5, 1, 2, 4]
    assert guesses.count("192.0.2.2", "user9") == FIRST_DELAY


def test_who_guesses_from_many_addresses_is_known_by_the_account(guesses: Guesses) -> None:
    assert [guesses.count(f"192.0.2.{number}", "anne") for number in range(4)] == [0.5, 1, 2, 4]
    assert guesses.count("198.51.100.1", "bob") == FIRST_DELAY


def test_the_longer_of_two_delays_counts(guesses: Guesses) -> None:
    for number in range(3):
        guesses.count("192.0.2.1", f"user{number}")
    guesses.count("192.0.2.2", "anne")
    assert guesses.count("192.0.2.1", "anne") == 4


def test_a_name_in_capitals_is_no_other_account(guesses: Guesses) -> None:
    names = ["anne", "Anne", "ANNE"]
    delays = [guesses.count(f"192.0.2.{place}", name) for place, name in enumerate(names)]
    assert delays == [0.5, 1, 2]


def test_an_address_and_an_account_of_one_name_are_two(guesses: Guesses) -> None:
    assert guesses.count("unknown", "") == FIRST_DELAY
    assert guesses.count("", "unknown") == FIRST_DELAY


def test_a_network_is_one_guesser(guesses: Guesses) -> None:
    limits = Limits(ipv4_prefix=24, ipv6_prefix=56)
    hosts = ("192.0.2.1", "192.0.2.200", "192.0.3.1")
    assert [guesses.count(limits.network_of(host), "") for host in hosts] == [0.5, 1, 0.5]
    hosts = ("2001:db8:0:1::1", "2001:db8:0:ff::7", "2001:db8:0:100::7")
    assert [guesses.count(limits.network_of(host), "") for host in hosts] == [0.5, 1, 0.5]


def test_failures_can_be_counted_without_another_one(clock: Clock, guesses: Guesses) -> None:
    for _ in range(3):
        guesses.count("192.0.2.1/32", "anne")
    assert [guesses.number("192.0.2.1/32") for _ in range(2)] == [3, 3]
    assert guesses.number("192.0.2.2/32") == guesses.number("") == 0
    clock.now += MEMORY + 1
    assert guesses.number("192.0.2.1/32") == 0


def test_of_whom_nothing_is_known_waits_as_for_the_first(guesses: Guesses) -> None:
    """A client on a Unix socket that names nobody."""
    assert [guesses.count("", "") for _ in range(3)] == [FIRST_DELAY] * 3


def test_of_whom_a_proxy_cannot_tell_is_one_guesser(guesses: Guesses) -> None:
    assert [guesses.count("unknown", "") for _ in range(3)] == [0.5, 1, 2]


def test_failures_are_forgotten_some_time_after_the_last(clock: Clock, guesses: Guesses) -> None:
    for _ in range(3):
        clock.now += MEMORY
        delay = guesses.count("192.0.2.1", "anne")
    assert delay == 4 * FIRST_DELAY
    clock.now += MEMORY + 1
    assert guesses.count("192.0.2.1", "anne") == FIRST_DELAY


def test_workers_remember_together(workers: list[Guesses]) -> None:
    first, second = workers
    delays = [who.count("192.0.2.1", "anne") for who in (first, second, first, second)]
    assert delays == [0.5, 1, 2, 4]
