"""Reloads and stops at odd moments: what fails leaves everything as it was, and nobody behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import gatepost
from tests.live.serving import GATEPOST, SECONDS, Client, Server, serving
from tests.ports import free_port

#: A plugin whose start takes a while, so that something else can happen meanwhile.
SLOW = """
import asyncio
from gatepost import Plugin, Site

class Slow(Plugin):
    async def startup(self, site: Site) -> None:
        open("starting", "a").write("x")
        await asyncio.sleep(600)
"""
WITH_SLOW = '\n[[plugin]]\nuse = "slow"\ntimeout = 600\n'
DIRECTORIES = 'plugin_directories = ["plugins"]\n'


def change(server: Server, old: str, new: str) -> None:
    """Write another configuration."""
    file = server.directory / "gatepost.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def processes_of(directory: Path) -> set[int]:
    """All that run with this directory as their own."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and Path(os.readlink(entry / "cwd")) == directory:
                found.add(int(entry.name))
        except OSError:  # it is gone
            continue
    return found


def is_refused(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
        return str(answer.read().decode())


# -- Reloads that fail ----------------------------------------------------------------------------


def test_a_reload_that_fails_leaves_no_listener_and_no_worker(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before, port = server.workers(), free_port()
        running = processes_of(tmp_path)
        more = f'[[listen]]\nname = "more"\naddress = "127.0.0.1:{port}"\n[[plugin]]\n'
        change(server, "[[plugin]]\n", more + 'usee = "domains"\n')
        reloaded = server.gatepost("reload")
        assert reloaded.returncode == 1
        assert "usee" in reloaded.stderr
        assert is_refused(port)
        assert server.workers() == before
        assert processes_of(tmp_path) == running


def test_a_plugin_that_does_not_start_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text(
        "from gatepost import Plugin, Site\n\n\nclass Broken(Plugin):\n"
        "    def startup(self, site: Site) -> None:\n        raise RuntimeError('no database')\n"
    )
    with serving(tmp_path) as server:
        before = server.workers()
        change(server, "hostname", f"{DIRECTORIES}hostname")
        change(server, "[[plugin]]", '[[plugin]]\nuse = "broken"\n[[plugin]]')
        reloaded = server.gatepost("reload")
        assert reloaded.returncode == 1
        assert "broken failed on startup: RuntimeError: no database" in reloaded.stderr
        assert server.workers() == before
        client = Client(server.port, "afterwards")
        asyncio.run(client.send(1))
        assert client.taken


def test_pages_move_with_a_reload_or_stay_where_they_were(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    with serving(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as taken:
        file = server.directory / "gatepost.toml"
        plain = file.read_text()
        file.write_text(f'{plain}\n[metrics]\naddress = "127.0.0.1:{first}"\n')
        assert server.gatepost("reload").returncode == 0
        server.eventually(lambda: "gatepost_workers 2" in page(first))
        file.write_text(f'{plain}\n[metrics]\naddress = "127.0.0.1:{taken.getsockname()[1]}"\n')
        before = server.workers()
        assert server.gatepost("reload").returncode == 1
        assert server.workers() == before
        assert "gatepost_workers" in page(first)
        file.write_text(f'{plain}\n[metrics]\naddress = "127.0.0.1:{second}"\n')
        assert server.gatepost("reload").returncode == 0
        assert "gatepost_workers" in page(second)
        assert is_refused(first)


# -- Reloads that succeed -------------------------------------------------------------------------


def test_a_reload_knows_the_classes_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "house_rules"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    plugin = package / "sales.py"
    head = "from dataclasses import dataclass\nfrom gatepost import Deny, Plugin\n\n\n@dataclass\n"
    plugin.write_text(f"{head}class Sales(Plugin):\n    word: str\n")
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    with serving(tmp_path) as server:
        entry = '[[plugin]]\nuse = "house_rules.sales:Sales"\nword = "no"\n'
        change(server, "[[plugin]]\n", f"{entry}[[plugin]]\n")
        assert server.gatepost("reload").returncode == 0
        plugin.write_text(
            f"{head}class Sales(Plugin):\n    words: tuple[str, ...]\n\n"
            "    def rcpt(self, transaction, recipient):\n        return Deny(self.words[0])\n"
        )
        change(server, 'word = "no"', 'words = ["Nobody", "reads"]')
        reloaded = server.gatepost("reload")
        assert reloaded.returncode == 0, reloaded.stderr

        async def answer() -> str:
            async with Client(server.port, "one").connection() as (reader, writer):
                writer.write(b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\n")
                return [(await reader.readline()).decode() for _ in range(2)][1]

        assert asyncio.run(answer()) == "550 5.7.1 Nobody\r\n"


def test_no_count_is_lost_with_the_workers_that_go(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path) as server:
        with (server.directory / "gatepost.toml").open("a") as file:
            file.write(f'\n[metrics]\naddress = "127.0.0.1:{port}"\n')
        assert server.gatepost("reload").returncode == 0
        for number in (1, 2, 3):
            client = Client(server.port, f"client{number}")
            asyncio.run(client.send(5))
            assert server.gatepost("reload").returncode == 0
        counted = 'gatepost_messages_total{listener="mx",outcome="accepted"} 15'
        server.eventually(lambda: counted in page(port))


def test_many_signals_are_one_reload_or_two(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for _ in range(50):
            server.process.send_signal(signal.SIGHUP)
        server.eventually(lambda: server.status()["reloads"] >= 1)
        client = Client(server.port, "meanwhile")
        asyncio.run(client.send(3))
        assert len(client.taken) == 3
        assert server.gatepost("reload").returncode == 0  # when it is done, so are the others
        assert server.status()["reloads"] < 10


# -- Stops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("whom", ["all", "a worker"])
def test_sigterm_lets_a_message_be_finished_whoever_gets_it(whom: str, tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server:
        workers = server.workers()
        victims = {"all": {*workers, server.process.pid}, "a worker": workers}[whom]

        async def scenario() -> bytes:
            async with Client(server.port, "slow").connection() as (reader, writer):
                writer.write(b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
                for _ in range(3):
                    await reader.readline()
                for pid in victims:
                    os.kill(pid, signal.SIGTERM)
                await asyncio.sleep(0.5)  # it is to be at an end by now, if it ended at once
                writer.write(b"Subject: last\r\n\r\nHello\r\n.\r\n")
                return await reader.read()

        answer = asyncio.run(asyncio.wait_for(scenario(), SECONDS))
        assert answer.startswith(b"250 2.0.0")
        assert b"421 4.3.2" in answer
        assert server.letters == ["last"]
        if whom == "all":
            assert server.process.wait(SECONDS) == 0
        else:
            server.eventually(lambda: len(server.workers() - workers) == 1)


def test_a_second_signal_ends_messages_under_way_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as server:

        async def scenario() -> float:
            async with Client(server.port, "slow").connection() as (reader, writer):
                writer.write(b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
                for _ in range(3):
                    await reader.readline()
                await asyncio.to_thread(server.eventually, lambda: server.sessions() == 1)
                server.process.send_signal(signal.SIGTERM)
                stdout = server.process.stdout
                assert stdout
                while "under way" not in await asyncio.to_thread(stdout.readline):
                    pass
                server.process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                await asyncio.to_thread(server.process.wait, SECONDS)
                return time.monotonic() - began

        # The grace is 10 seconds, and who does not go then is killed after 5 more.
        assert asyncio.run(asyncio.wait_for(scenario(), SECONDS)) < 4
        assert server.letters == []


def test_a_stop_does_not_wait_for_a_reload(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "slow.py").write_text(SLOW)
    with serving(tmp_path) as server:
        change(server, "hostname", f"{DIRECTORIES}hostname")
        change(server, "[[plugin]]", f"{WITH_SLOW}[[plugin]]")
        server.process.send_signal(signal.SIGHUP)
        server.eventually((tmp_path / "starting").exists)
        assert server.gatepost("stop").returncode == 0
        assert server.process.wait(20) == 0
        server.eventually(lambda: processes_of(tmp_path) == set())


# -- As root --------------------------------------------------------------------------------------


def python_for(uid: int) -> str:
    """A Python that this user can run, with all that we have installed; empty: there is none."""
    probe = "import gatepost, uvloop, aiohttp"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            subprocess.run([python, "-c", probe], user=uid, group=uid, check=True, timeout=SECONDS)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return ""


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A directory that everybody may look into; pytest's are for their owner alone."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_root_binds_and_somebody_else_serves(
    everybodys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = (Path(gatepost.__file__).parents[1], Path(msgspec.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, ours)))
    python = python_for(65534)
    if not python:
        pytest.skip("nobody else can run a Python with our packages")
    mail = everybodys / "mail"
    logs = everybodys / "logs"
    for directory in (mail, logs):
        directory.mkdir()
        os.chown(directory, 65534, 65534)
    port = free_port()
    more = (
        f'user = "nobody"\n[log]\ntarget = "logs/gatepost.log"\n[trail]\n'
        f'[metrics]\naddress = "127.0.0.1:{port}"\n[limits]'
    )
    command = [python, "-m", "gatepost"]
    with serving(everybodys, before_limits=more, command=command) as server:
        everybody = {server.process.pid, *server.workers()}
        for pid in everybody:
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.findall(r"[UG]id:\t(\d+)\t(\d+)\t(\d+)", status) == [("65534",) * 3] * 2
        client = Client(server.port, "one")
        asyncio.run(client.send(1))
        assert server.letters == ["one-0"]
        assert server.gatepost("reload").returncode == 0
        assert server.workers().isdisjoint(everybody)
        asyncio.run(client.send(1))
        assert len(client.taken) == 2
        assert "gatepost_workers" in page(port)
        change(server, "hostname", "hostnam")
        assert server.gatepost("reload").returncode == 1
        server.eventually(lambda: "not reloaded" in (logs / "gatepost.log").read_text())
    assert (everybodys / "state").stat().st_uid == 65534
    assert (everybodys / "state").stat().st_mode & 0o777 == 0o700


def test_workers_import_from_where_the_supervisor_does(tmp_path: Path) -> None:
    (tmp_path / "here.py").write_text(
        "from gatepost import Deny, Plugin\n\n\nclass Here(Plugin):\n"
        "    def rcpt(self, transaction, recipient):\n        return Deny('Here')\n"
    )
    with serving(tmp_path, before_limits='[[plugin]]\nuse = "here:Here"\n[limits]') as server:
        client = Client(server.port, "one")
        asyncio.run(client.send(1))
        assert client.troubles == ["one-0: ['250', '550', '554']"]


def test_what_lies_about_is_not_imported(tmp_path: Path) -> None:
    for name in ("logging.py", "gatepost.py", "uvloop.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current directory')\n")
    safe = [GATEPOST[0], "-P", *GATEPOST[1:]]  # as the command `gatepost` does
    with serving(tmp_path, command=safe) as server:
        client = Client(server.port, "one")
        asyncio.run(client.send(1))
        assert client.taken
