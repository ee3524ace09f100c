"""The whole server as operators run it: workers, reloads under load, kills, stops, limits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.serving import GATEPOST, SECONDS, Client, load, serving


async def nobody_listens(port: int) -> None:
    """Wait until connections are refused."""
    with suppress(OSError):
        while True:
            _, other = await asyncio.open_connection("127.0.0.1", port)
            other.close()
            await asyncio.sleep(0.05)


def test_ten_reloads_under_load_cut_nobody_off(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        clients = [Client(server.port, f"client{number}") for number in range(8)]
        patient = Client(server.port, "patient")
        before = server.workers()

        async def scenario() -> None:
            until = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(load(clients, until))
                group.create_task(patient.send(60, pause=0.25))  # one connection, all the while
                for _ in range(10):
                    reloaded = await asyncio.to_thread(server.gatepost, "reload")
                    assert reloaded.returncode == 0, reloaded.stderr
                until.set()

        asyncio.run(asyncio.wait_for(scenario(), 100))
        everybody = [*clients, patient]
        assert [trouble for client in everybody for trouble in client.troubles] == []
        status = server.status()
        assert status["reloads"] == 10
        assert not before & server.workers()
        taken = sorted(subject for client in everybody for subject in client.taken)
        assert len(taken) > 100
        assert sorted(server.letters) == taken


def test_a_bad_configuration_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = server.workers()
        sound = (tmp_path / "gatepost.toml").read_text()
        (tmp_path / "gatepost.toml").write_text(sound.replace("domains =", "domain ="))
        reloaded = server.gatepost("reload")
        assert reloaded.returncode == 1
        assert "did you mean 'domains'?" in reloaded.stderr
        server.process.send_signal(signal.SIGHUP)
        server.eventually(lambda: (tmp_path / "log").read_text().count("not reloaded") == 2)
        assert server.workers() == before
        client = Client(server.port, "afterwards")
        asyncio.run(client.send(1))
        assert client.taken


def test_a_reload_changes_listeners_and_workers(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server:
        text = (tmp_path / "gatepost.toml").read_text()
        more = '[[listen]]\nname = "more"\naddress = "127.0.0.1:0"\n[[plugin]]'
        text = text.replace("workers = 1", "workers = 3").replace("[[plugin]]", more, 1)
        (tmp_path / "gatepost.toml").write_text(text)
        assert server.gatepost("reload").returncode == 0
        status = server.status()
        assert status["addresses"][0] == f"127.0.0.1:{server.port}"
        port = int(status["addresses"][1].rpartition(":")[2])
        for one in (server.port, port):
            client = Client(one, f"port{one}")
            asyncio.run(client.send(1))
            assert client.taken
        assert len(server.workers()) == 3


def test_the_old_workers_say_goodbye_when_their_time_is_over(tmp_path: Path) -> None:
    with serving(tmp_path, drain=0.5) as server:

        async def scenario() -> bytes:
            client = Client(server.port, "idle")
            async with client.connection() as (reader, _):
                reloaded = await asyncio.to_thread(server.gatepost, "reload")
                assert reloaded.returncode == 0
                return await asyncio.wait_for(reader.read(), SECONDS)

        assert asyncio.run(scenario()).startswith(b"421 4.3.2")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_replaced(number: signal.Signals, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = server.workers()
        os.kill(min(before), number)
        server.eventually(lambda: len(server.workers() - before) == 1)
        assert server.status()["replaced"] == 1
        assert number.name in (tmp_path / "log").read_text()
        client = Client(server.port, "afterwards")
        asyncio.run(client.send(2))
        assert len(client.taken) == 2


def test_limits_hold_for_all_workers_together(tmp_path: Path) -> None:
    with serving(tmp_path, workers=3, per_address=5) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
        try:
            greetings = [client.makefile("rb").readline()[:3] for client in clients]
            assert greetings.count(b"220") == 5
            assert greetings.count(b"421") == 7
            os.kill(max(server.workers()), signal.SIGKILL)  # what it counted is forgotten
            server.eventually(lambda: len(server.workers()) == 3)
        finally:
            for client in clients:
                client.close()
        server.eventually(lambda: server.status()["workers"][0]["sessions"] == 0)
        for _ in range(5):
            afterwards = Client(server.port, "afterwards")
            asyncio.run(afterwards.send(1))
            assert not afterwards.troubles


def test_stop_lets_a_message_be_finished(tmp_path: Path) -> None:
    with serving(tmp_path) as server:

        async def scenario() -> bytes:
            client = Client(server.port, "slow")
            async with client.connection() as (reader, writer):
                writer.write(b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
                for _ in range(3):
                    await reader.readline()
                stopped = await asyncio.to_thread(server.gatepost, "stop")
                assert stopped.returncode == 0
                await nobody_listens(server.port)
                writer.write(b"Subject: last\r\n\r\nHello\r\n.\r\n")
                return await reader.read()

        answer = asyncio.run(asyncio.wait_for(scenario(), SECONDS))
        assert answer.startswith(b"250 2.0.0")
        assert b"421 4.3.2" in answer
        assert server.process.wait(SECONDS) == 0
        assert server.letters == ["last"]


def test_when_the_supervisor_is_killed_the_workers_end(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        workers = server.workers()
        server.process.kill()
        server.process.wait(SECONDS)

        def are_gone() -> bool:
            return not any(Path(f"/proc/{pid}").exists() for pid in workers)

        server.eventually(are_gone)


def test_two_servers_cannot_share_a_state_directory(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        second = server.gatepost("serve")
        assert second.returncode == 1
        assert "cannot" in second.stderr
        assert server.workers()


def test_nobody_is_there_to_be_asked(tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").write_text('[[listen]]\naddress = "127.0.0.1:2525"\n')
    for word in ("reload", "stop", "status"):
        asked = subprocess.run(
            [*GATEPOST, word], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert asked.returncode == 1
        assert "no server runs" in asked.stderr
