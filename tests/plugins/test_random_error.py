"""The plugin random_error: faults at random, as often as is asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost import Defer
from gatepost.hooks.loader import load
from gatepost.plugins.command.random_error import RandomError
from gatepost.testing import a_recipient, a_session, a_transaction, converse, run

GO_ON = Defer("A fault at random, to test you")
GO_AWAY = Defer("A fault at random, to test you", disconnect=True)


def answers(plugin: RandomError) -> dict[str, Defer | None]:
    """What one session hears at all moments."""
    session = a_session()
    transaction, recipient = a_transaction(session), a_recipient()
    return {
        "connect": plugin.connect(session),
        "helo": plugin.helo(session, "client.example"),
        "mail": plugin.mail(transaction, transaction.sender),
        "rcpt": plugin.rcpt(transaction, recipient),
        "data": plugin.data(transaction),
        "message": plugin.message(transaction),
    }


def many(plugin: RandomError) -> Iterator[Defer | None]:
    for _ in range(1000):
        yield from answers(plugin).values()


def test_always_and_never() -> None:
    assert set(many(RandomError(percent=100, hang_up=0))) == {GO_ON}
    assert set(many(RandomError(percent=100, hang_up=100))) == {GO_AWAY}
    assert set(many(RandomError(percent=0))) == {None}


def test_as_often_as_is_asked_for() -> None:
    heard = Counter(many(RandomError(percent=10, hang_up=25, seed=1)))
    assert heard[GO_ON] + heard[GO_AWAY] == pytest.approx(600, abs=100)
    assert heard[GO_AWAY] == pytest.approx(150, abs=50)


def test_only_at_the_moments_that_are_named() -> None:
    heard = answers(RandomError(percent=100, hang_up=0, moments=("helo", "data")))
    assert {moment for moment, answer in heard.items() if answer} == {"helo", "data"}


def test_a_seed_makes_the_same_faults_again() -> None:
    faults = list(many(RandomError(percent=50, seed=7)))
    assert faults == list(many(RandomError(percent=50, seed=7)))
    assert faults != list(many(RandomError(percent=50, seed=8)))


def test_a_fault_that_hangs_up() -> None:
    script = """
        S: 220 ...
        C: EHLO client.example
        S: 450 4.7.1 A fault at random, to test you
        S: <closed>
    """
    run(converse([RandomError(percent=100, hang_up=100, moments=("helo",))], script))


@pytest.mark.parametrize("option", ["percent", "hang_up"])
@pytest.mark.parametrize("value", [-1.0, 100.5])
def test_a_percentage_is_one(option: str, value: float, tmp_path: Path) -> None:
    table = {"use": "random_error", option: value}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        (f"random_error: option '{option}' must be from 0 to 100, not {value}", option)
    ]


def test_no_number_is_no_percentage() -> None:
    with pytest.raises(ValueError, match="'percent' must be from 0 to 100, not nan"):
        RandomError(percent=math.nan)
