"""One client on standard input and output: pipes, sockets, files, a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from gatepost import Accept, Endpoint, Plugin, Recipient, Session, Transaction
from gatepost.app import Gate
from gatepost.limits import Limits
from gatepost.server import stdio
from gatepost.server.stdio import endpoints, serve_stdio

BROKEN = """
from gatepost import Plugin, Site

class Broken(Plugin):
    def startup(self, site: Site) -> None:
        raise ValueError("no licence")
"""
GOODBYE = b"221 2.0.0 mx.example says goodbye\r\n"


class Guestbook(Plugin):
    """Takes everything, and remembers who came and went."""

    def __init__(self) -> None:
        self.came: list[Session] = []
        self.gone: list[Session] = []
        self.letters: list[bytes] = []

    def connect(self, session: Session) -> None:
        self.came.append(session)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    async def queue(self, transaction: Transaction) -> Accept:
        await asyncio.sleep(0)
        self.letters.append(bytes(transaction.message))
        return Accept()

    def disconnect(self, session: Session) -> None:
        self.gone.append(session)


class Patient(Plugin):
    """Waits until the client has talked ahead of its turn."""

    async def connect(self, session: Session) -> Accept | None:
        while not session.unread:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0)
        return Accept(f"{session.unread} octets too early")


class Endless(Plugin):
    """Never has an opinion, and never says so."""

    def __init__(self) -> None:
        self.cancelled = False

    async def connect(self, session: Session) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled = True


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """What the client writes to, the server reads from, the server writes to, the client reads."""
    source, client_out = os.pipe()
    client_in, target = os.pipe()
    yield client_out, source, target, client_in
    for descriptor in (client_out, source, target, client_in):
        with suppress(OSError):  # the test has closed it
            os.close(descriptor)


def converse(
    plugins: list[Plugin],
    source: int,
    target: int,
    *,
    environment: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve one client to its end."""

    async def scenario() -> None:
        gate = Gate(plugins, hostname="mx.example", limits=limits)
        await serve_stdio(gate.listeners[0], environment or {}, source=source, target=target)

    asyncio.run(scenario())


def test_a_dialogue_over_pipes(pipes: tuple[int, int, int, int]) -> None:
    client_out, source, target, client_in = pipes
    guests = Guestbook()
    os.write(
        client_out,
        b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n"
        b"Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
    )
    converse([guests], source, target)
    said = os.read(client_in, 65_536)
    assert said.startswith(b"220 mx.example ESMTP\r\n250-mx.example\r\n")
    assert said.endswith(GOODBYE)
    assert guests.letters[0].endswith(b"Subject: x\r\n\r\n.dot\r\n")
    assert guests.came == guests.gone
    assert os.get_blocking(source)
    assert os.get_blocking(target)


def test_plain_files(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"NOOP\r\n" * 3 + b"QUIT\r\n")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        converse([], source.fileno(), target.fileno())
    assert (tmp_path / "out").read_bytes() == (
        b"220 mx.example ESMTP\r\n" + b"250 2.0.0 Ok\r\n" * 3 + GOODBYE
    )


def test_the_end_of_input_is_the_end(pipes: tuple[int, int, int, int]) -> None:
    client_out, source, target, client_in = pipes
    guests = Guestbook()
    os.write(client_out, b"NOOP\r\nNOOP")
    os.close(client_out)
    converse([guests], source, target)
    assert os.read(client_in, 65_536) == b"220 mx.example ESMTP\r\n250 2.0.0 Ok\r\n"
    assert guests.came == guests.gone


def test_a_client_that_does_not_listen_ends_its_session(pipes: tuple[int, int, int, int]) -> None:
    _, source, target, client_in = pipes
    guests = Guestbook()
    os.close(client_in)
    converse([guests], source, target)
    assert guests.came == guests.gone


def test_what_comes_while_a_hook_waits_is_heard(pipes: tuple[int, int, int, int]) -> None:
    client_out, source, target, client_in = pipes
    os.write(client_out, b"QUIT\r\n")
    converse([Patient()], source, target)
    assert os.read(client_in, 65_536) == b"220 mx.example 6 octets too early\r\n" + GOODBYE


def test_a_client_that_goes_away_cancels_what_is_waited_for() -> None:
    endless, guests = Endless(), Guestbook()
    here, there = socket.socketpair()
    there.close()
    with here:
        converse([endless, guests], here.fileno(), here.fileno())
    assert endless.cancelled
    assert len(guests.gone) == 1


def test_time_is_limited(
    pipes: tuple[int, int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stdio, "SWEEP_INTERVAL", 0.01)
    _, source, target, client_in = pipes
    converse([], source, target, limits=Limits(command_timeout=0.02))
    assert os.read(client_in, 65_536).endswith(b"421 4.4.2 Time is over\r\n")


def test_replies_wait_for_a_slow_client_and_none_is_lost(
    tmp_path: Path,
    pipes: tuple[int, int, int, int],
) -> None:
    _, _, target, client_in = pipes
    count = 20_000
    (tmp_path / "in").write_bytes(b"NOOP\r\n" * count + b"QUIT\r\n")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as out:
        slow = ["sh", "-c", "sleep 0.1; exec cat"]
        with subprocess.Popen(slow, stdin=client_in, stdout=out):
            converse([], source.fileno(), target, limits=Limits(idle_commands=count))
            os.close(target)
    assert (
        tmp_path / "out"
    ).read_bytes() == b"220 mx.example ESMTP\r\n" + b"250 2.0.0 Ok\r\n" * count + GOODBYE


def test_a_socket_is_closed_towards_the_client_first() -> None:
    guests = Guestbook()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        here, _ = server.accept()
    ends = (Endpoint(*client.getsockname()), Endpoint(*client.getpeername()))
    with here, client:
        client.sendall(b"QUIT\r\n")
        client.shutdown(socket.SHUT_WR)
        converse([guests], here.fileno(), here.fileno())
        assert client.recv(65_536) == b"220 mx.example ESMTP\r\n" + GOODBYE
    assert (guests.came[0].client, guests.came[0].server) == ends


def test_at_a_terminal_lines_end_as_they_do_there() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)  # no echo; what is typed comes as it is
    try:
        os.write(master, b"NOOP\nQUIT\r\n")
        converse([], slave, slave)
        assert os.read(master, 65_536) == b"220 mx.example ESMTP\r\n250 2.0.0 Ok\r\n" + GOODBYE
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        (
            {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "4000", "TCPLOCALIP": "192.0.2.9"},
            {"peername": ("192.0.2.1", 4000), "sockname": ("192.0.2.9", 0)},
        ),
        ({"TCPREMOTEIP": "::1", "TCPREMOTEPORT": "http"}, {"peername": ("::1", 0)}),
        ({"TCPREMOTEPORT": "4000"}, {}),
    ],
)
def test_the_environment_tells_who_the_client_is(
    environment: dict[str, str], expected: dict[str, object]
) -> None:
    here, there = socket.socketpair()
    with here, there:
        assert endpoints(environment, here.fileno()) == expected


# -- The command ----------------------------------------------------------------------------------


def run_as_inetd(directory: Path, said: bytes, *arguments: str) -> tuple[bytes, int]:
    """What a client hears whose socket is the command's standard input, output and error."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(said)
        there.shutdown(socket.SHUT_WR)
        command = [sys.executable, "-m", "gatepost", "stdio", *arguments]
        socket_of_all = here.fileno()
        ended = subprocess.run(
            command,
            stdin=socket_of_all,
            stdout=socket_of_all,
            stderr=socket_of_all,
            cwd=directory,
        )
        here.close()
        heard = b""
        while piece := there.recv(65_536):
            heard += piece
        return heard, ended.returncode


def test_a_client_of_inetd_hears_nothing_but_smtp(
    tmp_path: Path, configure: Callable[[str], None]
) -> None:
    configure("")
    assert run_as_inetd(tmp_path, b"QUIT\r\n") == (b"220 mx.example ESMTP\r\n" + GOODBYE, 0)


@pytest.mark.parametrize("arguments", [["-c", "nowhere.toml"], ["--listener", "nowhere"]])
def test_it_hears_nothing_of_what_is_wrong_with_the_configuration(
    arguments: list[str], tmp_path: Path, configure: Callable[[str], None]
) -> None:
    configure("")
    heard = run_as_inetd(tmp_path, b"", *arguments)
    assert heard == (b"421 4.3.0 The server is not ready\r\n", 1)


def test_it_hears_nothing_of_what_is_wrong_with_the_log(
    tmp_path: Path, configure: Callable[[str], None]
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    configure('[log]\ntarget = "/dev/full"\n[[plugin]]\nuse = "broken"\n')
    assert run_as_inetd(tmp_path, b"") == (b"421 4.3.0 The server is not ready\r\n", 1)


def test_beside_pipes_it_logs_to_standard_error(
    tmp_path: Path, configure: Callable[[str], None]
) -> None:
    configure("")
    command = [sys.executable, "-m", "gatepost", "stdio"]
    environment = {**os.environ, "TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "4000"}
    ended = subprocess.run(
        command, input=b"QUIT\r\n", capture_output=True, cwd=tmp_path, env=environment
    )
    assert ended.stdout == b"220 mx.example ESMTP\r\n" + GOODBYE
    assert b" connected from 192.0.2.1:4000 to smtp\n" in ended.stderr
