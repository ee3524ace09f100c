"""The syslog of this machine, as a real socket hears it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.log.syslog import Syslog
from gatepost.log.text_lines import TextLines

#: The facility of the mail system, in the place that it has in a priority (RFC 5424, 6.2.1).
MAIL = 2 * 8


def listening(path: Path) -> socket.socket:
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    daemon.bind(str(path))
    daemon.settimeout(10)
    return daemon


def handler_of(path: Path) -> Syslog:
    handler = Syslog(str(path))
    handler.setFormatter(TextLines(""))
    return handler


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("gatepost", level, "", 0, text, None, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def daemon(path: Path) -> Iterator[socket.socket]:
    with listening(path) as daemon:
        yield daemon


@pytest.fixture
def handler(path: Path, daemon: socket.socket) -> Iterator[Syslog]:
    handler = handler_of(path)
    yield handler
    handler.close()


@pytest.mark.parametrize(
    ("level", "severity", "line"),
    [
        (logging.DEBUG, 7, "x"),
        (logging.INFO, 6, "x"),
        (logging.WARNING, 4, "warning: x"),
        (logging.ERROR, 3, "error: x"),
        (logging.CRITICAL, 2, "critical: x"),
    ],
)
def test_a_line_comes_from_the_mail_system(
    level: int, severity: int, line: str, handler: Syslog, daemon: socket.socket
) -> None:
    handler.emit(record("x", level))
    told = f"<{MAIL + severity}>gatepost[{os.getpid()}]: {line}"
    assert daemon.recv(1000) == told.encode()


def test_no_line_is_more_than_one(handler: Syslog, daemon: socket.socket) -> None:
    handler.emit(record("a\n<0>kernel: forged\0\x1b[2J\u202e\udcff"))
    heard = daemon.recv(1000).decode()
    assert heard.endswith(r": a\n<0>kernel: forged\x00\x1b[2J\u202e\udcff")


def test_one_that_was_restarted_is_found_again(
    handler: Syslog, daemon: socket.socket, path: Path
) -> None:
    handler.emit(record("before"))
    assert daemon.recv(1000).endswith(b"before")
    daemon.close()
    with pytest.raises(ConnectionRefusedError):
        handler.emit(record("nobody listens"))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        handler.emit(record("nobody is there"))
    with listening(path) as again:
        handler.emit(record("afterwards"))
        assert again.recv(1000).endswith(b": afterwards")


def test_where_it_listens_for_streams_something_ends_each_line(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(path))
        daemon.listen()
        daemon.settimeout(10)
        handler = handler_of(path)
        connection, _ = daemon.accept()
        with connection:
            for text in ("one", "two"):
                handler.emit(record(text))
            handler.close()
            heard = b""
            while piece := connection.recv(1000):
                heard += piece
    lines = heard.split(b"\0")
    assert [line.rpartition(b" ")[2] for line in lines] == [b"one", b"two", b""]


def test_where_nobody_listens_there_is_no_handler(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Syslog(str(path))
    assert len(os.listdir("/proc/self/fd")) == before
