"""Real proxies before a gate: HAProxy, nginx, Postfix as a filter; and swaks, which plays one."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, create_subprocess_exec
from base64 import b64encode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import trustme
from aiohttp import web

from gatepost import Accept, AnswerForEach, Deny, Plugin, Recipient, Session, Transaction
from gatepost.app import Gate, Listen, TlsSettings
from gatepost.protocol.proxy_header import ProxyHeader
from gatepost.protocol.xclient import XForwardFacts
from gatepost.session import Endpoint
from gatepost.tls import Tls
from tests.ports import free_port

PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin"
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
POSTFIX_DAEMONS = Path("/usr/lib/postfix/sbin")
#: Seconds that one test may take.
PATIENCE = 30
LOCALHOST = "127.0.0.1"
#: Where clients come from, as opposed to proxies: all of 127.0.0.0/8 is this machine.
CLIENT = "127.0.0.2"
BANNED = "203.0.113.66"
SERVER_NAME = "mx.example"

HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen mail
    bind fd@{front} {bind}
    unique-id-format %ci:%cp
    server gate 127.0.0.1:{server}
"""
#: All that HAProxy 2.6 can tell.
EVERYTHING = (
    "send-proxy-v2 proxy-v2-options "
    "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
)
NGINX = """
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/pid;
events {{ worker_connections 64; }}
mail {{
    server_name nginx.example;
    auth_http 127.0.0.1:{auth}/;
    proxy on;
    smtp_auth {methods};
    smtp_capabilities PIPELINING 8BITMIME "SIZE 1000000";
    {options}
    server {{ listen 127.0.0.1:{port}; protocol smtp; }}
}}
"""
POSTFIX = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
daemon_directory = {daemons}
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
mynetworks = 127.0.0.0/8
default_transport = smtp:[127.0.0.1]:{gate}
smtp_send_xforward_command = yes
"""
POSTFIX_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def program(name: str, *, path: str = PROGRAMS) -> str:
    """Where a program is; the test is skipped if it is nowhere."""
    found = shutil.which(name, path=path)
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
    """What a session was like when its message came, and the field on top of that."""

    client: Endpoint
    server: Endpoint
    proxy: ProxyHeader | None
    forwarded: XForwardFacts | None
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
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def connect(self, session: Session) -> Deny | None:
        self.connected.put_nowait((session.client, session.proxy))
        return Deny("Not you again") if session.client.host == BANNED else None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        session = transaction.session
        received = " ".join(str(transaction.message.headers.get("Received")).split())
        self.seen.append(
            Seen(
                session.client,
                session.server,
                session.proxy,
                session.forwarded,
                session.tls,
                session.client_name,
                session.hello,
                session.user,
                received,
            )
        )
        self.arrived.set()
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


def gate_of(witness: Witness, *, certificate: Path | None = None, **listen: Any) -> Gate:
    return Gate(
        [witness],
        listen=Listen(f"{LOCALHOST}:0", **listen),
        hostname="gate.example",
        tls=TlsSettings(certificate) if certificate else None,
    )


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
        goes_on = True
        while goes_on:
            line = (await self.reader.readline()).decode()
            assert line.startswith(code), line
            goes_on = line[3] == "-"

    async def say(self, command: str, code: str) -> None:
        self.writer.write(command.encode() + b"\r\n")
        await self.hear(code)

    async def greet(self, *, login: str = "", tls: ssl.SSLContext | None = None) -> None:
        """Say EHLO, with STARTTLS and AUTH where that is wanted."""
        await self.hear("220")
        await self.say("EHLO client.example", "250")
        if tls:
            await self.say("STARTTLS", "220")
            await self.writer.start_tls(tls, server_hostname=SERVER_NAME)
            await self.say("EHLO client.example", "250")
        if login:
            response = b64encode(f"\0{login}\0secret".encode()).decode()
            await self.say(f"AUTH PLAIN {response}", "235")

    async def send(self) -> None:
        """Send a message, and say goodbye."""
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
        *options, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode is not None
    if b"requires Net::SSLeay" in output:
        pytest.skip("swaks has no TLS: Perl's Net::SSLeay is not installed")
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
        with suppress(ProcessLookupError):
            process.terminate()  # it takes its children along
        await process.wait()


@asynccontextmanager
async def haproxy(
    directory: Path, gate: Gate, options: str, *, front: socket.socket, bind: str = ""
) -> AsyncIterator[None]:
    """HAProxy before a gate."""
    file = directory / "haproxy.cfg"
    server = f"{gate.port} {options}"
    file.write_text(HAPROXY.format(front=front.fileno(), bind=bind, server=server))
    async with running(program("haproxy"), "-q", "-db", "-f", file, front=front):
        yield


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
    context = ssl.create_default_context()
    authority.configure_trust(context)
    witness = Witness()

    async def scenario() -> None:
        with listening() as front:
            address = Endpoint(*front.getsockname())
            async with (
                gate_of(
                    witness, certificate=certificate, tls=tls, proxy_protocol_from=(LOCALHOST,)
                ) as gate,
                haproxy(tmp_path, gate, options, front=front),
            ):
                client = await Client.of(address.port, tls=context if tls == "implicit" else None)
                endpoint = client.endpoint
                await client.greet(tls=context if tls == "starttls" else None)
                await client.send()
        (seen,) = witness.seen
        assert (seen.client, seen.server) == (endpoint, address)
        assert seen.proxy is not None
        assert seen.proxy.version == version
        assert (seen.proxy.source, seen.proxy.destination) == (endpoint, address)
        unique_id = str(endpoint).encode() if options == EVERYTHING else b""
        assert seen.proxy.unique_id == unique_id
        assert seen.received.startswith(f"from client.example ([{CLIENT}]) by gate.example")
        assert (seen.tls.server_name if seen.tls else "") == ("" if tls == "off" else SERVER_NAME)

    run(scenario())


@pytest.mark.parametrize("with_certificate", [True, False])
def test_haproxy_tells_of_the_tls_that_it_has_ended(
    with_certificate: bool, authority: trustme.CA, certificate: Path, tmp_path: Path
) -> None:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["smtp"])
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    if with_certificate:
        authority.issue_cert("anne@client.example", common_name="Änne").configure_cert(context)
    bind = f"ssl crt {certificate} alpn smtp verify optional ca-file {tmp_path}/ca.pem"
    witness = Witness()

    async def scenario() -> None:
        with listening() as front:
            async with (
                gate_of(witness, proxy_protocol_from=(LOCALHOST,)) as gate,
                haproxy(tmp_path, gate, EVERYTHING, front=front, bind=bind),
            ):
                client = await Client.of(front.getsockname()[1], tls=context)
                cipher, version, _ = client.writer.get_extra_info("cipher")
                await client.greet()
                await client.send()
        (seen,) = witness.seen
        assert seen.proxy is not None
        assert (seen.proxy.authority, seen.proxy.alpn) == (SERVER_NAME, b"smtp")
        tls = seen.proxy.tls
        assert tls is not None
        assert tls.encrypted
        assert tls.verified is with_certificate
        assert tls.common_name == ("Änne" if with_certificate else "")
        assert (tls.version, tls.cipher) == (version, cipher)
        assert (tls.key_algorithm, tls.signature_algorithm) == ("EC256", "ecdsa-with-SHA256")
        assert seen.tls == Tls(version, cipher, server_name=SERVER_NAME)
        assert " with ESMTPS " in seen.received

    run(scenario())


@pytest.mark.parametrize("options", ["send-proxy", EVERYTHING])
@pytest.mark.parametrize(
    ("bound", "host", "client_host"), [("::1", "::1", "::1"), ("::", LOCALHOST, CLIENT)]
)
def test_haproxy_on_ipv6(
    options: str, bound: str, host: str, client_host: str, tmp_path: Path
) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    witness = Witness()

    async def scenario() -> None:
        with listening(bound) as front:
            port = front.getsockname()[1]
            async with (
                gate_of(witness, proxy_protocol_from=(LOCALHOST,)) as gate,
                haproxy(tmp_path, gate, options, front=front),
            ):
                client = await Client.of(port, host=host)
                endpoint = client.endpoint
                await client.greet()
                await client.send()
        (seen,) = witness.seen
        assert endpoint.host == client_host
        assert (seen.client, seen.server) == (endpoint, (host, port))

    run(scenario())


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ("send-proxy", ProxyHeader(1)),
        ("send-proxy-v2", ProxyHeader(2, local=True)),
        (EVERYTHING, ProxyHeader(2, local=True)),
    ],
)
def test_haproxy_cannot_tell_who_is_on_a_unix_socket(
    options: str, header: ProxyHeader, tmp_path: Path
) -> None:
    witness = Witness()

    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as front:
            front.bind(str(tmp_path / "front"))
            front.listen()
            async with (
                gate_of(witness, proxy_protocol_from=(LOCALHOST,)) as gate,
                haproxy(tmp_path, gate, options, front=front),
            ):
                client = Client(*await asyncio.open_unix_connection(tmp_path / "front"))
                await client.greet()
                await client.send()
        (seen,) = witness.seen
        assert seen.proxy == header
        assert seen.client.host == "unknown"

    run(scenario())


def test_haproxy_looks_after_our_health(tmp_path: Path) -> None:
    async def scenario() -> None:
        witness = Witness()
        with listening() as front:
            async with (
                gate_of(witness, proxy_protocol_from=(LOCALHOST,)) as gate,
                haproxy(tmp_path, gate, f"{EVERYTHING} check inter 100ms", front=front),
            ):
                client, header = await witness.connected.get()
        assert header == ProxyHeader(2, local=True)
        assert client.host == "unknown"

    run(scenario())


@pytest.mark.parametrize("tls", ["off", "implicit"])
@pytest.mark.parametrize(
    ("options", "trusted"),
    [("", LOCALHOST), ("send-proxy", "192.0.2.1"), ("send-proxy-v2", "192.0.2.1")],
)
def test_without_a_header_or_from_elsewhere_nobody_gets_a_banner(
    options: str,
    trusted: str,
    tls: Literal["off", "implicit"],
    certificate: Path,
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        witness = Witness()
        gate = gate_of(witness, certificate=certificate, tls=tls, proxy_protocol_from=(trusted,))
        with listening() as front:
            async with gate, haproxy(tmp_path, gate, options, front=front):
                client = await Client.of(front.getsockname()[1])
                client.writer.write(b"EHLO client.example\r\n")
                assert await client.reader.read() == b""
                await client.close()
        assert witness.connected.empty()

    run(scenario())


# -- swaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "family", "source", "destination"),
    [
        ("1", "TCP4", "192.0.2.1", "198.51.100.1"),
        ("1", "TCP6", "2001:db8::1", "2001:db8::25"),
        ("2", "AF_INET", "192.0.2.1", "198.51.100.1"),
        ("2", "AF_INET6", "2001:db8::1", "2001:db8::25"),
    ],
)
def test_swaks_says_that_it_is_a_proxy(
    version: str, family: str, source: str, destination: str
) -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness, proxy_protocol_from=(CLIENT,)) as gate:
            status, output = await swaks(
                gate.port, "--proxy-version", version, "--proxy-family", family,
                "--proxy-source", source, "--proxy-source-port", "49152",
                "--proxy-dest", destination, "--proxy-dest-port", "25",
            )  # fmt: skip
        assert status == 0, output
        (seen,) = witness.seen
        assert (seen.client, seen.server) == ((source, 49152), (destination, 25))

    run(scenario())


@pytest.mark.parametrize(
    "header", ["TCP4 192.0.2.256 198.51.100.1 1 25", "TCP4 192.0.2.1", "UDP4", " TCP4"]
)
def test_swaks_is_a_bad_proxy(header: str) -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness, proxy_protocol_from=(CLIENT,)) as gate:
            status, output = await swaks(gate.port, "--proxy", header)
        assert status != 0
        assert "220 " not in output
        assert witness.connected.empty()

    run(scenario())


def test_where_nobody_expects_a_proxy_its_header_is_a_bad_command() -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness) as gate:
            status, output = await swaks(gate.port, "--proxy", "TCP4 192.0.2.1 192.0.2.2 1 25")
            client, header = witness.connected.get_nowait()
        assert status != 0, output
        assert "500 " in output
        assert (client.host, header) == (CLIENT, None)

    run(scenario())


XCLIENT = (
    "--xclient-name", "client.example", "--xclient-addr", "192.0.2.1", "--xclient-port", "49152",
    "--xclient-proto", "SMTP", "--xclient-helo", "hello.example", "--xclient-login", "anne+x=y",
    "--xclient-destaddr", "IPV6:2001:db8::25", "--xclient-destport", "587",
)  # fmt: skip


@pytest.mark.parametrize("options", [(), ("-tls",), ("-tls", "--xclient-before-starttls")])
def test_swaks_sends_everything_that_xclient_can_say(
    options: tuple[str, ...], certificate: Path
) -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(
            witness, certificate=certificate, tls="starttls", xclient_from=(CLIENT,)
        ) as gate:
            status, output = await swaks(gate.port, *XCLIENT, *options)
        assert status == 0, output
        (seen,) = witness.seen
        assert seen.client == ("192.0.2.1", 49152)
        assert seen.server == ("2001:db8::25", 587)
        assert (seen.client_name, seen.user) == ("client.example", "anne+x=y")
        assert seen.hello == "swaks.example"  # it greets anew
        assert seen.received.startswith("from swaks.example (client.example [192.0.2.1]) by")
        assert (seen.tls is not None) is (options != ())

    run(scenario())


def test_what_is_told_over_tls_ends_no_tls(authority: trustme.CA, certificate: Path) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def scenario() -> None:
        witness = Witness()
        async with gate_of(
            witness, certificate=certificate, tls="starttls", xclient_from=(CLIENT,)
        ) as gate:
            client = await Client.of(gate.port)
            await client.greet(tls=context)
            await client.say("XCLIENT ADDR=192.0.2.1 NAME=[TEMPUNAVAIL]", "220")
            await client.say("EHLO client.example", "250")
            await client.say("STARTTLS", "503")
            await client.send()
        (seen,) = witness.seen
        assert (seen.client.host, seen.client_name) == ("192.0.2.1", "")
        assert seen.tls is not None
        assert " with ESMTPS " in seen.received

    run(scenario())


def test_swaks_says_with_two_commands_what_belongs_together() -> None:
    """XCLIENT_README, note 1: what is too long for one command goes into several."""

    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness, xclient_from=(CLIENT,)) as gate:
            status, output = await swaks(
                gate.port, "--xclient-name", "client.example", "--xclient-addr", "192.0.2.1",
                "--xclient-delim", "--xclient-port", "49152", "--xclient-login", "anne",
            )  # fmt: skip
        assert status == 0, output
        (seen,) = witness.seen
        assert seen.client == ("192.0.2.1", 49152)
        assert (seen.client_name, seen.user) == ("client.example", "anne")

    run(scenario())


def test_a_new_identity_is_asked_about_anew() -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness, xclient_from=(CLIENT,)) as gate:
            status, output = await swaks(gate.port, "--xclient-addr", BANNED)
            hosts = [witness.connected.get_nowait()[0].host for _ in range(2)]
        assert status != 0
        assert "Not you again" in output
        assert hosts == [CLIENT, BANNED]
        assert witness.seen == []

    run(scenario())


@pytest.mark.parametrize(
    "attributes", ["ADDR=mx.example", "NAME=a NAME=b", "FOO=bar", "NAME", "PROTO=LMTP", "HELO=+0A"]
)
def test_swaks_sends_what_cannot_be(attributes: str) -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness, xclient_from=(CLIENT,)) as gate:
            status, output = await swaks(gate.port, "--xclient", attributes)
        assert status != 0
        assert "501 5.5.4" in output
        assert witness.seen == []

    run(scenario())


def test_swaks_is_not_believed_from_elsewhere() -> None:
    async def scenario() -> None:
        witness = Witness()
        async with gate_of(witness, xclient_from=("192.0.2.1",)) as gate:
            refused, output = await swaks(gate.port, "--xclient-addr", BANNED)
            taken, _ = await swaks(gate.port, "--xclient-addr", BANNED, "--xclient-optional")
        assert refused != 0
        assert "Host did not advertise XCLIENT" in output
        assert taken == 0
        assert [seen.client.host for seen in witness.seen] == [CLIENT]

    run(scenario())


# -- nginx ----------------------------------------------------------------------------------------


@asynccontextmanager
async def asked(gate: Gate) -> AsyncIterator[int]:
    """Whom nginx asks where to go, and whether a password is right; the port of that."""

    async def answer(request: web.Request) -> web.Response:
        headers = {"Auth-Status": "OK", "Auth-Server": LOCALHOST, "Auth-Port": str(gate.port)}
        if request.headers["Auth-Method"] != "none" and request.headers["Auth-Pass"] != "secret":
            headers = {"Auth-Status": "Invalid login or password"}
        return web.Response(headers=headers)

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOCALHOST, 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def nginx(directory: Path, gate: Gate, *, methods: str, options: str) -> AsyncIterator[int]:
    """nginx before a gate; its port."""
    command = [program("nginx"), "-c", str(directory / "nginx.conf"), "-e", str(directory / "log")]
    with listening() as front:
        port = front.getsockname()[1]
        async with asked(gate) as auth:
            (directory / "nginx.conf").write_text(
                NGINX.format(
                    module=NGINX_MODULE,
                    directory=directory,
                    auth=auth,
                    methods=methods,
                    options=options,
                    port=port,
                )
            )
            environment = os.environ | {"NGINX": f"{front.fileno()};"}
            async with running(*command, front=front, environment=environment):
                yield port


with_nginx = pytest.mark.skipif(
    not NGINX_MODULE.exists(), reason="nginx's module for mail is not where Debian has it"
)


@with_nginx
@pytest.mark.parametrize("login", ["", "anne"])
@pytest.mark.parametrize(
    "options", ["xclient on;", "xclient off; proxy_protocol on;", "xclient on; proxy_protocol on;"]
)
def test_nginx_tells_who_the_client_is(login: str, options: str, tmp_path: Path) -> None:
    methods = "plain" if login else "none"
    tells_by_xclient = "xclient on" in options
    tells_by_header = "proxy_protocol on" in options
    witness = Witness()

    async def scenario() -> None:
        gate = gate_of(
            witness,
            proxy_protocol_from=(LOCALHOST,) if tells_by_header else (),
            # Behind a header the client is whom the header names: that is who has to be trusted.
            xclient_from=(LOCALHOST, CLIENT),
        )
        async with gate, nginx(tmp_path, gate, methods=methods, options=options) as port:
            client = await Client.of(port)
            endpoint = client.endpoint
            await client.greet(login=login)
            await client.send()
        (seen,) = witness.seen
        assert seen.client.host == CLIENT
        assert (seen.client == endpoint) is tells_by_header
        assert seen.user == (login if tells_by_xclient else "")
        assert seen.client_name == ""
        assert (seen.proxy is not None) is tells_by_header
        # Where it says nothing of the client's greeting, it greets in its own name.
        assert seen.hello == ("client.example" if tells_by_xclient else "nginx.example")

    run(scenario())


@with_nginx
def test_nginx_sends_nobody_on_whose_password_is_wrong(tmp_path: Path) -> None:
    async def scenario() -> None:
        witness = Witness()
        gate = gate_of(witness, xclient_from=(LOCALHOST,))
        async with gate, nginx(tmp_path, gate, methods="plain", options="xclient on;") as port:
            client = await Client.of(port)
            await client.greet()
            response = b64encode(b"\0anne\0wrong").decode()
            await client.say(f"AUTH PLAIN {response}", "535")
            await client.close()
        assert witness.connected.empty()

    run(scenario())


# -- Postfix --------------------------------------------------------------------------------------


def configure_postfix(directory: Path, gate: Gate) -> int:
    """The port of a Postfix that will pass on all that it gets, to a gate."""
    directory.chmod(0o755)  # its daemons run as several users
    for name, owner in ("etc", "root"), ("queue", "root"), ("data", "postfix"):
        (directory / name).mkdir()
        shutil.chown(directory / name, owner)
    port = free_port()
    main = POSTFIX.format(directory=directory, daemons=POSTFIX_DAEMONS, gate=gate.port)
    (directory / "etc/main.cf").write_text(main)
    (directory / "etc/master.cf").write_text(POSTFIX_MASTER.format(port=port))
    return port


@asynccontextmanager
async def postfix(directory: Path, gate: Gate) -> AsyncIterator[int]:
    """A Postfix that passes on all that it gets, to a gate; its port."""
    check, master = program("postfix"), program("master", path=str(POSTFIX_DAEMONS))
    port = configure_postfix(directory, gate)
    etc = str(directory / "etc")
    checked = await create_subprocess_exec(check, "-c", etc, "check")
    assert await checked.wait() == 0
    process = await create_subprocess_exec(master, "-c", etc, "-e", str(PATIENCE), stdin=DEVNULL)
    try:
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.terminate()  # it takes its children along
        await process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="Postfix is started by root only")
def test_postfix_forwards_for_the_log_whom_a_message_is_from() -> None:
    async def scenario() -> None:
        witness = Witness()
        gate = gate_of(witness, xforward_from=(LOCALHOST,))
        # Not below pytest's own directory, into which only root can look.
        with tempfile.TemporaryDirectory(prefix="postfix-", ignore_cleanup_errors=True) as name:
            async with gate, postfix(Path(name), gate) as port:
                client = await _until_it_listens(port)
                endpoint = client.endpoint
                await client.greet()
                await client.send()
                await witness.arrived.wait()
        (seen,) = witness.seen
        assert seen.client.host == LOCALHOST
        assert seen.forwarded is not None
        assert (seen.forwarded.address, seen.forwarded.port) == endpoint
        assert seen.forwarded.hello == "client.example"
        assert seen.forwarded.protocol == "ESMTP"
        assert seen.forwarded.source == "REMOTE"
        assert seen.forwarded.identifier

    run(scenario())


async def _until_it_listens(port: int) -> Client:
    """Look until it is there: Postfix inherits no socket, and tells nobody."""
    while True:
        try:
            return await Client.of(port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
