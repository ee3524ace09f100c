"""Who waits, and when he goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gatepost.server.waiting_room import MOST, WaitingRoom


@dataclass
class Loop:
    """An event loop whose turns the test takes."""

    due: list[Callable[[], None]] = field(default_factory=list)

    def soon(self, callback: Callable[[], None]) -> None:
        self.due.append(callback)

    def turn(self) -> None:
        due, self.due = self.due, []
        for callback in due:
            callback()


@dataclass(eq=False)
class Client:
    """Goes on so many times."""

    room: WaitingRoom
    name: int
    shares: int
    log: list[int]

    def next_share(self) -> None:
        self.log.append(self.name)
        self.shares -= 1
        if self.shares:
            self.room.add(self)


def test_a_few_go_on_in_each_turn_first_come_first_served() -> None:
    loop, log = Loop(), list[int]()
    room = WaitingRoom(loop.soon)
    for number in range(2 * MOST + 1):
        room.add(Client(room, number, 1, log))
    loop.turn()
    assert log == list(range(MOST))
    loop.turn()
    loop.turn()
    assert log == list(range(2 * MOST + 1))
    assert loop.due == []


def test_whoever_has_not_enough_waits_behind_the_others() -> None:
    loop, log = Loop(), list[int]()
    room = WaitingRoom(loop.soon)
    for number in range(MOST + 1):
        room.add(Client(room, number, 2, log))
    while loop.due:
        assert len(loop.due) == 1
        loop.turn()
    assert log == [*range(MOST + 1), *range(MOST + 1)]


def test_nobody_waits_twice() -> None:
    loop, log = Loop(), list[int]()
    room = WaitingRoom(loop.soon)
    client = Client(room, 0, 1, log)
    room.add(client)
    room.add(client)
    loop.turn()
    loop.turn()
    assert log == [0]
