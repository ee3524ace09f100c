"""What a service tells systemd: on a socket that the test listens to."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gatepost.processes.systemd import Systemd


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(5)
        yield manager


@pytest.fixture
def path() -> Iterator[str]:
    """Where a Unix socket may be; short enough for one."""
    with tempfile.TemporaryDirectory() as name:
        yield os.fspath(Path(name) / "notify")


# -- Telling --------------------------------------------------------------------------------------


def test_it_is_told_at_a_path(path: str) -> None:
    with listening(path) as manager:
        systemd = Systemd({"NOTIFY_SOCKET": path})
        systemd.tell("READY=1", "STATUS=Listening on unix:/run/Zoë.sock")
        systemd.tell("WATCHDOG=1")
        assert manager.recv(1000) == "READY=1\nSTATUS=Listening on unix:/run/Zoë.sock".encode()
        assert manager.recv(1000) == b"WATCHDOG=1"


def test_it_is_told_at_an_abstract_address() -> None:
    name = f"gatepost-{os.getpid()}"
    with listening(f"\0{name}") as manager:
        Systemd({"NOTIFY_SOCKET": f"@{name}"}).tell("READY=1")
        assert manager.recv(1000) == b"READY=1"


def test_what_is_no_unicode_is_told_in_part(path: str) -> None:
    with listening(path) as manager:
        Systemd({"NOTIFY_SOCKET": path}).tell("STATUS=Listening on unix:/run/\udcff.sock")
        assert manager.recv(1000) == b"STATUS=Listening on unix:/run/?.sock"


@pytest.mark.parametrize("address", ["", "/none/notify", "@none", "vsock:2:1", "/" + "x" * 200])
def test_nobody_is_there(address: str) -> None:
    Systemd({"NOTIFY_SOCKET": address}).tell("READY=1")


def test_no_service_manager() -> None:
    systemd = Systemd({})
    systemd.tell("READY=1")
    assert systemd.watchdog == 0


def test_one_that_does_not_read_is_not_waited_for(path: str) -> None:
    with listening(path) as manager:
        systemd = Systemd({"NOTIFY_SOCKET": path}, patience=0.001)
        for number in range(1000):  # more than the kernel keeps for it
            systemd.tell(f"STATUS={number}")
        assert manager.recv(1000) == b"STATUS=0"
        manager.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                last = manager.recv(1000)
        assert last != b"STATUS=999"


# -- The watchdog ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_PID": str(os.getpid())}, 0),
        ({"WATCHDOG_USEC": "0"}, 0),
        ({"WATCHDOG_USEC": "-1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": ""}, 0),
    ],
    ids=["for all", "for us", "for another", "no time", "never", "negative", "nonsense", "nobody"],
)
def test_what_the_watchdog_wants(environment: dict[str, str], seconds: float) -> None:
    assert Systemd(environment).watchdog == seconds
