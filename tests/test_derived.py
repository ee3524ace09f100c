"""Derived: made of entries, and made anew when they change for the better."""

from __future__ import annotations

import logging
import os
from itertools import count
from pathlib import Path

import pytest

from gatepost import Derived, Entries
from gatepost.derived import FAULTS_TOLD

_versions = count(1)


def write(path: Path, text: str) -> None:
    """Write a file whose time differs from that of every version before."""
    path.write_text(text)
    os.utime(path, ns=(0, next(_versions) * 1_000_000_000))


def total(entries: Entries) -> Derived[int]:
    return Derived(entries, int, added, option="numbers")


def added(numbers: list[int]) -> int:
    return sum(numbers)


def pin(text: str) -> str:
    if not text.isdecimal():
        raise ValueError("no number")
    return text


def test_it_is_made_of_all_entries() -> None:
    assert total(Entries(["1", "2"])).current() == 3
    assert total(Entries()).current() == 0


def test_bad_entries_are_named() -> None:
    with pytest.raises(ValueError, match=r"^option 'numbers': 'two': inv.*; 'four': inv[^;]*$"):
        total(Entries(["1", "two", "3", "four"]))


def test_of_very_many_bad_entries_some_are_named_and_the_others_counted() -> None:
    with pytest.raises(ValueError, match=r"; and 3 more$") as error:
        total(Entries(["x" * 1000] * (FAULTS_TOLD + 3)))
    assert len(str(error.value)) < FAULTS_TOLD * 2000


def test_entries_that_are_secret_are_only_numbered() -> None:
    with pytest.raises(
        ValueError, match=r"^option 'pins': entry 2: no .*; entry 3: no .*$"
    ) as error:
        Derived(["1234", "12x4", "12y4"], pin, len, option="pins", secret=True)
    assert "4" not in str(error.value)


def test_it_tells_whether_there_is_something_to_make_anew(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    write(path, "1\n2\n")
    derived = total(Entries.in_file(path, clock=count(0, 10).__next__))
    assert (derived.is_stale, derived.latest) == (False, 3)
    write(path, "5\n")
    assert (derived.is_stale, derived.latest) == (True, 3)
    assert derived.current() == 5
    assert (derived.is_stale, derived.latest) == (False, 5)
    write(path, "five\n")
    assert derived.is_stale
    assert derived.current() == 5
    assert (derived.is_stale, derived.latest) == (False, 5)


def test_it_is_made_anew_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    write(path, "1\n2\n")
    derived = Derived(
        Entries.in_file(path, clock=count(0, 10).__next__), str, list[str], option="numbers"
    )
    first = derived.current()
    assert first == ["1", "2"]
    assert derived.current() is first
    write(path, "3\n")
    assert derived.current() == ["3"]


def test_what_was_made_stays_when_the_file_changes_for_the_worse(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "numbers.txt"
    write(path, "1\n2\n")
    derived = total(Entries.in_file(path, clock=count(0, 10).__next__))
    write(path, "1\ntwo\n")
    with caplog.at_level(logging.WARNING):
        assert [derived.current(), derived.current()] == [3, 3]
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "what it held before stays in force: option 'numbers': "
        "'two': invalid literal for int() with base 10: 'two'"
    ]
    write(path, "5\n")
    assert derived.current() == 5
