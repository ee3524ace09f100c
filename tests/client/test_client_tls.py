from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from gatepost.address import Address
from gatepost.client import Client, Destination, Outcome, Stage, Timeouts, TlsPolicy

ANNE = Address("anne", "a.example")
LETTER = [b"Subject: a\r\n\r\nb\r\n"]
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]

Scenario = Callable[[], Coroutine[None, None, None]]
#: What a server says and does behind `220`; it gets the TLS context for its handshake.
Behaviour = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter, ssl.SSLContext], Coroutine[None, None, None]
]


def run(scenario: Scenario, *, on: Callable[[], asyncio.AbstractEventLoop] = LOOPS[0]) -> None:
    with asyncio.Runner(loop_factory=on) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate of its own making for `localhost` and 127.0.0.1."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
        f"-keyout {file} -out {file}.crt"
    )
    subprocess.run([openssl, *command.split()], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@asynccontextmanager
async def serving(certificate: Path, *behaviours: Behaviour) -> AsyncIterator[int]:
    """A server that behaves so on its first connection, so on its second, ...; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    turns = iter(behaviours)
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with suppress(OSError):
            writer.write(b"220 mx\r\n")
            await next(turns)(reader, writer, context)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*tasks)
    assert next(turns, None) is None


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, offer: bytes) -> None:
    assert await reader.readline() == b"EHLO client.example\r\n"
    writer.write(b"250-mx\r\n250 " + offer + b"\r\n")


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take one message over what the stream is by now, or let the client go."""
    for answer in (b"250 2.1.0 Ok", b"250 2.1.5 Ok", b"354 Go on"):
        if await reader.readline() == b"QUIT\r\n":
            return
        writer.write(answer + b"\r\n")
    await reader.readuntil(b"\r\n.\r\n")
    secure = writer.get_extra_info("ssl_object") is not None
    writer.write(b"250 2.0.0 Taken " + (b"over TLS" if secure else b"in clear") + b"\r\n")
    if await reader.readline() == b"QUIT\r\n":
        writer.write(b"221 2.0.0 Bye\r\n")


async def plain(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"HELP")
    await take(reader, writer)


async def clear_after_all(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"STARTTLS")
    await take(reader, writer)


async def secured(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"STARTTLS")
    assert await reader.readline() == b"STARTTLS\r\n"
    writer.write(b"220 Go\r\n")
    await writer.start_tls(context)
    if not reader.at_eof():
        await hello(reader, writer, b"HELP")
        await take(reader, writer)


async def garbled(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"STARTTLS")
    await reader.readline()
    writer.write(b"220 Go\r\n")
    await reader.read(1)
    writer.write(b"500 what is this?\r\n")
    await reader.read()


async def injecting(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"STARTTLS")
    await reader.readline()
    writer.write(b"220 Go\r\n250-mx\r\n250 AUTH PLAIN\r\n")
    assert await reader.read() == b""


async def silent(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"STARTTLS")
    await reader.readline()
    writer.write(b"220 Go\r\n")
    await reader.read()


async def refusing(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
) -> None:
    await hello(reader, writer, b"STARTTLS")
    await reader.readline()
    writer.write(b"454 4.7.0 Not now\r\n")
    await take(reader, writer)


async def send(
    port: int,
    *,
    tls: TlsPolicy,
    verify: bool | None = None,
    authorities: Path | None = None,
    host: str = "127.0.0.1",
) -> Outcome:
    async with Client(
        Destination(host, port),
        hostname="client.example",
        tls=tls,
        verify=verify,
        authorities=authorities,
        timeouts=Timeouts(handshake=0.5),
    ) as client:
        return await client.send(ANNE, [ANNE], LETTER)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("tls", "behaviours", "verify", "reply"),
    [
        ("off", [clear_after_all], None, "250 2.0.0 Taken in clear"),
        ("may", [plain], None, "250 2.0.0 Taken in clear"),
        ("may", [secured], None, "250 2.0.0 Taken over TLS"),
        ("may", [refusing], None, "250 2.0.0 Taken in clear"),
        ("may", [garbled, clear_after_all], None, "250 2.0.0 Taken in clear"),
        ("may", [silent, clear_after_all], None, "250 2.0.0 Taken in clear"),
        ("must", [secured], False, "250 2.0.0 Taken over TLS"),
        ("must", [plain], None, "451 4.7.4"),  # standards.md T8
        ("must", [refusing], None, "454 4.7.0 Not now"),
        ("must", [garbled], False, "451 4.7.5"),
        ("must", [silent], False, "451 4.7.5"),
        ("must", [secured], None, "451 4.7.5"),  # nobody vouches for the certificate
        ("may", [secured], True, "451 4.7.5"),
        ("may", [injecting], None, "451 4.5.0"),  # standards.md T7
        ("must", [injecting], False, "451 4.5.0"),
    ],
)
def test_the_policy_is_kept(
    certificate: Path,
    tls: TlsPolicy,
    behaviours: list[Behaviour],
    verify: bool | None,
    reply: str,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        async with serving(certificate, *behaviours) as port:
            outcome = await send(port, tls=tls, verify=verify)
            assert str(outcome.replies[0]).startswith(reply)
            assert outcome.judged == reply.startswith("250")

    run(scenario, on=loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_good_certificate_is_accepted(
    certificate: Path, host: str, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with serving(certificate, secured) as port:
            outcome = await send(port, tls="must", authorities=certificate, host=host)
            assert str(outcome.replies[0]) == "250 2.0.0 Taken over TLS"
            assert outcome.stage is Stage.END_OF_DATA

    run(scenario, on=loop)
