"""Peers over real sockets: lines within bounds, TLS that is what it claims to be, and goodbyes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import trustme
import uvloop

from gatepost import peer as module
from gatepost.peer import LINE_LIMIT, TALK_LIMIT, Peer, Wire

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Scenario: TypeAlias = Callable[[], Awaitable[None]]

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
EVERY_LOOP = pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
Loop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]


class Tls(NamedTuple):
    context: ssl.SSLContext  #: of a server that is what it says
    other: ssl.SSLContext  #: of one with a certificate for another name
    authorities: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(file)

    def context(*names: str) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names).configure_cert(made)
        return made

    return Tls(context("127.0.0.1"), context("localhost"), file)


def run(scenario: Scenario, loop: Loop = LOOPS[0]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(bounded())


@asynccontextmanager
async def listening(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that does what it likes with each connection, and then hangs up."""

    ended: list[asyncio.Event] = []

    async def talk_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.Event())
        end = ended[-1]
        with suppress(OSError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()
        end.set()

    async with await asyncio.start_server(talk_and_hang_up, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        for end in ended:
            await end.wait()


def plain(port: int, **options: Any) -> Peer:
    return Peer("127.0.0.1", port, **{"tls": "off"} | options)


def said(octets: bytes) -> Talk:
    """Say something, and go when the client goes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        await reader.read()

    return talk


# -- Lines ----------------------------------------------------------------------------------------


@EVERY_LOOP
def test_lines_go_both_ways(loop: Loop) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first\r\nsecond\n")
        heard.append(await reader.read())

    async def scenario() -> None:
        async with listening(talk) as port, plain(port).connect() as wire:
            assert [await wire.hear(), await wire.hear()] == [b"first", b"second"]
            wire.say(b"a line")
            wire.send(b"octets\0")
        assert heard == [b"a line\r\noctets\0"]

    run(scenario, loop)


@pytest.mark.parametrize("line", [b"a\r\nb", b"a\nb", b"a\rb", b"a\0b"])
def test_no_line_is_two(line: bytes) -> None:
    async def scenario() -> None:
        async with listening(said(b"")) as port, plain(port).connect() as wire:
            with pytest.raises(ValueError, match="no CR, LF or NUL"):
                wire.say(line)

    run(scenario)


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"x" * (LINE_LIMIT + 2), "a line without end"),
        (b"x" * LINE_LIMIT * 3 + b"\n", "a line without end"),
        (b"x\r\n" * (TALK_LIMIT // 3 + 1), "talks without end"),
    ],
)
def test_what_is_heard_is_bounded(octets: bytes, words: str) -> None:
    async def hear_all(port: int) -> None:
        async with plain(port).connect() as wire:
            while True:
                await wire.hear()

    async def scenario() -> None:
        async with listening(said(octets)) as port:
            with pytest.raises(ConnectionError, match=words):
                await hear_all(port)

    run(scenario)


def test_half_a_line_is_none() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half a li")

    async def scenario() -> None:
        async with listening(talk) as port, plain(port).connect() as wire:
            with pytest.raises(ConnectionError, match="it hung up"):
                await wire.hear()

    run(scenario)


# -- TLS ------------------------------------------------------------------------------------------


def behind_starttls(context: ssl.SSLContext, injected: bytes = b"") -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\r\n"
        writer.write(b"go\r\n" + injected)
        await writer.start_tls(context)
        writer.write(b"secret\r\n")
        await reader.read()

    return talk


async def heard(peer: Peer) -> bytes:
    async with peer.connect() as wire:
        return await wire.hear()


async def secured(peer: Peer) -> bytes:
    async with peer.connect() as wire:
        wire.say(b"STARTTLS")
        assert await wire.hear() == b"go"
        await wire.secure()
        return await wire.hear()


@EVERY_LOOP
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_behind_starttls(tls: Tls, loop: Loop, host: str) -> None:
    context = tls.other if host == "localhost" else tls.context

    async def scenario() -> None:
        async with listening(behind_starttls(context)) as port:
            peer = Peer(host, port, tls="starttls", authorities=tls.authorities)
            assert await secured(peer) == b"secret"

    run(scenario, loop)


@EVERY_LOOP
def test_what_was_said_in_clear_is_not_heard_under_tls(tls: Tls, loop: Loop) -> None:
    # standards.md T7: `go` and the injected line come in one segment.
    async def scenario() -> None:
        async with listening(behind_starttls(tls.context, b"forged\r\n")) as port:
            peer = Peer("127.0.0.1", port, tls="starttls", authorities=tls.authorities)
            with pytest.raises(ConnectionError, match="said something in clear"):
                await secured(peer)

    run(scenario, loop)


@EVERY_LOOP
def test_tls_from_the_beginning(tls: Tls, loop: Loop) -> None:
    async def scenario() -> None:
        async with listening(said(b"secret\r\n"), tls.context) as port:
            peer = Peer("127.0.0.1", port, authorities=tls.authorities)
            assert await heard(peer) == b"secret"

    run(scenario, loop)


@EVERY_LOOP
@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_certificate_that_nobody_vouches_for(tls: Tls, loop: Loop, mode: Any) -> None:
    talk = said(b"secret\r\n") if mode == "implicit" else behind_starttls(tls.context)
    context = tls.context if mode == "implicit" else None

    async def hear(peer: Peer) -> bytes:
        return await (heard(peer) if mode == "implicit" else secured(peer))

    async def scenario() -> None:
        async with listening(talk, context) as port:
            with pytest.raises(ssl.SSLCertVerificationError):
                await hear(Peer("127.0.0.1", port, tls=mode))
            assert await hear(Peer("127.0.0.1", port, tls=mode, verify=False)) == b"secret"

    run(scenario, loop)


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_certificate_for_another_name(tls: Tls, mode: Any) -> None:
    talk = said(b"secret\r\n") if mode == "implicit" else behind_starttls(tls.other)
    context = tls.other if mode == "implicit" else None

    async def hear(peer: Peer) -> bytes:
        return await (heard(peer) if mode == "implicit" else secured(peer))

    async def scenario() -> None:
        async with listening(talk, context) as port:
            with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
                await hear(Peer("127.0.0.1", port, tls=mode, authorities=tls.authorities))

    run(scenario)


def test_old_tls_is_no_tls(tls: Tls) -> None:
    assert Peer("localhost", 1).context.minimum_version == ssl.TLSVersion.TLSv1_2


# -- Turns and goodbyes ---------------------------------------------------------------------------


def test_so_many_at_once() -> None:
    open_now: list[int] = []

    async def scenario() -> None:
        begun = asyncio.Semaphore(0)
        end = asyncio.Event()

        async def ask(peer: Peer) -> None:
            async with peer.connect():
                open_now.append(1)
                begun.release()
                await end.wait()
                open_now.pop()

        async with listening(said(b"")) as port:
            peer = plain(port, at_once=2)
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(ask(peer))
                await begun.acquire()
                await begun.acquire()
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(open_now) == 2
                end.set()

    run(scenario)
    assert open_now == []


def test_who_does_not_close_is_left(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GOODBYE", 0.05)

    async def scenario() -> None:
        left = asyncio.Event()

        async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\r\n")
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()  # not even TLS sees the goodbye
            await left.wait()

        async with listening(stay, tls.context) as port:
            assert await heard(Peer("127.0.0.1", port, authorities=tls.authorities)) == b"hello"
            left.set()

    run(scenario)


@EVERY_LOOP
def test_a_cancelled_question_hangs_up(loop: Loop) -> None:
    async def scenario() -> None:
        ended = asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\r\n")
            with suppress(OSError):
                await reader.read()
            ended.set()

        async with listening(wait) as port:
            heard = asyncio.Event()

            async def ask() -> None:
                async with plain(port).connect() as wire:
                    await wire.hear()
                    heard.set()
                    await wire.hear()

            task = asyncio.ensure_future(ask())
            await heard.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await ended.wait()

    run(scenario, loop)


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_that_dns_cannot_spell(host: str) -> None:
    async def scenario() -> None:
        with pytest.raises(OSError, match="name"):
            async with Peer(host, 1).connect():
                pass

    run(scenario)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"host": ""}, "server"),
        ({"host": "two words"}, "server"),
        ({"host": "a\r\nb"}, "server"),
        ({"port": 0}, "port"),
        ({"port": 65_536}, "port"),
        ({"at_once": 0}, "at_once"),
        ({"authorities": Path("/nowhere/authorities.pem")}, "authorities"),
        ({"authorities": Path(__file__)}, "authorities"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"host": "mail.example", "port": 143}
    with pytest.raises(ValueError, match=f"^option '{named}'"):
        Peer(**given | options)


def test_a_peer_in_words() -> None:
    assert str(Peer("imap.example", 993)) == "imap.example:993"
    assert str(Peer("2001:db8::1", 143)) == "[2001:db8::1]:143"


def test_a_wire_is_what_a_peer_gives() -> None:
    async def scenario() -> None:
        async with listening(said(b"")) as port, plain(port).connect() as wire:
            assert isinstance(wire, Wire)

    run(scenario)
