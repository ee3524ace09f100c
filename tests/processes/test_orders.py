"""What a worker is started with: through the environment, and as descriptors."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.processes.orders import VARIABLE, Orders, text_in_memory

#: As it stood in the file: with lines of Windows, and letters that are not in ASCII.
TEXT = 'hostname = "mx.example.org"\r\n# Zoë, \U0001f4ec\n'


@pytest.fixture
def orders() -> Iterator[Orders]:
    """Orders with descriptors that are there, all to be inherited."""
    text = text_in_memory(TEXT)
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    for descriptor in others:
        os.set_inheritable(descriptor, True)
    first, second, channel, tally = others
    yield Orders(
        path="/etc/gatepost/gatepost.toml",
        text=text,
        sockets=(first, second),
        channel=channel,
        tally=tally,
        region=7,
        seed="00ff",
        quiet=True,
    )
    for descriptor in (text, *others):
        os.close(descriptor)


def test_all_that_is_inherited(orders: Orders) -> None:
    assert sorted(orders.descriptors) == sorted(
        [orders.text, *orders.sockets, orders.channel, orders.tally]
    )


def test_they_come_through_the_environment(orders: Orders) -> None:
    assert Orders.from_environment(orders.in_environment()) == orders


def test_nobody_else_is_to_see_them(orders: Orders) -> None:
    environment = orders.in_environment()
    Orders.from_environment(environment)
    assert VARIABLE not in environment
    assert not any(os.get_inheritable(descriptor) for descriptor in orders.descriptors)


def test_where_there_are_none() -> None:
    with pytest.raises(KeyError):
        Orders.from_environment({})


def test_the_environment_is_handed_on(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "plugins")
    monkeypatch.setenv("LISTEN_PATH", "/run/lmtp.sock")  # as in address = "unix:$LISTEN_PATH"
    environment = orders.in_environment()
    assert environment["WHERE"] == "plugins"
    assert environment["LISTEN_PATH"] == "/run/lmtp.sock"


@pytest.mark.parametrize(
    "name",
    [
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
    ],
)
def test_what_the_service_manager_says_is_not_handed_on(
    orders: Orders, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert name not in orders.in_environment()
    assert os.environ[name] == "1"  # the supervisor still needs it


def test_the_configuration_is_as_it_was_checked(orders: Orders) -> None:
    for _ in range(2):
        assert orders.configuration() == (TEXT, Path("/etc/gatepost/gatepost.toml"))


def test_a_text_that_finds_no_room_leaves_nothing_open() -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = set(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            text_in_memory(TEXT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(os.listdir("/proc/self/fd")) <= before


WORKER = """\
import json, os, subprocess, sys
from gatepost.processes.orders import Orders

orders = Orders.from_environment(os.environ)
program = "import json, os; print(json.dumps([dict(os.environ), os.listdir('/proc/self/fd')]))"
heard = subprocess.run(
    [sys.executable, "-c", program], close_fds=False, stdout=subprocess.PIPE, check=True
)
print(json.dumps([orders.configuration()[0], list(orders.descriptors), *json.loads(heard.stdout)]))
"""


def test_a_program_that_a_worker_starts_inherits_nothing(orders: Orders) -> None:
    worker = subprocess.run(
        [sys.executable, "-c", WORKER],
        env=orders.in_environment(),
        pass_fds=orders.descriptors,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    text, descriptors, environment, files = json.loads(worker.stdout)
    assert text == TEXT
    assert tuple(descriptors) == orders.descriptors
    assert VARIABLE not in environment
    assert not {str(descriptor) for descriptor in descriptors} & set(files)
