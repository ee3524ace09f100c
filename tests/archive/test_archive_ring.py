"""The file: what goes in comes out, it does not grow for ever, and nothing ruins it for long."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from gatepost.archive import schema
from gatepost.archive.clues import of_recipient
from gatepost.archive.configurations import Configuration, PlacedPlugin
from gatepost.archive.reading import Archive
from gatepost.archive.records import Record
from gatepost.archive.ring import AT_ONCE, Ring
from gatepost.archive.schema import ASIDE, VERSION

PLUGINS: Configuration = (PlacedPlugin("domains", "domains", {"domains": '["example.org"]'}),)
BIG = 10**9

#: A program that writes records of its own until it is told to stop; it says what is written.
WRITING = """
import sys
from pathlib import Path
from gatepost.archive.records import Record
from gatepost.archive.ring import Ring

path, name, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
ring = Ring(Path(path), (), keep=1e9, size=10**9)
for batch in range(batches):
    ring.write([
        Record(session=f"{name}-{batch}-{one}", message=1, started=0.0, seconds=0.0,
               sender=f"{name}@client.example", recipients=("bob@example.org",) * 3)
        for one in range(20)
    ])
    ring.trim()
    print(batch, flush=True)
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_ring(path: Path, plugins: Configuration = PLUGINS, **more: object) -> Ring:
    settings: dict[str, object] = {"keep": 1e9, "size": BIG} | more
    return Ring(path, plugins, **settings)  # type: ignore[arg-type]  # keywords of a Ring


def records(*names: object, padding: int = 0) -> list[Record]:
    return [
        Record(
            session=str(name),
            message=1,
            started=1.0,
            seconds=0.5,
            client="192.0.2.1",
            hello="x" * padding,
            recipients=(f"{name}@example.org",),
        )
        for name in names
    ]


def names(path: Path) -> list[str]:
    """The sessions that there are, the oldest first."""
    with Archive(path) as archive:
        return [found.record.session for found in archive.newest()][::-1]


def pages(path: Path) -> int:
    """The octets of the file when everything is in there."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path.stat().st_size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trail.sqlite"


# -- In -------------------------------------------------------------------------------------------


def test_what_goes_in_can_be_found(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write(records("a", "b"))
        ring.write(records("c"))
        assert names(path) == ["a", "b", "c"]  # while it is open
    assert names(path) == ["a", "b", "c"]
    with Archive(path) as archive:
        (found,) = archive.newest([of_recipient("b@example.org")])
        assert found.record == records("b")[0]
        assert archive.configuration(found.configuration) == PLUGINS


def test_the_file_is_nobody_elses_business(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(a_ring(path)) as ring:
            ring.write(records("a"))
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"trail.sqlite", "trail.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def configurations(path: Path) -> list[str]:
    with Archive(path) as archive:
        numbers = [found.configuration for found in archive.newest()][::-1]
        return [archive.configuration(number)[0].name for number in numbers]


def test_a_configuration_is_kept_once(path: Path) -> None:
    other = (PlacedPlugin("dnsbl", "dnsbl"),)
    for plugins in (PLUGINS, PLUGINS, other, PLUGINS):
        with closing(a_ring(path, plugins)) as ring:
            ring.write(records("a"))
            ring.write(records("b"))
    assert configurations(path) == ["domains"] * 4 + ["dnsbl"] * 2 + ["domains"] * 2
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM configurations").fetchone() == (3,)


def test_all_of_some_records_go_in_or_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY", 0.01)
    with closing(a_ring(path)) as ring, closing(sqlite3.connect(path)) as other:
        ring.write(records("a"))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ring.write(records("b", "c"))
        other.execute("ROLLBACK")
        ring.write(records("d"))
        assert names(path) == ["a", "d"]


def test_a_failed_write_leaves_nothing_behind(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write(records("a"))
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON clues WHEN NEW.clue LIKE 'rc@%' "
                "BEGIN SELECT raise(ABORT, 'disk full'); END"
            )
        with pytest.raises(sqlite3.Error, match="disk full"):
            ring.write(records("b", "c"))
        ring.write(records("d"))
        assert names(path) == ["a", "d"]


# -- Out ------------------------------------------------------------------------------------------


def test_what_is_old_is_let_go(path: Path) -> None:
    clock = Clock()
    with closing(a_ring(path, keep=60, clock=clock)) as ring:
        for name in "abc":
            ring.write(records(name))
            clock.now += 25
        ring.trim()
        assert names(path) == ["b", "c"]
        clock.now += 1000
        ring.trim()
        assert names(path) == []


def test_more_than_goes_at_once_is_let_go_all_the_same(path: Path) -> None:
    clock = Clock()
    with closing(a_ring(path, keep=60, clock=clock)) as ring:
        for _ in range(3):
            ring.write(records(*range(AT_ONCE)))
        clock.now += 61
        ring.write(records("new"))
        ring.trim()
        assert names(path) == ["new"]


def test_numbers_only_grow(path: Path) -> None:
    clock = Clock()
    with closing(a_ring(path, keep=60, clock=clock)) as ring:
        ring.write(records("a", "b"))
        clock.now += 61
        ring.trim()
        ring.write(records("c"))
    with Archive(path) as archive:
        assert archive.last == 3


def test_a_configuration_of_which_nothing_is_left_is_forgotten(path: Path) -> None:
    clock = Clock()
    for name in "abc":
        with closing(a_ring(path, (PlacedPlugin(name, name),), keep=60, clock=clock)) as ring:
            ring.write(records(name))
            clock.now += 25
            ring.trim()
    assert configurations(path) == ["b", "c"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM configurations").fetchone() == (2,)


def test_the_file_does_not_grow_beyond_its_size(path: Path) -> None:
    size = 300_000
    sizes = []
    with closing(a_ring(path, size=size)) as ring:
        for batch in range(60):
            ring.write(records(*(f"{batch}-{one}" for one in range(20)), padding=600))
            ring.trim()
            sizes.append(pages(path))
    assert max(sizes) <= size + 20 * 4096  # a batch goes in before something goes out
    assert max(sizes[30:]) == max(sizes[45:])
    left = names(path)
    assert left[-1] == "59-19"
    assert 150 < len(left) < 450
    assert left == [f"{batch}-{one}" for batch in range(60) for one in range(20)][-len(left) :]


def test_clues_go_with_their_records(path: Path) -> None:
    clock = Clock()
    with closing(a_ring(path, keep=60, clock=clock)) as ring:
        ring.write(records("a"))
        clock.now += 61
        ring.write(records("b"))
        ring.trim()
    with closing(sqlite3.connect(path)) as connection:
        clues = connection.execute("SELECT DISTINCT number FROM clues").fetchall()
    assert clues == [(2,)]


def test_a_smaller_size_makes_the_file_smaller(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        for batch in range(20):
            ring.write(records(*range(batch * 20, batch * 20 + 20), padding=1000))
    assert pages(path) > 500_000
    with closing(a_ring(path, size=200_000)) as ring:
        for _ in range(3):
            ring.trim()
    assert pages(path) <= 200_000
    assert names(path)[-1] == "399"


# -- A file that is no good -----------------------------------------------------------------------


def aside(path: Path) -> Path:
    return path.with_name(f"{path.name}{ASIDE}")


def of_another_version(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write(records("old"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")


def of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (number INTEGER)")


def no_database(path: Path) -> None:
    path.write_text("Dear diary,\n" * 1000)


def a_torn_header(path: Path) -> None:
    of_another_version(path)
    path.write_bytes(b"SQLite format 3\0" + os.urandom(84) + path.read_bytes()[100:])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (of_another_version, f"of version {VERSION + 1}, not {VERSION}"),
        (of_somebody_else, "no archive"),
        (no_database, "damaged, or no archive"),
        (a_torn_header, "damaged, or no archive"),
    ],
)
def test_a_file_that_cannot_be_used_is_moved_aside(
    make: object, reason: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(make)
    make(path)
    content = path.read_bytes()
    with caplog.at_level(logging.WARNING), closing(a_ring(path)) as ring:
        ring.write(records("new"))
    assert names(path) == ["new"]
    assert aside(path).read_bytes() == content
    assert caplog.messages == [
        f"{path} is {reason}: it is now called trail.sqlite.aside, and a new one begins"
    ]


def test_the_journal_of_a_file_goes_with_it(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write(records("old"))
    with closing(sqlite3.connect(path)) as worker:  # of another version, and still at work
        worker.execute("PRAGMA wal_autocheckpoint = 0")
        worker.execute(f"PRAGMA user_version = {VERSION + 1}")  # this stands in the journal alone
        with closing(a_ring(path)) as ring:
            ring.write(records("new"))
        assert names(path) == ["new"]
        with closing(sqlite3.connect(aside(path))) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
            assert connection.execute("SELECT session FROM records").fetchall() == [("old",)]


def test_only_one_file_stands_aside(path: Path) -> None:
    for text in ("one", "two"):
        path.write_text(text * 1000)
        with closing(a_ring(path)) as ring:
            ring.write(records("new"))
    assert aside(path).read_text().startswith("two")
    assert len(list(path.parent.glob("*.aside*"))) == 1


def test_a_file_that_is_ruined_meanwhile_is_replaced(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(a_ring(path)) as ring:
        for batch in range(20):
            ring.write(records(*range(batch * 20, batch * 20 + 20), padding=500))
    ring = a_ring(path)
    ring.trim()  # it is open now
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with caplog.at_level(logging.WARNING), closing(ring):
        ring.write(records("new"))
    assert names(path) == ["new"]
    assert "trail.sqlite is damaged: it is now called trail.sqlite.aside" in caplog.text


def test_a_ruined_file_is_moved_aside_by_one_only(path: Path) -> None:
    ring = a_ring(path)
    ring.trim()
    identity = schema.Identity.of(path)
    path.unlink()
    path.write_text("that of another worker")
    schema.replace_ruined(path, identity)
    assert path.read_text() == "that of another worker"
    schema.replace_ruined(path, schema.Identity.of(path))
    assert aside(path).read_text() == "that of another worker"
    ring.close()


@pytest.mark.parametrize("make_away", [Path.unlink, lambda path: path.rename(f"{path}.old")])
def test_a_file_that_is_gone_is_begun_anew(make_away: object, path: Path) -> None:
    assert callable(make_away)
    with closing(a_ring(path)) as ring:
        ring.write(records("a"))
        make_away(path)
        ring.write(records("b"))
        assert names(path) == ["b"]
        assert configurations(path) == ["domains"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with closing(a_ring(tmp_path / "none" / "trail.sqlite")) as ring, pytest.raises(OSError):  # noqa: PT011  # of any kind
        ring.write(records("a"))


# -- Several processes ----------------------------------------------------------------------------


def writing(path: Path, name: str, batches: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITING, str(path), name, str(batches)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        rows: Iterable[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
    return rows == [("ok",)]


def test_several_processes_write_at_once(path: Path) -> None:
    processes = [writing(path, name, 25) for name in ("one", "two", "three")]
    for process in processes:
        out, _ = process.communicate(timeout=100)
        assert out.count("\n") == 25
        assert process.returncode == 0
    found = names(path)
    assert len(found) == 3 * 25 * 20
    for name in ("one", "two", "three"):
        own = [one for one in found if one.startswith(f"{name}-")]
        assert own == [f"{name}-{batch}-{one}" for batch in range(25) for one in range(20)]
    assert sound(path)


def test_a_killed_writer_leaves_what_it_has_written(path: Path) -> None:
    process = writing(path, "victim", 1_000_000)
    assert process.stdout is not None
    written = [int(process.stdout.readline()) for _ in range(30)]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=100)
    found = names(path)
    for batch in written:
        for one in range(20):
            assert f"victim-{batch}-{one}" in found
    assert len(found) % 20 == 0  # of a batch all, or nothing
    with closing(a_ring(path)) as ring:
        ring.write(records("heir"))
    assert names(path) == [*found, "heir"]
    assert sound(path)
