"""`gatepost status`: what the server does, for people and for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from click.testing import Result

from gatepost.processes.channel import Told

Running: TypeAlias = Callable[..., tuple[Result, list[Told]]]

MINUTE, HOUR, DAY = 60, 3600, 86_400
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands still while the command runs."""
    monkeypatch.setattr(time, "time", lambda: NOW)


def a_worker(pid: int, ago: float = 0.5, **facts: Any) -> Told:
    usual = {"pid": pid, "started": NOW - ago, "state": "at work", "sessions": 0, "taken": 0}
    return usual | facts


def a_status(*workers: Told, ago: float = 0.9, **facts: Any) -> Told:
    return {
        "say": "status",
        "pid": 100,
        "started": NOW - ago,
        "reloads": 0,
        "replaced": 0,
        "addresses": ["127.0.0.1:25"],
        "workers": list(workers),
        **facts,
    }


def test_what_the_server_does(running: Running) -> None:
    status = a_status(
        a_worker(101, ago=5 * MINUTE, sessions=12, taken=3456),
        a_worker(9_000_102, ago=3 * HOUR + 7 * MINUTE, state="retiring", sessions=1, taken=7),
        ago=2 * DAY + 3 * HOUR + 4 * MINUTE,
        reloads=3,
        replaced=1,
        addresses=["127.0.0.1:25", "unix:/run/lmtp.sock"],
    )
    result, asked = running("status", answer=status)
    assert asked == [{"say": "status"}]
    assert result.exit_code == 0
    assert result.stdout == (
        "Runs since 2 d 3 h (process 100), reloaded 3 times, workers that died: 1\n"
        "Listens on 127.0.0.1:25, unix:/run/lmtp.sock\n"
        "2 workers, 13 sessions\n"
        "       101  at work       12 sessions, 3456 taken since 5 min 0 s\n"
        "   9000102  retiring       1 sessions, 7 taken since 3 h 7 min\n"
    )


def test_one_worker_that_has_just_begun(running: Running) -> None:
    result, _ = running("status", answer=a_status(a_worker(101, state="starting", sessions=1)))
    assert result.stdout.splitlines()[0].startswith("Runs since now (process 100), reloaded never,")
    assert result.stdout.splitlines()[2] == "1 worker, 1 session"


@pytest.mark.parametrize(("reloads", "words"), [(0, "never"), (1, "once"), (2, "2 times")])
def test_how_often_it_was_reloaded(running: Running, reloads: int, words: str) -> None:
    result, _ = running("status", answer=a_status(reloads=reloads))
    assert f"reloaded {words}, " in result.stdout


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"),
        (9, "9 s"),
        (MINUTE, "1 min 0 s"),
        (HOUR + MINUTE + 9, "1 h 1 min"),
        (DAY + 9, "1 d 0 h"),
        (100 * DAY, "100 d 0 h"),
        (-DAY, "now"),
    ],
)
def test_how_long_ago_it_was(running: Running, seconds: float, words: str) -> None:
    result, _ = running("status", answer=a_status(ago=seconds + 0.9))
    assert result.stdout.startswith(f"Runs since {words} (process 100), ")


def test_for_programs_it_is_an_object(running: Running) -> None:
    status = a_status(a_worker(101))
    result, _ = running("status", "--json", answer=status)
    assert json.loads(result.stdout) == {key: status[key] for key in status if key != "say"}
