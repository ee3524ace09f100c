"""What the supervisor and a worker tell each other, on both kinds of event loops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from gatepost.processes.channel import MESSAGE_LIMIT, Channel

Run = Callable[[Coroutine[Any, Any, None]], None]

#: More than the kernel takes while nobody reads.
MUCH = "x" * 4_000_000


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in a loop of each kind, within ten seconds."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return runs


@asynccontextmanager
async def a_channel(kernel_takes: int = 0) -> AsyncIterator[tuple[Channel, Channel]]:
    """Both ends of one; while nobody reads, the kernel takes so many octets or the usual number."""
    pair = socket.socketpair()
    for end in pair if kernel_takes else ():
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_takes)
    ours, theirs = [await Channel.over(end) for end in pair]
    try:
        yield ours, theirs
    finally:
        ours.abort()
        theirs.abort()
        await asyncio.sleep(0)  # now they are closed


@asynccontextmanager
async def a_channel_with_a_bare_end() -> AsyncIterator[tuple[Channel, socket.socket]]:
    """One end, and the socket of the other."""
    ours, theirs = socket.socketpair()
    channel = await Channel.over(ours)
    try:
        yield channel, theirs
    finally:
        theirs.close()
        channel.abort()
        await asyncio.sleep(0)


def test_what_is_told_is_heard(run: Run) -> None:
    async def talk() -> None:
        async with a_channel() as (ours, theirs):
            ours.tell("beat", sessions=3, names=["Zoë", "a\nb"])
            ours.tell("ready")
            assert await theirs.hear() == {"say": "beat", "sessions": 3, "names": ["Zoë", "a\nb"]}
            assert await theirs.hear() == {"say": "ready"}
            theirs.tell("stop", grace=1.5)
            assert await ours.hear() == {"say": "stop", "grace": 1.5}

    run(talk())


def test_a_long_message_is_heard(run: Run) -> None:
    async def talk() -> None:
        async with a_channel() as (ours, theirs):
            ours.tell("beat", figures=MUCH)
            assert await theirs.hear() == {"say": "beat", "figures": MUCH}

    run(talk())


def test_a_message_that_is_too_long_is_not_gathered(run: Run) -> None:
    async def talk() -> None:
        async with a_channel() as (ours, theirs):
            ours.tell("beat", figures="x" * (MESSAGE_LIMIT + 1))
            assert await theirs.hear() is None

    run(talk())


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"stop\n",
        b"[1, 2]\n",
        b'"say"\n',
        b"null\n",
        b'{"told": "stop"}\n',
        b'{"say": "stop"\n',
        b'{"say": "\xff"}\n',
        b"[" * 100_000 + b"\n",
        b'{"say": ' + b"9" * 5000 + b"}\n",
    ],
    ids=["nothing", "a word", "a list", "a string", "null", "no say", "half an object", "no UTF-8",
         "nested too deep", "a huge number"],
)  # fmt: skip
def test_nonsense_is_as_good_as_nobody(run: Run, line: bytes) -> None:
    async def talk() -> None:
        async with a_channel_with_a_bare_end() as (channel, other):
            other.sendall(line)
            assert await channel.hear() is None

    run(talk())


def test_who_is_gone_in_the_middle_of_a_message_has_said_nothing(run: Run) -> None:
    async def talk() -> None:
        async with a_channel_with_a_bare_end() as (channel, other):
            other.sendall(b'{"say": "ready"}\n{"say": "be')
            other.close()
            assert await channel.hear() == {"say": "ready"}
            assert await channel.hear() is None
            assert await channel.hear() is None

    run(talk())


def test_nobody_hears_what_is_told_to_who_is_gone(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk() -> None:
        async with a_channel_with_a_bare_end() as (channel, other):
            other.close()
            for _ in range(20):
                channel.tell("beat", figures=MUCH)
                await channel.flush()
            assert await channel.hear() is None
            await channel.close()
            channel.tell("beat")

    run(talk())
    assert caplog.records == []


@pytest.mark.parametrize("length", [10, 40_000, len(MUCH)])
def test_close_ends_what_was_told(run: Run, length: int) -> None:
    async def talk() -> None:
        async with a_channel(kernel_takes=4096) as (ours, theirs):
            ours.tell("failed", complaints=["x" * length])
            closing = asyncio.create_task(ours.close())
            await asyncio.wait((closing,), timeout=0.05)  # it closes while something is left to say
            assert await theirs.hear() == {"say": "failed", "complaints": ["x" * length]}
            await closing
            assert await theirs.hear() is None
            ours.abort()

    run(talk())


def test_flush_waits_while_the_other_side_does_not_read(run: Run) -> None:
    async def talk() -> None:
        async with a_channel_with_a_bare_end() as (channel, other):
            channel.tell("beat", figures=MUCH)
            flushing = asyncio.create_task(channel.flush())
            await asyncio.wait((flushing,), timeout=0.05)
            assert not flushing.done()
            other.setblocking(False)
            while not flushing.done():
                await asyncio.get_running_loop().sock_recv(other, 100_000)
            await flushing

    run(talk())


def test_flush_does_not_wait_for_who_is_gone(run: Run) -> None:
    async def talk() -> None:
        async with a_channel_with_a_bare_end() as (channel, other):
            channel.tell("beat", figures=MUCH)
            flushing = asyncio.create_task(channel.flush())
            await asyncio.sleep(0)
            other.close()
            await flushing

    run(talk())


def test_abort_drops_what_is_not_taken_yet(run: Run) -> None:
    async def talk() -> None:
        async with a_channel() as (ours, theirs):
            ours.tell("beat", figures=MUCH)
            ours.abort()
            assert await theirs.hear() is None
            ours.tell("beat")
            await ours.flush()
            assert await ours.hear() is None

    run(talk())


def test_abort_ends_a_close_that_waits(run: Run) -> None:
    async def talk() -> None:
        async with a_channel_with_a_bare_end() as (channel, _):
            channel.tell("failed", complaints=[MUCH])
            closing = asyncio.create_task(channel.close())
            await asyncio.wait((closing,), timeout=0.05)
            assert not closing.done()
            channel.abort()
            await closing

    run(talk())
