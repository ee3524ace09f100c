"""The pages for machines that watch: over real sockets, on both kinds of event loops."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gatepost.metrics import web
from gatepost.metrics.exposition import CONTENT_TYPE, exposition
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import MESSAGES
from gatepost.metrics.web import MOST_CLIENTS, WatchSite, start_site

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine in a loop of each kind, within ten seconds."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(coroutine, 10))

    return runs


@dataclass
class House:
    """What is watched."""

    figures: Callable[[], Awaitable[str] | str] = lambda: "gatepost_workers 1\n"
    is_healthy: bool = True
    is_ready: bool = True


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@asynccontextmanager
async def site(
    house: House | None = None, address: str = "127.0.0.1:0"
) -> AsyncIterator[WatchSite]:
    house = house or House()
    there = await start_site(
        address,
        metrics=lambda: house.figures(),
        healthy=lambda: house.is_healthy,
        ready=lambda: house.is_ready,
    )
    try:
        yield there
    finally:
        await there.close()


async def connect(there: WatchSite) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if there.address.path is not None:
        return await asyncio.open_unix_connection(there.address.path)
    return await asyncio.open_connection(there.address.host, there.address.port)


async def said(there: WatchSite, octets: bytes) -> bytes:
    """All that is answered, until the connection is closed."""
    reader, writer = await connect(there)
    heard = b""
    with suppress(ConnectionError):
        writer.write(octets)
        heard = await reader.read()
    writer.close()
    return heard


def read(octets: bytes) -> Answer:
    head, _, body = octets.decode().partition("\r\n\r\n")
    first, *fields = head.split("\r\n")
    pairs = (line.partition(": ") for line in fields)
    return Answer(int(first.split()[1]), {name: value for name, _, value in pairs}, body)


async def fetch(there: WatchSite, path: str, method: str = "GET") -> Answer:
    request = f"{method} {path} HTTP/1.1\r\nHost: watch\r\n\r\n"
    return read(await said(there, request.encode()))


# -- The pages ------------------------------------------------------------------------------------


def test_the_figures(run: Run) -> None:
    figures = Figures()
    figures[MESSAGES].add("mäil", "accepted")
    text = exposition(figures.snapshot())

    async def watch() -> None:
        async with site(House(lambda: text)) as there:
            answer = await fetch(there, "/metrics")
            assert (answer.status, answer.body) == (200, text)
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert int(answer.headers["Content-Length"]) == len(text.encode())
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Server"] == "gatepost"
            assert answer.headers["Connection"] == "close"

    run(watch())


def test_figures_may_have_to_be_waited_for(run: Run) -> None:
    async def gathered() -> str:
        await asyncio.sleep(0)
        return "gatepost_workers 2\n"

    async def watch() -> None:
        async with site(House(gathered)) as there:
            assert (await fetch(there, "/metrics?name[]=x")).body == "gatepost_workers 2\n"

    run(watch())


def test_health_and_readiness(run: Run) -> None:
    async def watch() -> None:
        house = House(is_ready=False)
        async with site(house) as there:
            assert (await fetch(there, "/healthz")).status == 200
            assert (await fetch(there, "/readyz")).status == 503
            house.is_healthy, house.is_ready = False, True
            assert (await fetch(there, "/healthz")).status == 503
            assert (await fetch(there, "/readyz")).status == 200

    run(watch())


def test_an_older_client_and_one_that_wants_the_head_only(run: Run) -> None:
    async def watch() -> None:
        async with site() as there:
            assert read(await said(there, b"GET /healthz HTTP/1.0\r\n\r\n")).body == "yes\n"
            answer = await fetch(there, "/metrics", "HEAD")
            assert (answer.status, answer.body) == (200, "")

    run(watch())


def test_what_is_no_page(run: Run) -> None:
    async def watch() -> None:
        async with site() as there:
            assert (await fetch(there, "/")).status == 404
            assert (await fetch(there, "/metrics/")).status == 404
            answer = await fetch(there, "/metrics", "DELETE")
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")

    run(watch())


# -- Where it is ----------------------------------------------------------------------------------


def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"

    async def watch() -> None:
        async with site(address=f"unix:{path}") as there:
            assert (await fetch(there, "/healthz")).status == 200
            with pytest.raises(OSError, match="in use"):
                await start_site(f"unix:{path}", metrics=str, healthy=bool, ready=bool)
            assert (await fetch(there, "/healthz")).status == 200
        assert not path.exists()

    run(watch())


def test_a_socket_that_was_left_behind_is_in_nobodys_way(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def watch() -> None:
        async with site(address=f"unix:{path}") as there:
            assert (await fetch(there, "/healthz")).status == 200

    run(watch())


def test_an_address_that_somebody_has(run: Run) -> None:
    async def watch() -> None:
        async with site() as there:
            with pytest.raises(OSError, match="in use"):
                await start_site(str(there.address), metrics=str, healthy=bool, ready=bool)

    run(watch())


# -- It is bounded --------------------------------------------------------------------------------


def test_a_connection_is_good_for_one_request(run: Run) -> None:
    async def watch() -> None:
        async with site() as there:
            heard = await said(there, b"GET /healthz HTTP/1.1\r\nHost: watch\r\n\r\n" * 3)
            assert heard.count(b"HTTP/1.1") == 1

    run(watch())


def test_a_body_is_not_waited_for(run: Run) -> None:
    request = b"%s /healthz HTTP/1.1\r\nHost: watch\r\nContent-Length: 1000000000\r\n\r\n some"

    async def watch() -> None:
        async with site() as there:
            assert read(await said(there, request % b"GET")).status == 200
            assert read(await said(there, request % b"POST")).status == 405

    run(watch())


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"EHLO client.example\r\n\r\n",
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 100 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX a\x00\x1b[2J\r\n\r\n",
    ],
    ids=["TLS", "SMTP", "a long path", "a long field", "many fields", "no field"],
)
def test_what_is_no_request_is_answered_and_leaves_no_trace(
    run: Run, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def watch() -> None:
        async with site() as there:
            assert read(await said(there, octets)).status == 400

    with caplog.at_level(logging.INFO):
        run(watch())
    assert caplog.records == []


def test_a_slow_client_is_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIME", 0.05)

    async def watch() -> None:
        async with site() as there:
            for octets in (b"", b"GET /healthz HTTP/1.1\r\nHost:"):
                assert await said(there, octets) == b""

    run(watch())


def test_a_client_that_does_not_read_is_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "TIME", 0.2)
    much = "# HELP x " + "x" * 50_000_000 + "\n"

    async def watch() -> None:
        async with site(House(lambda: much)) as there:
            reader, writer = await connect(there)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: watch\r\n\r\n")
            heard = len(await reader.readline())
            assert await said(there, b"") == b""  # who came later has been cut off already
            with suppress(ConnectionError):
                while octets := await reader.read(1_000_000):
                    heard += len(octets)
            assert heard < len(much)
            writer.close()

    run(watch())


def test_few_are_let_in_at_a_time(run: Run) -> None:
    async def watch() -> None:
        async with site() as there:
            idle = [await connect(there) for _ in range(MOST_CLIENTS)]
            assert await said(there, b"GET /healthz HTTP/1.1\r\nHost: watch\r\n\r\n") == b""
            idle.pop()[1].close()
            status = 0
            while status != 200:
                with suppress(IndexError):  # nothing was heard
                    status = (await fetch(there, "/healthz")).status
            for _, writer in idle:
                writer.close()

    run(watch())


def test_figures_that_take_too_long(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "GATHERING", 0.05)

    async def never() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def watch() -> None:
        async with site(House(never)) as there:
            assert (await fetch(there, "/metrics")).status == 503
            assert (await fetch(there, "/healthz")).status == 200

    run(watch())


def test_who_has_gone_is_not_gathered_for(run: Run) -> None:
    async def watch() -> None:
        asked, given_up = asyncio.Event(), asyncio.Event()

        async def never() -> str:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            raise AssertionError

        async with site(House(never)) as there:
            _, writer = await connect(there)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: watch\r\n\r\n")
            await asked.wait()
            writer.close()
            async with asyncio.timeout(3):
                await given_up.wait()

    run(watch())


def test_a_fault_of_ours_is_logged_and_told_in_few_words(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str:
        raise KeyError("what only we may know")

    async def watch() -> None:
        async with site(House(broken)) as there:
            answer = await fetch(there, "/metrics")
            assert answer.status == 500
            assert "only we may know" not in answer.body
            assert (await fetch(there, "/healthz")).status == 200

    run(watch())
    assert "only we may know" in caplog.text


def test_who_waits_for_figures_does_not_hold_up_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "FAREWELL", 0.05)
    monkeypatch.setattr(web, "GATHERING", 100)
    asked = asyncio.Event()

    async def never() -> str:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def watch() -> None:
        async with site(House(never)) as there:
            idle = await connect(there)
            waiting = asyncio.create_task(fetch(there, "/metrics"))
            await asked.wait()
        with suppress(IndexError):
            await waiting
        assert await idle[0].read() == b""
        idle[1].close()

    run(watch())
