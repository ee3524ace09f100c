"""The servers that are compared, each as a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")

CONFIGURATION = """
hostname = "mx.example"
state = "{state}"
workers = 1
{tls}
[[listen]]
address = "127.0.0.1:{port}"
{listen}

[limits]
messages = 1_000_000_000
connections = 20_000
connections_per_address = 20_000

{plugins}
[[plugin]]
use = "domains"
domains = ["example.org"]

[[plugin]]
use = "discard"
"""

IDLE_PLUGIN = """
[[plugin]]
use = "benchmarks.no_opinion:NoOpinion"
name = "idle{number}"
"""


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """User and system seconds that its processes have used so far."""
        return sum(map(_cpu_seconds, self._processes()))

    def memory(self) -> int:
        """Proportional set size of its processes in KiB."""
        return sum(map(_memory, self._processes()))

    def _processes(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise RuntimeError("the kernel does not tell the proportional set size")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_banner(port: int, banner: bytes) -> None:
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                if not banner or client.recv(100).startswith(banner):
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


@contextmanager
def running(
    name: str, port: int, command: list[str], *, banner: bytes = b"220"
) -> Iterator[Server]:
    """A server that is stopped afterwards; without a banner it is enough that it listens."""
    process = subprocess.Popen(
        command, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await_banner(port, banner)
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def gatepost(
    directory: Path, *, idle_plugins: int = 0, tls: str = "", listen: str = ""
) -> Iterator[Server]:
    """Gatepost with `domains` and `discard`, and perhaps plugins that have no opinion.

    `tls` is the table of that name, and `listen` what the listener's table says besides.
    """
    port = free_port()
    plugins = "".join(IDLE_PLUGIN.format(number=number) for number in range(idle_plugins))
    file = directory / f"gatepost-{port}.toml"
    state = directory / f"state-{port}"
    values = {"port": port, "plugins": plugins, "tls": tls, "listen": listen, "state": state}
    file.write_text(CONFIGURATION.format(**values))
    name = f"gatepost, {idle_plugins} idle plugins" if idle_plugins else "gatepost"
    command = [sys.executable, "-m", "gatepost", "serve", "--quiet", "-c", str(file)]
    with running(name, port, command, banner=b"" if "implicit" in listen else b"220") as server:
        yield server


@contextmanager
def smtp_sink() -> Iterator[Server]:
    """Postfix's smtp-sink: one process in C that only answers."""
    port = free_port()
    program = _program("smtp-sink")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with running("smtp-sink", port, [program, *user, f"127.0.0.1:{port}", "1000"]) as server:
        yield server


@contextmanager
def aiosmtpd() -> Iterator[Server]:
    """aiosmtpd on uvloop, with a handler that checks the domain and throws the message away."""
    port = free_port()
    script = str(HERE / "aiosmtpd_server.py")
    command = [sys.executable, "-W", "ignore", script, str(port)]
    with running("aiosmtpd (uvloop)", port, command) as server:
        yield server


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/lib/postfix/sbin")
    if path is None:
        raise SystemExit(f"{name} is needed: apt-get install postfix")
    return path


def smtp_source(
    server: Server, *, messages: int, size: int, sessions: int, reuse: bool = False
) -> float:
    """Send messages with Postfix's smtp-source; how many seconds that took."""
    command = [_program("smtp-source"), "-s", str(sessions), "-l", str(size), "-m", str(messages)]
    command += ["-d"] if reuse else []
    command += ["-f", "anne@client.example", "-t", "bob@example.org", f"127.0.0.1:{server.port}"]
    started = time.perf_counter()
    subprocess.run(command, check=True, timeout=300)
    return time.perf_counter() - started
