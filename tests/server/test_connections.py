"""All connections that are open: who may come in, and who is asked to go."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gatepost.limits import Limits
from gatepost.server.connections import (
    SHUTTING_DOWN,
    TOO_MANY,
    TOO_MANY_FROM_YOU,
    TOO_OFTEN,
    Connections,
)
from gatepost.server.tally import Tally, shared_memory


@dataclass(eq=False)
class Guest:
    """Writes down what it is told."""

    told: list[object] = field(default_factory=list)

    def expire(self, now: float) -> None:
        self.told.append(now)

    def drain(self) -> None:
        self.told.append("drain")

    def abort(self) -> None:
        self.told.append("abort")


@pytest.fixture
def shared() -> Iterator[list[Tally]]:
    descriptor = shared_memory()
    with mmap.mmap(descriptor, 0) as memory:
        os.close(descriptor)
        tallies = [Tally(memory, region) for region in range(2)]
        for tally in tallies:
            tally.enter()
        yield tallies


def test_no_more_than_the_limit_come_in_and_a_place_is_free_again() -> None:
    connections = Connections(Limits(connections=2))
    first, second, third = Guest(), Guest(), Guest()
    assert connections.admit(first, "192.0.2.1") is None
    assert connections.admit(second, "192.0.2.2") is None
    assert connections.admit(third, "192.0.2.3") is TOO_MANY
    connections.leave(first)
    assert connections.admit(third, "192.0.2.3") is None
    assert tuple(connections) == (second, third)


def test_no_more_than_the_limit_come_from_one_address() -> None:
    connections = Connections(Limits(connections_per_address=1))
    first, second = Guest(), Guest()
    assert connections.admit(first, "192.0.2.1") is None
    assert connections.admit(second, "192.0.2.1") is TOO_MANY_FROM_YOU
    assert connections.admit(second, "192.0.2.2") is None
    connections.leave(first)
    assert connections.admit(Guest(), "192.0.2.1") is None


def test_unix_sockets_have_no_address_to_count() -> None:
    connections = Connections(Limits(connections_per_address=1, connections=3))
    assert [connections.admit(Guest(), "") for _ in range(4)] == [None, None, None, TOO_MANY]


def test_one_that_was_turned_away_takes_nobody_along() -> None:
    connections = Connections(Limits(connections_per_address=1))
    first, second = Guest(), Guest()
    connections.admit(first, "192.0.2.1")
    connections.admit(second, "192.0.2.1")
    connections.leave(second)
    assert tuple(connections) == (first,)
    assert connections.admit(second, "192.0.2.1") is TOO_MANY_FROM_YOU
    connections.leave(first)
    connections.leave(first)
    assert len(connections) == 0


def test_addresses_that_are_gone_are_forgotten() -> None:
    connections = Connections(Limits(connections=1, connections_per_address=1))
    for number in range(1000):
        guest = Guest()
        assert connections.admit(guest, f"2001:db8::{number:x}") is None
        connections.leave(guest)


def test_a_network_counts_as_one_client() -> None:
    connections = Connections(Limits(connections_per_address=2, ipv4_prefix=24))
    assert connections.admit(Guest(), "192.0.2.1") is None
    assert connections.admit(Guest(), "192.0.2.2") is None
    assert connections.admit(Guest(), "192.0.2.3") is TOO_MANY_FROM_YOU
    assert connections.admit(Guest(), "198.51.100.1") is None
    assert connections.admit(Guest(), "2001:db8::1") is None
    assert connections.admit(Guest(), "2001:db8::ffff:1") is None
    assert connections.admit(Guest(), "2001:db8::2") is TOO_MANY_FROM_YOU  # of the same /64


def test_clients_may_come_only_so_often() -> None:
    now = [0.0]
    connections = Connections(Limits(connection_rate=2), clock=lambda: now[0])
    for expected in (None, None, TOO_OFTEN):
        guest = Guest()
        assert connections.admit(guest, "192.0.2.1") is expected
        connections.leave(guest)
    assert connections.admit(Guest(), "192.0.2.2") is None
    assert connections.admit(Guest(), "") is None
    now[0] = 60.0
    assert connections.admit(Guest(), "192.0.2.1") is None


def test_workers_count_together(shared: list[Tally]) -> None:
    first, second = (Connections(Limits(connections=3), tally=tally) for tally in shared)
    guests = [Guest() for _ in range(3)]
    assert first.admit(guests[0], "192.0.2.1") is None
    assert second.admit(guests[1], "192.0.2.1") is None
    assert first.admit(guests[2], "192.0.2.2") is None
    assert second.admit(Guest(), "192.0.2.3") is TOO_MANY
    shared[0].leave()  # that worker has died
    assert second.admit(Guest(), "192.0.2.3") is None


def test_all_are_told_even_those_that_leave_meanwhile() -> None:
    connections = Connections(Limits())

    class Leaves(Guest):
        """Goes as soon as it is asked to."""

        def drain(self) -> None:
            super().drain()
            connections.leave(self)

    guests = [Leaves(), Guest(), Leaves()]
    for guest in guests:
        connections.admit(guest, "192.0.2.1")
    connections.sweep(7.0)
    connections.drain()
    connections.abort()
    assert [guest.told for guest in guests] == [
        [7.0, "drain"],
        [7.0, "drain", "abort"],
        [7.0, "drain"],
    ]


def test_nobody_slips_in_while_the_server_goes_down() -> None:
    connections = Connections(Limits())
    connections.drain()
    assert connections.admit(Guest(), "192.0.2.1") is SHUTTING_DOWN
    assert len(connections) == 0


def test_that_all_are_gone_is_told() -> None:
    async def wait() -> list[str]:
        connections, guest, steps = Connections(Limits()), Guest(), list[str]()
        await connections.emptied()
        connections.admit(guest, "192.0.2.1")

        async def watch() -> None:
            await connections.emptied()
            steps.append("empty")

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        steps.append("leaves")
        connections.leave(guest)
        await watching
        return steps

    assert asyncio.run(wait()) == ["leaves", "empty"]
