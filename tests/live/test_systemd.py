"""What systemd's programs make of the packaged files, and what the server tells a manager."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port

PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = ("gatepost.service", "gatepost.socket")
GATEPOST = [sys.executable, "-m", "gatepost"]
#: What `systemd-analyze security` may hold against the unit, in tenths; 100 is a service without
#: any of its settings.
EXPOSURE = 20
SECONDS = 60

CONFIGURATION = """\
hostname = "mx.example.org"
workers = 2

[[listen]]
name = "v4"
address = "127.0.0.1:{v4}"

[[listen]]
name = "v6"
address = "[::1]:{v6}"

[[listen]]
name = "unix"
address = "unix:{unix}"
protocol = "lmtp"

[[plugin]]
use = "domains"
domains = ["example.org"]

[[plugin]]
use = "maildir"
path = "mail"
"""


def needs(program: str) -> pytest.MarkDecorator:
    found = shutil.which(program)
    return pytest.mark.skipif(found is None, reason=f"{program} (systemd) is not installed")


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)


# -- The files ------------------------------------------------------------------------------------


@needs("systemd-analyze")
def test_the_units_are_sound(tmp_path: Path) -> None:
    for unit in UNITS:  # the program has to be there
        text = (PACKAGING / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/opt/gatepost/bin/gatepost", sys.executable))
    verified = ran("systemd-analyze", "verify", *(str(tmp_path / unit) for unit in UNITS))
    told = [line for line in verified.stderr.splitlines() if "gatepost" in line]
    assert (verified.returncode, told) == (0, []), verified.stderr


@needs("systemd-analyze")
def test_the_service_has_few_rights() -> None:
    unit = str(PACKAGING / "gatepost.service")
    words = ["security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", unit]
    judged = ran("systemd-analyze", *words)
    assert judged.returncode == 0, judged.stdout


@needs("systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users")
def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    made = ran("systemd-sysusers", f"--root={tmp_path}", str(PACKAGING / "gatepost.sysusers"))
    assert made.returncode == 0, made.stderr
    users = (tmp_path / "etc/passwd").read_text()
    assert re.fullmatch(
        r"gatepost:x:\d+:\d+:Gatepost mail server:/var/lib/gatepost:.*/nologin\n", users
    )


# -- The server -----------------------------------------------------------------------------------


class Ear:
    """The socket at which a service manager hears what its service tells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._told: queue.Queue[bytes] = queue.Queue()
        # Somebody listens all the time, or the service would have to wait.
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def hear(self) -> dict[str, str]:
        """The facts of the next datagram."""
        lines = self._told.get(timeout=SECONDS).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def hear_more(self) -> dict[str, str]:
        """The facts of the next datagram that is more than a sign of life."""
        deadline = time.monotonic() + SECONDS
        while (facts := self.hear()) == {"WATCHDOG": "1"}:
            assert time.monotonic() < deadline
        return facts

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(b"", str(self.path))
        self._listening.join()
        self._socket.close()

    def _listen(self) -> None:
        while told := self._socket.recv(4096):
            self._told.put(told)


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(tmp_path / "notify")
    yield ear
    ear.close()


def free_port_of(host: str) -> int:
    try:
        return free_port(host)
    except OSError as error:
        pytest.skip(f"nobody can listen on {host}: {error}")


@contextmanager
def activated(directory: Path, *listens: str, notify: Path) -> Iterator[subprocess.Popen[str]]:
    """Gatepost, as soon as somebody connects; the process is the one that it will be then."""
    environment = {name: text for name, text in os.environ.items() if name.startswith("PYTHON")}
    environment |= {"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "200000"}
    words = [
        "systemd-socket-activate",
        *(f"--listen={one}" for one in listens),
        *(f"--setenv={name}={text}" for name, text in environment.items()),
        *GATEPOST,
        "serve",
        "--quiet",
    ]
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(
            words, cwd=directory, stdout=log, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stderr
        try:
            for _ in listens:
                assert "Listening on" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def send(client: smtplib.SMTP) -> None:
    with client:
        client.sendmail("a@x.example", ["b@example.org"], "Subject: Hello\r\n\r\nHello\r\n")


@needs("systemd-socket-activate")
def test_the_server_takes_sockets_over_and_tells_how_it_is(tmp_path: Path, ear: Ear) -> None:
    v4, v6, unix = free_port_of("127.0.0.1"), free_port_of("::1"), tmp_path / "lmtp"
    (tmp_path / "gatepost.toml").write_text(CONFIGURATION.format(v4=v4, v6=v6, unix=unix))
    listens = [f"127.0.0.1:{v4}", f"[::1]:{v6}", str(unix)]
    with activated(tmp_path, *listens, notify=ear.path) as process:
        send(smtplib.SMTP("127.0.0.1", v4, timeout=SECONDS))
        assert ear.hear() == {
            "READY": "1",
            "STATUS": f"Listening on 127.0.0.1:{v4}, [::1]:{v6}, unix:{unix}",
        }
        assert ear.hear() == {"WATCHDOG": "1"}
        send(smtplib.SMTP("::1", v6, timeout=SECONDS))
        send(smtplib.LMTP(str(unix), timeout=SECONDS))
        assert len(list((tmp_path / "mail/new").iterdir())) == 3

        before = time.monotonic_ns() // 1000
        reloaded = subprocess.run([*GATEPOST, "reload"], cwd=tmp_path, timeout=SECONDS, check=False)
        assert reloaded.returncode == 0
        reloading = ear.hear_more()
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        ready = ear.hear_more()
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith("Listening on 127.0.0.1:")
        assert ear.hear() == {"WATCHDOG": "1"}
        for client in (smtplib.SMTP("127.0.0.1", v4), smtplib.LMTP(str(unix))):
            send(client)

        process.send_signal(signal.SIGTERM)
        assert ear.hear_more() == {"STOPPING": "1"}
        assert process.wait(SECONDS) == 0
        assert unix.is_socket()  # it is for those who made it to remove
