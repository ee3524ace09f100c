"""TlsChannel and the clients that other people wrote: `openssl s_client`, and sslscan."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Thread, Timer

import pytest
import trustme

from gatepost.server.tls_channel import TlsChannel, TlsFailure
from gatepost.tls import Tls
from gatepost.tls_context import TlsContext, new_context, read_certificate

SECONDS = 20

#: What the server learns of a connection: the TLS that it has, or why it has none.
Learnt = Tls | str


@dataclass
class Server:
    """Takes one client after the other, and hangs up when it hears QUIT."""

    context: TlsContext
    learnt: Queue[Learnt] = field(default_factory=Queue)

    def __post_init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return  # that was the end of the test
            client.settimeout(SECONDS)
            with client, suppress(OSError):
                self.converse(client, TlsChannel(self.context))

    def converse(self, client: socket.socket, channel: TlsChannel) -> None:
        was_ready = False
        heard = b""
        while not channel.ended and (octets := client.recv(65_536)):
            try:
                heard += channel.receive(octets)
            except TlsFailure as failure:
                self.learnt.put(str(failure))
            if channel.ready and not was_ready:
                was_ready = True
                self.learnt.put(channel.tls())
                channel.seal(b"220 mx.example.org\r\n")
            if b"QUIT" in heard:
                channel.close()
            client.sendall(channel.outgoing())

    def stop(self) -> None:
        """Take no more clients, and wait until the last is gone."""
        if self.thread.is_alive():
            self.socket.shutdown(socket.SHUT_RDWR)
            self.thread.join(SECONDS)
        self.socket.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    own = authority.issue_cert("mx.example.org")
    own.private_key_and_cert_chain_pem.write_to_path(str(directory / "mx.pem"))
    return directory


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    context = new_context()
    context.add(read_certificate(directory / "mx.pem"))
    server = Server(context)
    yield server
    server.stop()


def installed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def command(server: Server, directory: Path, *options: str) -> list[str]:
    return [
        installed("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}",
        "-CAfile", str(directory / "ca.pem"), "-verify_hostname", "mx.example.org",
        "-servername", "mx.example.org", *options,
    ]  # fmt: skip


def s_client(server: Server, directory: Path, *options: str) -> str:
    """What s_client tells of a connection on which it says QUIT."""
    done = subprocess.run(
        command(server, directory, "-ign_eof", *options),
        input="QUIT\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done.stdout + done.stderr


def s_client_at_terminal(
    server: Server, directory: Path, *options: str, typed: bytes, until: str
) -> str:
    """What s_client tells when a command is typed once the server has greeted it."""
    with subprocess.Popen(
        command(server, directory, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        killer = Timer(SECONDS, process.kill)
        killer.start()
        said = ""
        for line in process.stdout:
            said += line
            if "220 mx.example.org" in line:
                os.write(process.stdin.fileno(), typed)
            if until in line.lower():
                break
        killer.cancel()
        process.kill()
    return said


def test_s_client_exports_the_same_key(server: Server, directory: Path) -> None:
    """RFC 9266; the label is the one of its section 2."""
    options = ("-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32")
    said = s_client(server, directory, "-tls1_3", *options)
    tls = server.learnt.get(timeout=SECONDS)
    assert isinstance(tls, Tls)
    binding = tls.binding("tls-exporter")
    if binding is None:
        pytest.skip("this Python does not let OpenSSL be asked")
    match = re.search(r"Keying material: ([0-9A-F]{64})$", said, re.MULTILINE)
    assert match is not None
    assert binding == bytes.fromhex(match[1])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_s_client_is_content(server: Server, directory: Path, version: str) -> None:
    said = s_client(server, directory, f"-tls{version.replace('.', '_')}", "-alpn", "smtp")
    tls = server.learnt.get(timeout=SECONDS)
    assert isinstance(tls, Tls)
    assert tls.version == f"TLSv{version}"
    assert "Verify return code: 0 (ok)" in said
    assert "ALPN protocol: smtp" in said
    assert "220 mx.example.org" in said


def test_s_client_may_have_to_try_another_group(server: Server, directory: Path) -> None:
    """A HelloRetryRequest (RFC 8446, 4.1.4): there are two ClientHellos."""
    server.context.set_ecdh_curve("prime256v1")
    said = s_client(server, directory, "-tls1_3", "-groups", "X25519:P-256")
    assert isinstance(server.learnt.get(timeout=SECONDS), Tls)
    assert "Server Temp Key: ECDH, prime256v1" in said
    assert "220 mx.example.org" in said


def test_s_client_that_came_for_the_web_is_refused(server: Server, directory: Path) -> None:
    said = s_client(server, directory, "-alpn", "http/1.1")
    assert server.learnt.get(timeout=SECONDS) == "the client came for another protocol"
    assert "alert no application protocol" in said.lower()


def test_s_client_may_not_renegotiate(server: Server, directory: Path) -> None:
    said = s_client_at_terminal(
        server, directory, "-tls1_2", typed=b"R\n", until="no renegotiation"
    )
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


def test_s_client_may_change_its_keys(server: Server, directory: Path) -> None:
    said = s_client_at_terminal(server, directory, "-tls1_3", typed=b"K\n", until="keyupdate")
    assert "KEYUPDATE" in said
    assert isinstance(server.learnt.get(timeout=SECONDS), Tls)
    server.stop()
    assert server.learnt.empty()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_gets_no_ticket(server: Server, directory: Path, version: str) -> None:
    said = s_client(server, directory, version)
    assert isinstance(server.learnt.get(timeout=SECONDS), Tls)
    assert "TLS session ticket:" not in said


def test_sslscan_finds_nothing_old(server: Server) -> None:
    scan = [installed("sslscan"), "--no-colour", f"127.0.0.1:{server.port}"]
    done = subprocess.run(scan, capture_output=True, text=True, timeout=60)
    versions = dict(re.findall(r"^((?:SSL|TLS)v[\d.]+)\s+(enabled|disabled)$", done.stdout, re.M))
    assert versions == {
        "SSLv2": "disabled",
        "SSLv3": "disabled",
        "TLSv1.0": "disabled",
        "TLSv1.1": "disabled",
        "TLSv1.2": "enabled",
        "TLSv1.3": "enabled",
    }
    assert "Session renegotiation not supported" in done.stdout
    assert "Compression enabled" not in done.stdout
    assert "  vulnerable to heartbleed" not in done.stdout
