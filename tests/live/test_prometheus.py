"""The figures of a server at work, fetched by curl: all move as they should, and none backwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import pytest
import trustme

from gatepost import HashedPassword
from gatepost.metrics.table import TABLE

SECONDS = 60
CONFIGURATION = """\
hostname = "mx.example.org"
workers = 2

[tls]
certificate = "chain.pem"

[limits]
message_size = 20_000

[metrics]
address = "unix:figures.sock"

[[listen]]
name = "mx"
address = "127.0.0.1:0"
tls = "starttls"

[[listen]]
name = "submission"
address = "127.0.0.1:0"
tls = "implicit"

[[plugin]]
use = "auth_file"
users = "users"

[[plugin]]
use = "domains"
domains = ["example.org"]

[[plugin]]
use = "discard"
"""

#: Numbers by the figure's name with its labels, as they stand in the text.
Figures: TypeAlias = dict[str, float]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@dataclass
class Server:
    """A server in a directory of its own, and where it listens."""

    directory: Path
    ports: dict[str, int]

    def run(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.directory,
            input=typed,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def fetch(self, page: str) -> tuple[int, str]:
        """The status and the text of a page."""
        told = self.run(
            "curl", "-sS", "-w", "\n%{http_code}", "--unix-socket", "figures.sock",
            f"http://localhost{page}",
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        text, _, status = told.stdout.rpartition("\n")
        return int(status), text

    def figures(self) -> Figures:
        status, text = self.fetch("/metrics")
        assert status == 200
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def eventually(self, wanted: Figures) -> Figures:
        """Wait until these figures are what they should be; workers tell theirs each second."""
        deadline = time.monotonic() + SECONDS
        while True:
            figures = self.figures()
            wrong = {
                name: figures.get(name) for name in wanted if figures.get(name) != wanted[name]
            }
            if not wrong:
                return figures
            assert time.monotonic() < deadline, wrong
            time.sleep(0.1)

    def workers(self) -> list[int]:
        told = self.run(sys.executable, "-m", "gatepost", "status", "--json")
        return [one["pid"] for one in json.loads(told.stdout)["workers"]]

    def load(self, count: int) -> None:
        """Send letters, each over a connection of its own."""
        sent = self.run(
            "smtp-source", "-s", "2", "-m", str(count), "-l", "1000", "-f", "anne@client.example",
            "-t", "bob@example.org", f"inet:127.0.0.1:{self.ports['mx']}",
        )  # fmt: skip
        assert sent.returncode == 0, sent.stderr

    def swaks(self, listener: str, *options: str, **more: str) -> int:
        """Send one letter with TLS, as anne; how swaks fared."""
        usual = {"password": "tea with milk", "body": "Hello"} | more
        return self.run(
            "swaks", "--server", f"127.0.0.1:{self.ports[listener]}", "--from", "anne@example.org",
            "--to", "bob@example.org", "--auth-user", "anne", "--auth-password", usual["password"],
            "--body", "-", *options, typed=usual["body"],
        ).returncode  # fmt: skip

    @contextmanager
    def visitor(self) -> Iterator[None]:
        """Somebody comes, is refused, and stays."""
        address = ("127.0.0.1", self.ports["mx"])
        with (
            socket.create_connection(address, SECONDS) as connection,
            connection.makefile("rb") as replies,
        ):
            connection.sendall(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<eve@elsewhere.example>\r\n")
            assert [replies.readline()[:3] for _ in range(4)] == [b"220", b"250", b"250", b"550"]
            yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of two workers, which runs until the test is over."""
    certificate = trustme.CA().issue_cert("mx.example.org", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "chain.pem")
    hashed = HashedPassword.make("tea with milk", scheme="sha512-crypt")
    (tmp_path / "users").write_text(f"anne:{hashed}\n")
    (tmp_path / "gatepost.toml").write_text(CONFIGURATION)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "gatepost", "serve", "--quiet"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Server(tmp_path, dict(ports(process)))
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            finally:
                process.kill()


def ports(process: subprocess.Popen[str]) -> Iterator[tuple[str, int]]:
    assert process.stdout
    for line in process.stdout:
        if match := re.match(r"Listening on 127\.0\.0\.1:(\d+) \((\w+), ", line):
            yield match[2], int(match[1])
            if match[2] == "submission":
                return
    raise AssertionError("the server did not say where it listens")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def verdicts(plugin: str, hook: str, verdict: str) -> str:
    labels = f'plugin="{plugin}",hook="{hook}",verdict="{verdict}",mode="enforce"'
    return f"gatepost_verdicts_total{{{labels}}}"


def seconds_of(figures: Figures, hook: str, plugin: str) -> float:
    """How often a hook was measured."""
    return figures[f'gatepost_hook_seconds_count{{hook="{hook}",plugin="{plugin}"}}']


@needs("smtp-source")
@needs("swaks")
def test_every_figure_moves_as_it_should(server: Server) -> None:
    server.load(20)
    assert server.swaks("mx", "--tls", "--auth", "PLAIN") == 0
    assert server.swaks("submission", "--tls-on-connect", "--auth", "LOGIN", password="no") == 28
    assert server.swaks("mx", "--tls", "--auth", "PLAIN", body="x" * 30_000) == 26
    assert server.swaks("submission", "--tls-on-connect", "--auth", "LOGIN") == 0
    with server.visitor():
        server.eventually({"gatepost_open_connections": 1})
    figures = server.eventually(
        {
            'gatepost_connections_total{listener="mx"}': 23,
            'gatepost_connections_total{listener="submission"}': 2,
            "gatepost_open_connections": 0,
            'gatepost_messages_total{listener="mx",outcome="accepted"}': 21,
            'gatepost_messages_total{listener="mx",outcome="refused"}': 1,
            'gatepost_messages_total{listener="submission",outcome="accepted"}': 1,
            'gatepost_recipients_total{listener="mx",outcome="accepted"}': 21,
            verdicts("domains", "rcpt", "accept"): 23,
            verdicts("nobody", "rcpt", "deny"): 1,
            verdicts("discard", "queue", "accept"): 22,
            'gatepost_authentications_total{mechanism="PLAIN",outcome="accepted"}': 2,
            'gatepost_authentications_total{mechanism="LOGIN",outcome="refused"}': 1,
            'gatepost_authentications_total{mechanism="LOGIN",outcome="accepted"}': 1,
            'gatepost_tls_sessions_total{version="TLSv1.3"}': 4,
            'gatepost_limits_hit_total{limit="message_size"}': 1,
            "gatepost_workers": 2,
        }
    )
    received = figures['gatepost_received_bytes_total{listener="mx"}']
    assert 20 * 1000 < received < 60_000
    assert figures['gatepost_conversation_bytes_total{listener="mx",direction="in"}'] > received
    assert figures['gatepost_conversation_bytes_total{listener="mx",direction="out"}'] > 20 * 200
    assert seconds_of(figures, "queue", "discard") == 22
    assert seconds_of(figures, "auth", "auth_file") == 4
    assert figures["gatepost_event_loop_lag_seconds_count"] > 1
    assert 0 <= figures["gatepost_event_loop_longest_lag_seconds"] < SECONDS
    assert time.time() - SECONDS < figures["gatepost_start_time_seconds"] < time.time()
    assert figures["gatepost_resident_memory_bytes"] > 2 * 10_000_000
    assert figures["gatepost_open_file_descriptors"] > 2 * 5
    shown = {re.sub(r"(_bucket|_sum|_count)?(\{.*)?$", "", name) for name in figures}
    assert shown == {figure.name for figure in TABLE}


@needs("smtp-source")
def test_no_counter_goes_backwards_when_a_worker_is_killed(server: Server) -> None:
    server.load(40)
    accepted = 'gatepost_messages_total{listener="mx",outcome="accepted"}'
    before = server.eventually({accepted: 40})
    killed = server.workers()[0]
    os.kill(killed, signal.SIGKILL)
    seen = [before]

    def looks_and_sees_another() -> bool:
        seen.append(server.figures())
        return seen[-1]["gatepost_workers"] == 2 and killed not in server.workers()

    wait_for(looks_and_sees_another)
    server.load(10)
    seen.append(server.eventually({accepted: 50}))
    counters = [name for name in before if re.search(r"(_total|_bucket|_sum|_count)(\{|$)", name)]
    assert len(counters) > 100
    for earlier, later in pairwise(seen):
        assert [name for name in counters if later[name] < earlier[name]] == []


def test_health_while_all_workers_are_dead(server: Server) -> None:
    assert server.fetch("/healthz") == (200, "yes\n")
    assert server.fetch("/readyz") == (200, "yes\n")
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.fetch("/readyz") == (503, "no\n"))
    assert server.fetch("/healthz") == (200, "yes\n")
    wait_for(lambda: server.fetch("/readyz") == (200, "yes\n"))


@needs("promtool")
def test_what_prometheus_itself_thinks_of_the_text(server: Server) -> None:
    _, text = server.fetch("/metrics")
    checked = server.run("promtool", "check", "metrics", typed=text)
    assert (checked.returncode, checked.stderr) == (0, "")


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait for what the server does in its own time; a minute at most."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
