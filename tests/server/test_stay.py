"""How long a client may be silent, and how long it may be there at all."""

from __future__ import annotations

import pytest

from gatepost.limits import Limits
from gatepost.server.stay import PROGRESS, Stay

LIMITS = Limits(command_timeout=10, data_timeout=100, session_timeout=1000)


@pytest.fixture
def stay() -> Stay:
    stay = Stay(LIMITS)
    stay.begin(0.0)
    stay.move()
    return stay


@pytest.mark.parametrize(
    ("receiving", "limit", "seconds"),
    [(False, "command_timeout", 10.0), (True, "data_timeout", 100.0)],
)
def test_a_silence_counts_from_the_look_behind_the_last_word(
    receiving: bool, limit: str, seconds: float, stay: Stay
) -> None:
    assert stay.limit_at(5.0, receiving=receiving) == ""
    assert stay.limit_at(5.0 + seconds - 0.1, receiving=receiving) == ""
    assert stay.limit_at(5.0 + seconds, receiving=receiving) == limit
    stay.move()
    assert stay.limit_at(5.0 + seconds, receiving=receiving) == ""


def test_only_a_good_piece_of_a_message_is_progress(stay: Stay) -> None:
    assert stay.limit_at(0.0, receiving=True) == ""
    stay.receive(PROGRESS - 1, receiving=True)
    assert stay.limit_at(100.0, receiving=True) == "data_timeout"
    stay.receive(1, receiving=True)
    assert stay.limit_at(100.0, receiving=True) == ""


def test_octets_that_are_no_message_are_no_progress(stay: Stay) -> None:
    assert stay.limit_at(0.0, receiving=False) == ""
    stay.receive(10 * PROGRESS, receiving=False)
    assert stay.limit_at(10.0, receiving=False) == "command_timeout"


def test_whoever_is_never_silent_is_sent_away_in_the_end(stay: Stay) -> None:
    for moment in range(0, 1000, 5):
        stay.move()
        assert stay.limit_at(float(moment), receiving=False) == ""
        assert not stay.overstays
    stay.move()
    assert stay.limit_at(1000.0, receiving=False) == "session_timeout"
    assert stay.overstays


def test_something_may_have_a_time_of_its_own(stay: Stay) -> None:
    stay.await_until(7.0)
    stay.move()
    assert not stay.is_late(6.9)
    assert stay.is_late(7.0)
