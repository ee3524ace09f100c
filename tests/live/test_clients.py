"""`gatepost serve` as a process, and the mail clients of the world: what they send arrives."""

from __future__ import annotations

import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

CONFIGURATION = """
hostname = "mx.example"
plugin_directories = ["."]

[[listen]]
name = "mx"
address = "127.0.0.1:{port}"

[[plugin]]
use = "domains"
domains = ["example.org"]

[[plugin]]
use = "maildir"
path = "mail/{{local}}"
"""
BROKEN = """
from gatepost import Plugin, Site

class Broken(Plugin):
    async def startup(self, site: Site) -> None:
        raise ValueError("no licence")
"""
#: What the server puts on top of a message.
TRACE = re.compile(
    rb"(?:(?:Return-Path|Delivered-To|Received|Authentication-Results): "
    rb"[^\r]*\r\n(?:[ \t][^\r]*\r\n)*)+"
)
HEAD = b"From: anne@client.example\r\nSubject: test\r\n\r\n"
LETTERS = {
    "plain": HEAD + b"How are you?\r\n",
    "dots": HEAD + b".\r\n..\r\n.one\r\n...three\r\n. \r\n\r\nend.\r\n",
    "998 octets": HEAD + b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n",
    "8-bit": HEAD + "Grüße, 你好\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "empty body": HEAD,
    "no final newline": HEAD + b"first\r\nlast",
    "25 MB": HEAD + (b"0123456789" * 7 + b"\r\n") * 364_089,
}


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    directory: Path
    port: int

    def arrived(self, local: str) -> bytes:
        """The only message of a mailbox, as it was before the server put its fields on top."""
        (file,) = (self.directory / "mail" / local / "new").iterdir()
        octets = file.read_bytes()
        file.unlink()
        trace = TRACE.match(octets)
        assert trace, octets[:200]
        return octets[trace.end() :]

    def connect(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, "client.example")


def command(directory: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "gatepost", "serve", *options]


def configure(directory: Path, *, port: int = 0, more: str = "") -> None:
    (directory / "gatepost.toml").write_text(CONFIGURATION.format(port=port) + more)


@contextmanager
def serving(directory: Path, *options: str) -> Iterator[Server]:
    """A server with the configuration of a directory; it is stopped afterwards."""
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(
            command(directory, *options),
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            yield Server(process, directory, _port(process.stdout))
        finally:
            process.kill()


def _port(lines: IO[str]) -> int:
    for line in lines:
        if match := re.fullmatch(r"Listening on 127\.0\.0\.1:(\d+) \(mx, smtp\)\n", line):
            return int(match[1])
    raise AssertionError("the server did not say where it listens")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    configure(directory)
    with serving(directory, "--quiet") as running:
        yield running


# -- Clients: each sends a letter, and says which octets that makes -------------------------------


def _whole(letter: bytes) -> bytes:
    return letter if letter.endswith(b"\r\n") else letter + b"\r\n"


def _smtplib(port: int, recipient: str, letter: bytes, _: Path) -> bytes:
    with smtplib.SMTP("127.0.0.1", port, "client.example") as client:
        assert client.sendmail("anne@client.example", [recipient], letter) == {}
    return _whole(letter)


def _run(*command: str | Path, stdin: Path | None = None) -> None:
    name = str(command[0])
    program = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin")
    if program is None:
        pytest.skip(f"{name} is not installed")
    with (stdin or Path("/dev/null")).open("rb") as file:
        ended = subprocess.run([program, *command[1:]], stdin=file, capture_output=True)
    assert ended.returncode == 0, ended.stdout[-1000:] + ended.stderr[-1000:]


def _swaks(port: int, recipient: str, letter: bytes, file: Path) -> bytes:
    file.write_bytes(letter.rstrip().replace(b"\r\n", b"\n"))  # it ends the last line itself
    _run("swaks", "--silent", "2", "--server", "127.0.0.1", "--port", str(port), "--helo",
         "client.example", "--from", "anne@client.example", "--to", recipient,
         "--data", f"@{file}")  # fmt: skip
    # Behind a header that has no body it puts one more empty line.
    return letter + b"\r\n" if letter == HEAD else _whole(letter)


def _curl(port: int, recipient: str, letter: bytes, file: Path) -> bytes:
    file.write_bytes(letter)
    _run("curl", "--disable", "--silent", "--show-error", "--url", f"smtp://127.0.0.1:{port}/client.example",
         "--mail-from", "anne@client.example", "--mail-rcpt", recipient,
         "--upload-file", file)  # fmt: skip
    return _whole(letter)


def _msmtp(port: int, recipient: str, letter: bytes, file: Path) -> bytes:
    file.write_bytes(letter.replace(b"\r\n", b"\n"))
    _run("msmtp", "--host=127.0.0.1", f"--port={port}", "--domain=client.example", "--auth=off",
         "--tls=off", "--from=anne@client.example", "--set-date-header=off",
         "--set-msgid-header=off", "--set-from-header=off", "--", recipient,
         stdin=file)  # fmt: skip
    return _whole(letter)


def _smtp_source(port: int, recipient: str, letter: bytes, file: Path) -> bytes:
    file.write_bytes(letter.replace(b"\r\n", b"\n"))
    _run("smtp-source", "-M", "client.example", "-f", "anne@client.example", "-t", recipient,
         "-F", file, f"127.0.0.1:{port}")  # fmt: skip
    return _whole(letter) + b"\r\n"  # it puts an empty line before the dot


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("send", [_smtplib, _swaks, _curl, _msmtp, _smtp_source])
def test_a_letter_arrives_as_it_was_sent(
    send: Callable[[int, str, bytes, Path], bytes], letter: str, server: Server, tmp_path: Path
) -> None:
    local = f"{send.__name__}-{letter}".replace(" ", "-").strip("_").lower()
    sent = send(server.port, f"{local}@example.org", LETTERS[letter], tmp_path / "letter")
    # The difference of two letters of 25 MB is not to be shown.
    is_same = server.arrived(local) == sent
    (tmp_path / "letter").unlink(missing_ok=True)
    assert is_same


# -- Coming and going -----------------------------------------------------------------------------


def _refused(directory: Path, *options: str) -> str:
    """What a server says that does not start."""
    ended = subprocess.run(
        command(directory, *options), cwd=directory, capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


def test_the_command_line_that_it_shows_sends_a_mail(tmp_path: Path) -> None:
    configure(tmp_path)
    with serving(tmp_path) as server:
        assert server.process.stdout
        shown = [server.process.stdout.readline().strip() for _ in range(3)]
        assert shown[:2] == ["Mail goes to mail/{local}", "Send a first mail with"]
        subprocess.run(["sh", "-c", shown[2]], check=True)
        assert server.arrived("bob") == b"Subject: Hello\r\n\r\nHow are you?\r\n"
    log = (tmp_path / "log").read_text()
    told = [line for line in log.splitlines() if "it runs as root" not in line]
    assert all(re.match(r"\d\d:\d\d:\d\d [a-z0-9]{12}", line) for line in told)
    for words in ("connected from 127.0.0.1:", "rcpt: domains accepts", "250 2.0.0 Queued as"):
        assert words in log


def test_a_client_cannot_forge_a_line_of_the_log(tmp_path: Path) -> None:
    configure(tmp_path)
    with serving(tmp_path) as server:
        with server.connect() as client:
            client.docmd("EHLO \x1b[31mred\x0bforged")
            client.docmd("MAIL FROM:<\x1b[2J@a.example>")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait() == 0
    assert "\x1b" not in (tmp_path / "log").read_text()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        configure(tmp_path, port=port)
        assert _refused(tmp_path) == (
            f"cannot listen on 127.0.0.1:{port} (listener 'mx'): "
            "another program listens there; stop it, or write another address\n"
        )


def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    listen = '[[listen]]\nname = "other"\naddress = "192.0.2.1:2525"\n'
    configure(tmp_path, more=listen)
    assert (
        "cannot listen on 192.0.2.1:2525 (listener 'other'): this machine has no such address"
        in (_refused(tmp_path))
    )


def test_a_bad_configuration_is_told_line_by_line(tmp_path: Path) -> None:
    configure(tmp_path, more='[[plugin]]\nuse = "dommains"\n[limits]\nrecipient = 5\n')
    complaints = _refused(tmp_path).splitlines()
    assert len(complaints) == 2
    assert re.fullmatch(r".*:\d+: .*did you mean 'domains'\?", complaints[0])
    assert re.fullmatch(r".*:\d+: .*did you mean 'recipients'\?", complaints[1])


def test_a_plugin_that_cannot_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    configure(tmp_path, more='[[plugin]]\nuse = "broken"\n')
    assert _refused(tmp_path) == "broken failed on startup: ValueError: no licence\n"


def nobody_is_let_in(server: Server) -> None:
    """Wait until connections are refused; until then, who is greeted is sent away at once."""
    for _ in range(1000):
        with socket.socket() as client:
            client.settimeout(10)
            if client.connect_ex(("127.0.0.1", server.port)):
                return
            with suppress(ConnectionResetError):  # nobody has taken it in
                heard = client.makefile("rb").read()
                assert not heard or b"421 4.3.2" in heard
    raise AssertionError("the server goes on to listen")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_message_under_way_may_be_finished(number: signal.Signals, tmp_path: Path) -> None:
    configure(tmp_path)
    with (
        serving(tmp_path, "--quiet") as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        client.ehlo()
        client.mail("anne@client.example")
        client.rcpt("bob@example.org")
        assert client.docmd("DATA")[0] == 354
        server.process.send_signal(number)
        assert idle.getreply()[0] == 421
        idle.close()
        nobody_is_let_in(server)
        client.send(b"Subject: late\r\n\r\nbut here\r\n.\r\n")
        assert client.getreply()[0] == 250
        assert client.getreply()[0] == 421
        client.close()
        assert server.process.wait() == 0
        assert server.arrived("bob") == b"Subject: late\r\n\r\nbut here\r\n"


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    configure(tmp_path)
    with (
        serving(tmp_path, "--quiet") as server,
        server.connect() as client,
        server.connect() as idle,
    ):
        client.ehlo()
        client.mail("anne@client.example")
        client.rcpt("bob@example.org")
        assert client.docmd("DATA")[0] == 354
        server.process.send_signal(signal.SIGTERM)
        assert idle.getreply()[0] == 421
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait() == 0
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            client.getreply()
