"""Our client against Postfix's smtp-sink, a next hop that can be told to misbehave."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from gatepost.address import Address
from gatepost.client import Client, Destination, NextHops, Outcome, Stage, Timeouts
from gatepost.message import Message
from tests.ports import free_port

SMTP_SINK = shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
pytestmark = pytest.mark.skipif(
    SMTP_SINK is None, reason="smtp-sink is not installed (Debian: postfix)"
)

ANNE = Address("anne", "a.example")
BOB = Address("bob", "b.example")
CARL = Address("carl", "b.example")
LETTER = (
    b"Subject: dots\r\n\r\n.one\r\n..two\r\n.\r\n" + b"x" * 998 + b"\r\nna\xc3\xafve\r\nend\r\n"
)
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@contextmanager
def smtp_sink(*options: str, at: str) -> Iterator[None]:
    """A running smtp-sink that listens at `inet:host:port` or `unix:path`."""
    command = [str(SMTP_SINK), "-u", "root", *options, at, "100"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _await_listener(process, at)
            yield
        finally:
            process.terminate()


def _await_listener(process: subprocess.Popen[bytes], at: str) -> None:
    while process.poll() is None:
        kind, _, where = at.partition(":")
        unix = kind == "unix"
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
            host, _, port = where.rpartition(":")
            if probe.connect_ex(where if unix else (host, int(port))) == 0:
                return
    assert process.stderr
    pytest.skip(f"smtp-sink does not start: {process.stderr.read().decode()}")


@pytest.fixture
def port() -> int:
    return free_port()


def send(
    destination: Destination,
    *recipients: Address,
    on: Callable[[], asyncio.AbstractEventLoop] = LOOPS[0],
) -> Outcome:
    async def scenario() -> Outcome:
        timeouts = Timeouts(mail=5, rcpt=5, data=5, end_of_data=5, quit=1)
        async with Client(destination, hostname="client.example", timeouts=timeouts) as client:
            return await client.send(ANNE, recipients or (BOB,), Message.parse(LETTER))

    with asyncio.Runner(loop_factory=on) as runner:
        return runner.run(scenario())


def kept(directory: Path) -> bytes:
    """The only message that smtp-sink has dumped, without the fields it has put on top."""
    (file,) = directory.iterdir()
    text = re.sub(rb"\AX-.*?\nReceived: .*?\n(?=\S)", b"", file.read_bytes(), flags=re.DOTALL)
    return text.removesuffix(b"\n").replace(b"\n", b"\r\n")  # it stores lines as Unix does


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("options", [(), ("-p",), ("-E",), ("-N", "-F", "-C", "-a")])
def test_a_message_arrives_as_it_is(
    options: tuple[str, ...],
    port: int,
    tmp_path: Path,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with smtp_sink(*options, "-d", f"{tmp_path}/m.", at=f"inet:127.0.0.1:{port}"):
        outcome = send(Destination("127.0.0.1", port), BOB, CARL, on=loop)
    assert outcome.delivered
    assert kept(tmp_path) == LETTER


@pytest.mark.parametrize("options", [("-8",), ("-e",), ("-P",)])
def test_an_8_bit_message_does_not_go_to_a_7_bit_server(
    options: tuple[str, ...], port: int, tmp_path: Path
) -> None:
    with smtp_sink(*options, "-d", f"{tmp_path}/m.", at=f"inet:127.0.0.1:{port}"):
        outcome = send(Destination("127.0.0.1", port))
    assert str(outcome.replies[0]).startswith("554 5.6.3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("-p",)])
def test_lmtp_over_a_unix_socket(options: tuple[str, ...], tmp_path: Path) -> None:
    dumped = tmp_path / "dumped"
    dumped.mkdir()
    path = tmp_path / "lmtp"
    with smtp_sink("-L", *options, "-d", f"{dumped}/m.", at=f"unix:{path}"):
        outcome = send(Destination.parse(f"lmtp:unix:{path}"), BOB, CARL)
    assert [reply.code for reply in outcome.replies] == [250, 250]
    assert kept(dumped) == LETTER


@pytest.mark.parametrize(
    ("options", "code", "stage"),
    [
        ("-f CONNECT", 500, Stage.BANNER),
        ("-r CONNECT", 450, Stage.BANNER),
        ("-q CONNECT", 451, Stage.BANNER),
        ("-Q CONNECT", 421, Stage.BANNER),
        ("-f EHLO,HELO", 500, Stage.HELO),
        ("-r EHLO", 450, Stage.EHLO),
        ("-q EHLO", 451, Stage.EHLO),
        ("-f MAIL", 500, Stage.MAIL),
        ("-r MAIL", 450, Stage.MAIL),
        ("-q MAIL", 451, Stage.MAIL),
        ("-Q MAIL", 421, Stage.MAIL),
        ("-f RCPT", 500, Stage.RCPT),
        ("-r RCPT", 450, Stage.RCPT),
        ("-q RCPT", 451, Stage.RCPT),
        ("-f DATA", 500, Stage.DATA),
        ("-q DATA", 451, Stage.DATA),
        ("-Q DATA", 421, Stage.DATA),
        ("-f .", 500, Stage.END_OF_DATA),
        ("-r .", 450, Stage.END_OF_DATA),
        ("-q .", 451, Stage.END_OF_DATA),
        ("-Q .", 421, Stage.END_OF_DATA),
    ],
)
def test_a_refusal_at_any_step_is_passed_back(
    options: str, code: int, stage: Stage, port: int
) -> None:
    with smtp_sink(*options.split(), at=f"inet:127.0.0.1:{port}"):
        outcome = send(Destination("127.0.0.1", port), BOB, CARL)
    assert [reply.code for reply in outcome.replies] == [code, code]
    assert outcome.stage is stage


def test_a_server_that_breaks_off_after_354_is_no_success(port: int) -> None:
    with smtp_sink("-A", "0", at=f"inet:127.0.0.1:{port}"):
        outcome = send(Destination("127.0.0.1", port))
    # It closes with octets unread, which makes the kernel forget its 550 more often than not.
    assert outcome.replies[0].code in (550, 451)
    assert outcome.stage is Stage.END_OF_DATA


def test_many_messages_share_few_connections(port: int) -> None:
    async def scenario() -> list[Outcome]:
        connections = NextHops(hostname="client.example", most=4)
        destination = Destination("127.0.0.1", port)
        message = Message.parse(LETTER)
        outcomes = await asyncio.gather(
            *(connections.send([destination], ANNE, [BOB], message) for _ in range(200))
        )
        await connections.close()
        return list(outcomes)

    with smtp_sink("-m", "4", at=f"inet:127.0.0.1:{port}"):
        assert all(outcome.delivered for outcome in asyncio.run(scenario()))
