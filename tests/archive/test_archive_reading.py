"""What is read of an archive, and what cannot be."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from ipaddress import ip_network
from itertools import islice
from pathlib import Path

import pytest

from gatepost.archive.clues import of_network, of_recipient, of_sender
from gatepost.archive.reading import Archive, CannotRead
from gatepost.archive.records import Record
from gatepost.archive.ring import Ring
from gatepost.archive.schema import VERSION


def a_message(session: str, message: int, sender: str, *, client: str = "192.0.2.1") -> Record:
    return Record(
        session=session,
        message=message,
        started=1.0,
        seconds=0.5,
        client=client,
        sender=f"{sender}@client.example",
        recipients=("bob@example.org", "carol@example.org"),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive of two sessions with messages."""
    path = tmp_path / "trail.sqlite"
    with closing(Ring(path, (), keep=1e9, size=10**9, clock=lambda: 1000.0)) as ring:
        ring.write([a_message("a", 1, "anne"), a_message("b", 1, "ben", client="2001:db8::1")])
        ring.write([a_message("a", 2, "ben"), Record(session="a", started=1.0, seconds=2.0)])
    return path


def ids(archive: Archive, *groups: list[object]) -> list[str]:
    return [found.record.id for found in archive.newest(*groups)]  # type: ignore[arg-type]  # of clues


def test_the_newest_comes_first(path: Path) -> None:
    with Archive(path) as archive:
        assert ids(archive) == ["a", "a.2", "b.1", "a.1"]
        assert [found.number for found in archive.newest()] == [4, 3, 2, 1]
        assert archive.last == 4
        assert archive.begins == 1000.0


def test_a_session_is_found_by_its_id(path: Path) -> None:
    with Archive(path) as archive:
        assert [found.record.id for found in archive.of_session("a")] == ["a", "a.2", "a.1"]
        assert list(archive.of_session("c")) == []


def test_a_record_has_one_clue_of_each_group(path: Path) -> None:
    ben, anne = of_sender("ben@client.example"), of_sender("anne@client.example")
    network = of_network(ip_network("192.0.2.0/24"))
    with Archive(path) as archive:
        assert ids(archive, [ben]) == ["a.2", "b.1"]
        assert ids(archive, [ben, anne]) == ["a.2", "b.1", "a.1"]
        assert ids(archive, [ben], [network]) == ["a.2"]
        assert ids(archive, [ben], [of_recipient("carol@example.org")]) == ["a.2", "b.1"]
        assert ids(archive, [of_sender("carol@example.org")]) == []


def test_more_than_a_page_is_found(path: Path) -> None:
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring:
        ring.write([a_message("many", number, "anne") for number in range(1, 701)])
    with Archive(path) as archive:
        numbers = [found.record.message for found in archive.of_session("many")]
        assert numbers == list(range(700, 0, -1))
        new = archive.after(4)
        while len(new) < 700:
            new += archive.after(new[-1].number)
        assert [found.record.message for found in new] == list(range(1, 701))
        assert archive.after(704) == []


def test_what_comes_and_goes_meanwhile_confuses_nobody(path: Path) -> None:
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring, Archive(path) as archive:
        ring.write([a_message("many", number, "anne") for number in range(1, 401)])
        found = archive.of_session("many")
        first = [one.record.message for one in islice(found, 10)]
        ring.write([a_message("many", 401, "anne")])
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM records WHERE number < 100")
        rest = [one.record.message for one in found]
        assert first == list(range(400, 390, -1))
        assert rest == list(range(390, 95, -1))  # number 100 is the message 96


def test_a_file_in_the_place_of_another_is_noticed(path: Path) -> None:
    with Archive(path) as archive:
        assert archive.is_current
        path.unlink()
        assert not archive.is_current
        assert ids(archive)[0] == "a"


def test_a_configuration_that_is_forgotten_has_no_plugins(path: Path) -> None:
    with Archive(path) as archive:
        assert archive.configuration(99) == ()


def not_there(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_database(path: Path) -> None:
    path.write_text("Dear diary,\n" * 1000)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")


def of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 5")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (not_there, "there is no such file; the server writes it"),
        (empty, "cannot be read: empty"),
        (no_database, "cannot be read: damaged, or no archive"),
        (newer, f"cannot be read: of version {VERSION + 1}, not {VERSION}"),
        (of_somebody_else, "cannot be read: no archive"),
    ],
)
def test_what_cannot_be_read_is_told(spoil: object, words: str, path: Path) -> None:
    assert callable(spoil)
    spoil(path)
    with pytest.raises(CannotRead, match=words):
        Archive(path)


@pytest.mark.parametrize("record", ["", "{}", '{"session": 5}', "\\xff"])
def test_a_damaged_record_is_told(record: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE records SET record = ?", (record,))
    with Archive(path) as archive, pytest.raises(CannotRead, match="is damaged"):
        ids(archive)


def test_a_damaged_configuration_is_told(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE configurations SET plugins = '[5]'")
    with Archive(path) as archive, pytest.raises(CannotRead, match="is damaged"):
        archive.configuration(1)


def test_a_reader_changes_nothing(path: Path) -> None:
    content = path.read_bytes()
    with Archive(path) as archive:
        assert ids(archive)
    assert path.read_bytes() == content
