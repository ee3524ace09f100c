"""Entries: fixed lists, and files that change under them."""

from __future__ import annotations

import logging
import os
from itertools import count
from pathlib import Path

import pytest

from gatepost.entries import FILE_LIMIT, Entries


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


_versions = count(1)


def write(path: Path, text: str | bytes) -> None:
    """Write a file whose time differs from that of every version before."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, ns=(0, next(_versions) * 1_000_000_000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "domains.txt"


def test_fixed_entries_are_a_list() -> None:
    entries = Entries(("a.example", "b.example"))
    assert list(entries) == ["a.example", "b.example"]
    assert len(entries) == 2
    assert "a.example" in entries
    assert "A.example" not in entries
    assert 5 not in entries
    assert entries.current() is entries.current()
    assert repr(entries) == "Entries(('a.example', 'b.example'))"


def test_a_single_string_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"write \['a\.example'\]"):
        Entries("a.example")


def test_any_strings_can_be_entries() -> None:
    entries = Entries(["a.example"])
    assert Entries.of(entries) is entries
    assert list(Entries.of(["a.example"])) == ["a.example"]


def test_no_entries() -> None:
    assert list(Entries()) == []
    assert not Entries()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("\n \n\t\n", ()),
        ("a\nb\n", ("a", "b")),
        ("a\r\nb", ("a", "b")),
        ("  a  \nb\t", ("a", "b")),
        ("# all\na # one\n#b\n", ("a",)),
        ("a#b@example.org\n", ("a#b@example.org",)),
        ("a b  c\n", ("a b  c",)),
        ("\ufeffa\n", ("a",)),
        ("münchen.example\n", ("münchen.example",)),
        ("a\x0bb\u2028c\n", ("a\x0bb\u2028c",)),
    ],
)
def test_a_file_holds_one_entry_a_line(path: Path, text: str, expected: tuple[str, ...]) -> None:
    write(path, text)
    assert Entries.in_file(path).current() == expected


def test_a_changed_file_is_read_again_after_a_second(path: Path) -> None:
    write(path, "a\n")
    clock = Clock()
    entries = Entries.in_file(path, clock=clock)
    before = entries.current()
    write(path, "b\n")
    clock.now += 0.9
    assert entries.current() is before
    clock.now += 0.1
    assert entries.current() == ("b",)
    assert "b" in entries
    assert "a" not in entries


def test_the_tuple_stays_the_same_while_the_file_does(path: Path) -> None:
    write(path, "a\n")
    clock = Clock()
    entries = Entries.in_file(path, clock=clock)
    before = entries.current()
    clock.now += 10
    assert entries.current() is before


def test_a_renamed_file_counts_as_changed(path: Path, tmp_path: Path) -> None:
    write(path, "a\n")
    times = path.stat()
    clock = Clock()
    entries = Entries.in_file(path, clock=clock)
    other = tmp_path / "new"
    other.write_text("b\n")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(path)
    clock.now += 1
    assert entries.current() == ("b",)


@pytest.mark.parametrize("trouble", ["vanished", "undecodable", "a directory", "too large"])
def test_trouble_keeps_the_old_entries_and_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    write(path, "a\n")
    clock = Clock()
    entries = Entries.in_file(path, clock=clock)
    path.unlink()
    if trouble == "undecodable":
        write(path, b"b\n\xff\n")
    elif trouble == "a directory":
        path.mkdir()
    elif trouble == "too large":
        with path.open("wb") as file:
            file.truncate(FILE_LIMIT + 1)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            clock.now += 1
            assert entries.current() == ("a",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(path) in caplog.text


def test_a_file_that_comes_back_is_read(path: Path) -> None:
    write(path, "a\n")
    clock = Clock()
    entries = Entries.in_file(path, clock=clock)
    path.unlink()
    clock.now += 1
    assert entries.current() == ("a",)
    write(path, "b\n")
    clock.now += 1
    assert entries.current() == ("b",)


def test_a_missing_file_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Entries.in_file(path)


def test_what_is_no_plain_file_is_an_error(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a plain file"):
        Entries.in_file(path)


def test_a_file_beyond_the_limit_is_an_error(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(FILE_LIMIT + 1)
    with pytest.raises(OSError, match="larger than"):
        Entries.in_file(path)


def test_a_file_that_is_not_utf8_names_its_line(path: Path) -> None:
    write(path, b"a\nb\xff\n")
    with pytest.raises(ValueError, match=r"domains\.txt:2: not UTF-8"):
        Entries.in_file(path)


def test_a_million_lines(path: Path) -> None:
    write(path, "".join(f"user{number}@example.org\n" for number in range(1_000_000)))
    entries = Entries.in_file(path)
    assert len(entries) == 1_000_000
    assert "user999999@example.org" in entries
