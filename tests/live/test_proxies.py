"""Real proxies before a gate: HAProxy and nginx; and swaks, which speaks as if it were one."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import trustme
from aiohttp import web

from gatepost import Accept, AnswerForEach, Deny, Plugin, Recipient, Session, Transaction
from gatepost.app import Gate, Listen, TlsSettings
from gatepost.protocol.proxy_header import ProxyHeader
from gatepost.session import Endpoint
from gatepost.tls import Tls

PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin"
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
#: Seconds that one test may take.
PATIENCE = 30
#: Where clients come from, as opposed to proxies: all of 127.0.0.0/8 is this machine.
CLIENT = "127.0.0.2"
LOCALHOST = "127.0.0.1"
BANNED = "203.0.113.66"
SERVER_NAME = "mx.example"

DEFAULTS = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""
UNIQUE_ID = "unique-id-format %ci:%cp"
#: All that HAProxy 2.6 can tell.
EVERYTHING = (
    "send-proxy-v2 proxy-v2-options "
    "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
)
NGINX = """
load_module {module};
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/log info;
events {{ worker_connections 64; }}
mail {{
    server_name nginx.example;
    auth_http 127.0.0.1:{auth}/;
    proxy on;
    {options}
    smtp_capabilities PIPELINING 8BITMIME "SIZE 1000000";
    server {{ listen 127.0.0.1:{port}; protocol smtp; }}
}}
"""


def program(name: str) -> str:
    """Where a program is; the test is skipped if it is nowhere."""
    found = shutil.which(name, path=PROGRAMS)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE))


def listening(host: str = LOCALHOST) -> socket.socket:
    """A socket that a proxy inherits: its port is known, and nobody has to wait for the proxy."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")


# -- The gate -------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a session was like when its message came, and the fields on top of that."""

    client: Endpoint
    server: Endpoint
    proxy: ProxyHeader | None
    tls: Tls | None
    client_name: str
    hello: str
    user: str
    received: str


@dataclass
class Witness(Plugin):
    """Takes every message, and writes down whom it is from."""

    seen: list[Seen] = field(default_factory=list)
    connected: asyncio.Queue[tuple[Endpoint, ProxyHeader | None]] = field(
        default_factory=asyncio.Queue
    )

    def connect(self, session: Session) -> Deny | None:
        self.connected.put_nowait((session.client, session.proxy))
        return Deny("Not you again") if session.client.host == BANNED else None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        session = transaction.session
        self.seen.append(
            Seen(
                session.client,
                session.server,
                session.proxy,
                session.tls,
                session.client_name,
                session.hello,
                session.user,
                " ".join(str(transaction.message.headers.get("Received")).split()),
            )
        )
        return Accept()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    """A PEM file for `mx.example`."""
    file = tmp_path / "server.pem"
    authority.issue_cert(SERVER_NAME).private_key_and_cert_chain_pem.write_to_path(file)
    return file


def gate_of(witness: Witness, *listen: Listen, certificate: Path | None = None) -> Gate:
    tls = TlsSettings(certificate) if certificate else None
    return Gate([witness], listen=listen, hostname="gate.example", tls=tls)


# -- Clients --------------------------------------------------------------------------------------


@dataclass
class Client:
    """Somebody who sends mail."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def of(
        cls, port: int, *, host: str = LOCALHOST, tls: ssl.SSLContext | None = None
    ) -> Client:
        """Connect, from an address that no proxy has."""
        source = (CLIENT, 0) if host == LOCALHOST else None
        name = SERVER_NAME if tls else None
        return cls(
            *await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=name, local_addr=source
            )
        )

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(*self.writer.get_extra_info("sockname")[:2])

    async def hear(self, code: str) -> None:
        """The whole of a reply, which has to have this code."""
        line = "-"
        while line[3:4] == "-" or line == "-":
            line = (await self.reader.readline()).decode()
            assert line.startswith(code), line

    async def say(self, command: str, code: str) -> None:
        self.writer.write(command.encode() + b"\r\n")
        await self.hear(code)

    async def send(self, *, login: str = "", tls: ssl.SSLContext | None = None) -> None:
        """Send a message, and say goodbye; on the way STARTTLS and AUTH where that is wanted."""
        await self.hear("220")
        await self.say("EHLO client.example", "250")
        if tls:
            await self.say("STARTTLS", "220")
            await self.writer.start_tls(tls, server_hostname=SERVER_NAME)
            await self.say("EHLO client.example", "250")
        if login:
            response = b64encode(f"\0{login}\0secret".encode()).decode()
            await self.say(f"AUTH PLAIN {response}", "235")
        await self.say("MAIL FROM:<anne@client.example>", "250")
        await self.say("RCPT TO:<bob@example.org>", "250")
        await self.say("DATA", "354")
        await self.say("Subject: Hello\r\n\r\nHow are you?\r\n.", "250")
        await self.say("QUIT", "221")
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def swaks(port: int, *options: str) -> tuple[int, str]:
    """The exit status and the transcript of one mail."""
    process = await create_subprocess_exec(
        program("swaks"), "--server", LOCALHOST, "--port", str(port), "--local-interface", CLIENT,
        "--helo", "swaks.example", "--from", "anne@client.example", "--to", "bob@example.org",
        *options, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


# -- HAProxy --------------------------------------------------------------------------------------


@asynccontextmanager
async def running(
    *command: str | Path, front: socket.socket, environment: dict[str, str] | None = None
) -> AsyncIterator[None]:
    """A proxy that has inherited a socket."""
    process = await create_subprocess_exec(
        *command, pass_fds=(front.fileno(),), env=environment, stdin=DEVNULL
    )
    try:
        yield
        assert process.returncode is None, "the proxy has ended by itself"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def haproxy(
    directory: Path, server: str, *, front: socket.socket | None = None, bind: str = ""
) -> AsyncIterator[int | str]:
    """HAProxy before a server; where it listens."""
    with front or listening() as front:
        file = directory / "haproxy.cfg"
        file.write_text(HAPROXY.format(front=front.fileno(), bind=bind, server=server))
        async with running(program("haproxy"), "-q", "-db", "-f", file, front=front):
            yield front


def behind(options: str, gate: Gate) -> str:
    return f"{LOCALHOST}:{gate.port} {options}"


@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
@pytest.mark.parametrize(
    ("options", "version"), [("send-proxy", 1), ("send-proxy-v2", 2), (EVERYTHING, 2)]
)
def test_haproxy_tells_who_the_client_is(
    options: str,
    version: int,
    tls: Literal["off", "starttls", "implicit"],
    authority: trustme.CA,
    certificate: Path,
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        witness = Witness()
        listen = Listen(f"{LOCALHOST}:0", tls=tls, proxy_protocol_from=(LOCALHOST,))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        async with (
            gate_of(witness, listen, certificate=certificate) as gate,
            haproxy(tmp_path, behind(options, gate)) as port,
        ):
            client = await Client.of(port, tls=context if tls == "implicit" else None)
            endpoint = client.endpoint
            await client.send(tls=context if tls == "starttls" else None)
        (seen,) = witness.seen
        assert seen.client == endpoint
        assert seen.server == (LOCALHOST, port)
        assert seen.proxy is not None
        assert seen.proxy.version == version
        assert (seen.proxy.source, seen.proxy.destination) == (seen.client, seen.server)
        expected = f"{CLIENT}:{endpoint.port}".encode() if options == EVERYTHING else b""
        assert seen.proxy.unique_id == expected
        assert seen.received.startswith(f"from client.example ([{CLIENT}]) by gate.example")
        assert (seen.tls is not None) is (tls != "off")
        if seen.tls is not None:
            assert seen.tls.server_name == SERVER_NAME

    run(scenario())


@pytest.mark.parametrize("with_certificate", [True, False])
def test_haproxy_tells_of_the_tls_that_it_has_ended(
    with_certificate: bool, authority: trustme.CA, certificate: Path, tmp_path: Path
) -> None:
    async def scenario() -> None:
        witness = Witness()
        listen = Listen(f"{LOCALHOST}:0", proxy_protocol_from=(LOCALHOST,))
        context = ssl.create_default_context()
        context.set_alpn_protocols(["smtp"])
        authority.configure_trust(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        if with_certificate:
            authority.issue_cert("anne@client.example", common_name="Änne").configure_cert(context)
        bind = f"ssl crt {certificate} alpn smtp verify optional ca-file {tmp_path}/ca.pem"
        async with (
            gate_of(witness, listen) as gate,
            haproxy(tmp_path, behind(EVERYTHING, gate), bind=bind) as port,
        ):
            client = await Client.of(port, tls=context)
            cipher = client.writer.get_extra_info("cipher")
            await client.send()
        (seen,) = witness.seen
        assert seen.proxy is not None
        assert seen.proxy.tls is not None
        assert (seen.proxy.authority, seen.proxy.alpn) == (SERVER_NAME, b"smtp")
        assert (seen.proxy.tls.cipher, seen.proxy.tls.version) == cipher[:2]
        assert seen.proxy.tls.encrypted
        assert seen.proxy.tls.verified is with_certificate
        assert seen.proxy.tls.common_name == ("Änne" if with_certificate else "")
        assert seen.proxy.tls.key_algorithm == "EC256"
        assert seen.proxy.tls.signature_algorithm == "ecdsa-with-SHA256"
        assert seen.tls == Tls(cipher[1], cipher[0], server_name=SERVER_NAME)
        assert " with ESMTPS " in seen.received

    run(scenario())


@pytest.mark.parametrize("options", ["send-proxy", EVERYTHING])
@pytest.mark.parametrize(
    ("front", "host", "client_host"), [("::1", "::1", "::1"), ("::", LOCALHOST, CLIENT)]
)
def test_haproxy_on_ipv6(
    options: str, front: str, host: str, client_host: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        witness = Witness()
        listen = Listen(f"{LOCALHOST}:0", proxy_protocol_from=(LOCALHOST,))
        async with (
            gate_of(witness, listen) as gate,
            haproxy(tmp_path, behind(options, gate), host=front) as port,
        ):
            client = await Client.of(port, host=host)
            endpoint = client.endpoint
            await client.send()
        (seen,) = witness.seen
        assert endpoint.host == client_host
        assert seen.client == endpoint
        assert seen.server == (host, port)

    run(scenario())


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2", EVERYTHING])
def test_haproxy_cannot_tell_who_is_on_a_unix_socket(options: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        witness = Witness()
        listen = Listen(f"{LOCALHOST}:0", proxy_protocol_from=(LOCALHOST,))
        path = tmp_path / "front"
        with socket.socket(socket.AF_UNIX) as front:
            front.bind(str(path))
            front.listen()
            more = f"bind fd@{front.fileno()}"
            (tmp_path / "haproxy.cfg").write_text("")
            async with gate_of(witness, listen) as gate:
                config = (
                    f"{DEFAULTS}\nlisten mail\n    {more}\n    {UNIQUE_ID}\n"
                    f"    server gate {behind(options, gate)}\n"
                )
                (tmp_path / "haproxy.cfg").write_text(config)
                command = [program("haproxy"), "-q", "-db", "-f", tmp_path / "haproxy.cfg"]
                async with process_of(*command, pass_fds=(front.fileno(),)):
                    await Client(*await asyncio.open_unix_connection(path)).send()
        (seen,) = witness.seen
        assert seen.proxy is not None
        assert (seen.proxy.source, seen.proxy.destination) == (None, None)
        assert seen.client.host == LOCALHOST

    run(scenario())
