"""Remembered: what was right a moment ago, for so long, of so many, and of nobody else."""

from __future__ import annotations

import pytest

from gatepost import Remembered


class Clock:
    """Seconds, as they are set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_right_is_known() -> None:
    remembered = Remembered(60)
    assert not remembered.knows("bob", "pencil")
    remembered.remember("bob", "pencil")
    assert remembered.knows("bob", "pencil")
    remembered.remember("anne", "päper")
    assert remembered.knows("bob", "pencil")
    assert remembered.knows("anne", "päper")


@pytest.mark.parametrize(
    ("user", "password"),
    [("bob", "pencils"), ("bob", ""), ("anne", "pencil"), ("", ""), ("b", "ob\0pencil")],
)
def test_nothing_else_is(user: str, password: str) -> None:
    remembered = Remembered(60)
    remembered.remember("bob", "pencil")
    remembered.remember("b", "ob")
    assert not remembered.knows(user, password)


def test_the_last_password_counts() -> None:
    remembered = Remembered(60)
    remembered.remember("bob", "pencil")
    remembered.remember("bob", "paper")
    assert not remembered.knows("bob", "pencil")
    assert remembered.knows("bob", "paper")


def test_it_is_forgotten_in_time() -> None:
    clock = Clock()
    remembered = Remembered(60, clock=clock)
    remembered.remember("bob", "pencil")
    clock.now += 59.9
    assert remembered.knows("bob", "pencil")
    clock.now += 0.1
    assert not remembered.knows("bob", "pencil")


def test_to_be_asked_does_not_make_it_last() -> None:
    clock = Clock()
    remembered = Remembered(60, clock=clock)
    remembered.remember("bob", "pencil")
    clock.now += 40
    assert remembered.knows("bob", "pencil")
    clock.now += 40
    assert not remembered.knows("bob", "pencil")
    remembered.remember("bob", "pencil")
    assert remembered.knows("bob", "pencil")


def test_for_no_time_nothing_is_remembered() -> None:
    remembered = Remembered(0, clock=Clock())
    remembered.remember("bob", "pencil")
    assert not remembered.knows("bob", "pencil")
    assert not remembered._known


@pytest.mark.parametrize(
    ("size", "right", "known"),
    [
        (2, "anne bob carol", "bob carol"),
        (2, "anne bob bob", "anne bob"),
        (3, "anne bob anne carol dora", "anne carol dora"),
    ],
)
def test_the_oldest_give_way(size: int, right: str, known: str) -> None:
    remembered = Remembered(60, size=size)
    for user in right.split():
        remembered.remember(user, "pencil")
    assert [
        user for user in ("anne", "bob", "carol", "dora") if remembered.knows(user, "pencil")
    ] == known.split()


def test_all_is_forgotten_when_passwords_may_have_changed() -> None:
    remembered = Remembered(60)
    remembered.remember("bob", "pencil")
    remembered.forget()
    assert not remembered.knows("bob", "pencil")
    remembered.remember("bob", "paper")
    assert remembered.knows("bob", "paper")


def test_no_password_stands_in_it() -> None:
    one, other = Remembered(60), Remembered(60)
    for remembered in (one, other):
        remembered.remember("bob", "pencil")
        assert "pencil" not in repr(vars(remembered))
    (_, kept), (_, otherwise_kept) = one._known["bob"], other._known["bob"]
    assert kept != otherwise_kept  # the key is another, so a copy of one is no use elsewhere
