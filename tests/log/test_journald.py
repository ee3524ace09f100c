"""The journal of systemd, as a real socket hears it."""

from __future__ import annotations

import array
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gatepost.log.journald import Journald


@dataclass
class Journal:
    """A journal that listens."""

    path: Path
    socket: socket.socket

    @classmethod
    def at(cls, path: Path) -> Journal:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(path))
        listening.settimeout(10)
        return cls(path, listening)

    def hear(self) -> list[tuple[str, str]]:
        """The fields of the next event, in their order; those of a file in memory, too."""
        room = socket.CMSG_SPACE(array.array("i", [0]).itemsize)
        octets, rights, _, _ = self.socket.recvmsg(1_000_000, room)
        for level, kind, descriptors in rights:
            assert (level, kind, octets) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")
            (descriptor,) = array.array("i", descriptors)
            with open(descriptor, "rb") as file:
                seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
                assert seals & fcntl.F_SEAL_WRITE, "nobody can change it any more"
                octets = os.pread(file.fileno(), 10_000_000, 0)
        assert octets.endswith(b"\n")
        fields = []
        for line in octets.decode()[:-1].split("\n"):
            name, equals, value = line.partition("=")
            assert equals, "a value of several lines would be written in another way"
            assert name.replace("_", "").isalnum()
            assert name.upper() == name
            fields.append((name, value))
        return fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.at(tmp_path / "socket")
    yield journal
    journal.socket.close()


@pytest.fixture
def handler(journal: Journal) -> Iterator[Journald]:
    handler = Journald(str(journal.path))
    yield handler
    handler.close()


def record(text: str, *values: object, level: int = logging.INFO, **extra: Any) -> Any:
    log = logging.getLogger("gatepost.test")
    return log.makeRecord(log.name, level, "", 0, text, values, None, extra=extra)


def test_each_fact_is_a_field(handler: Journald, journal: Journal) -> None:
    fields = {"session": "k2x8", "to": ["bob@example.org", "eve@example.org"], "size": 12}
    handler.emit(record("%s taken", "k2x8.1", event="message", fields=fields))
    assert journal.hear() == [
        ("MESSAGE", "k2x8.1 taken"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "gatepost"),
        ("SYSLOG_FACILITY", "2"),
        ("GATEPOST_LOGGER", "gatepost.test"),
        ("GATEPOST_EVENT", "message"),
        ("GATEPOST_SESSION", "k2x8"),
        ("GATEPOST_TO", "bob@example.org"),
        ("GATEPOST_TO", "eve@example.org"),
        ("GATEPOST_SIZE", "12"),
    ]


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.CRITICAL, "2"),
        (logging.ERROR, "3"),
        (logging.WARNING, "4"),
        (logging.INFO, "6"),
        (logging.DEBUG, "7"),
        (logging.WARNING + 5, "4"),
    ],
)
def test_levels_become_severities(
    level: int, severity: str, handler: Journald, journal: Journal
) -> None:
    handler.emit(record("x", level=level))
    assert ("PRIORITY", severity) in journal.hear()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a\nMESSAGE=forged\nPRIORITY=0", r"a\nMESSAGE=forged\nPRIORITY=0"),
        ("\x1b[2J\x9b\0", r"\x1b[2J\x9b\x00"),
        ("\u202eevil\u2028", r"\u202eevil\u2028"),
        ("\udcff", r"\udcff"),
        ("Grüße=", "Grüße="),
        (None, ""),
        (True, "true"),
        (0.25, "0.25"),
        ({"bob": "a\nb"}, r'{"bob":"a\nb"}'),
        ({"bob": object}, """{"bob":"<class 'object'>"}"""),
        ({("b",): "\udcff"}, r"""{"('b',)":"\\udcff"}"""),
    ],
)
def test_no_value_is_more_than_one_line(
    value: object, told: str, handler: Journald, journal: Journal
) -> None:
    handler.emit(record("%s", value, fields={"hello": value}))
    fields = journal.hear()
    assert ("GATEPOST_HELLO", told) in fields
    assert [name for name, _ in fields].count("MESSAGE") == 1


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("x=1\nMESSAGE", "GATEPOST_X_1_MESSAGE"),
        ("größe", "GATEPOST_GR_SSE"),
        ("_PID", "GATEPOST__PID"),
        ("n" * 100, f"GATEPOST_{'N' * 55}"),
    ],
)
def test_no_name_is_more_than_a_name(
    name: str, field: str, handler: Journald, journal: Journal
) -> None:
    handler.emit(record("x", fields={name: "value"}))
    assert journal.hear()[-1] == (field, "value")


def test_what_no_datagram_can_hold_goes_as_a_file(handler: Journald, journal: Journal) -> None:
    recipients = [f"{number}{'x' * 100}@example.org" for number in range(20_000)]
    handler.emit(record("big", fields={"to": recipients}))
    handler.emit(record("small"))
    fields = journal.hear()
    assert fields[0] == ("MESSAGE", "big")
    assert [value for name, value in fields if name == "GATEPOST_TO"] == recipients
    assert journal.hear()[0] == ("MESSAGE", "small")


def test_sending_a_file_leaves_none_open(handler: Journald, journal: Journal) -> None:
    def send() -> int:
        handler.emit(record("big", fields={"to": ["x" * 1_000_000]}))
        journal.hear()
        return len(os.listdir("/proc/self/fd"))

    assert send() == send()


def test_a_journal_that_was_restarted_is_found_again(handler: Journald, journal: Journal) -> None:
    journal.socket.close()
    with pytest.raises(ConnectionRefusedError):
        handler.emit(record("nobody listens"))
    journal.path.unlink()
    with pytest.raises(FileNotFoundError):
        handler.emit(record("nobody is there"))
    again = Journal.at(journal.path)
    with again.socket:
        handler.emit(record("somebody listens"))
        assert again.hear()[0] == ("MESSAGE", "somebody listens")


def test_where_there_is_no_journal_there_is_no_handler(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Journald(str(tmp_path / "nowhere"))
    assert len(os.listdir("/proc/self/fd")) == before
