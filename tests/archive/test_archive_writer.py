"""The thread that writes: nobody waits for it, and it loses nothing that it need not lose."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gatepost.archive import schema, writer
from gatepost.archive.drafts import EndedSession, Facts
from gatepost.archive.reading import Archive, CannotRead
from gatepost.archive.ring import AT_ONCE, Ring
from gatepost.archive.writer import Writer
from gatepost.testing.samples import a_session


def a_draft(name: str = "") -> EndedSession:
    return EndedSession(Facts.of(a_session(hello=name), ""), 1.0, 2.0, 0)


def a_writer(path: Path) -> Writer:
    return Writer(Ring(path, (), keep=1e9, size=10**9))


def names(path: Path) -> list[str]:
    with Archive(path) as archive:
        return [found.record.hello for found in archive.newest()][::-1]


def is_last(path: Path, name: str) -> bool:
    try:
        return names(path)[-1:] == [name]
    except CannotRead:  # it is about to be made
        return False


def has_dropped(writing: Writer, count: int) -> bool:
    return writing.dropped == count


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does, for as long as a test may take."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail.sqlite"


def test_what_is_put_is_written_when_it_stops(path: Path) -> None:
    writing = a_writer(path)
    writing.start()
    many = [str(number) for number in range(3 * AT_ONCE)]
    for name in many:
        writing.put(a_draft(name))
    writing.stop()
    assert names(path) == many
    assert writing.dropped == 0


def test_what_is_put_is_written_soon(path: Path) -> None:
    writing = a_writer(path)
    writing.start()
    for name in ("one", "two"):
        writing.put(a_draft(name))
        wait_until(partial(is_last, path, name))
    writing.stop()


def test_the_file_is_there_before_anything_happens(path: Path) -> None:
    writing = a_writer(path)
    writing.start()
    writing.stop()
    assert names(path) == []


def test_a_writer_stops_without_a_start_and_starts_again(path: Path) -> None:
    writing = a_writer(path)
    writing.stop()
    for name in ("one", "two"):
        writing.start()
        writing.put(a_draft(name))
        writing.stop()
        writing.stop()
    assert names(path) == ["one", "two"]


def test_nobody_waits_when_there_are_too_many(path: Path) -> None:
    writing = a_writer(path)
    fit = writer.WAITING // a_draft().weight + 1
    for number in range(fit + 7):
        writing.put(a_draft(str(number)))
    assert writing.dropped == 7
    writing.start()
    writing.stop()
    assert len(names(path)) == fit
    writing.start()
    writing.put(a_draft("there is room again"))
    writing.stop()
    assert names(path)[-1] == "there is room again"


def test_what_cannot_be_written_is_counted_and_told_once(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY", 0.01)
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring:
        ring.trim()  # so that there is a file to be locked
    writing = a_writer(path)
    with closing(sqlite3.connect(path)) as other, caplog.at_level(logging.WARNING):
        other.execute("BEGIN IMMEDIATE")
        writing.start()
        for count in (1, 2):
            writing.put(a_draft())
            wait_until(partial(has_dropped, writing, count))
        other.execute("ROLLBACK")
        writing.put(a_draft("later"))
        writing.stop()
    assert names(path) == ["later"]
    assert caplog.messages == ["Records that the trail lost: 1: database is locked"]


def test_a_directory_that_cannot_be_written_ruins_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writing = a_writer(tmp_path / "none" / "trail.sqlite")
    writing.start()
    writing.put(a_draft())
    writing.stop()
    assert writing.dropped == 1
    assert "No such file or directory" in caplog.text
