"""The plugin load_check: new clients wait while the machine is busy."""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path

import pytest

from gatepost import Defer, Result, Site
from gatepost.hooks.loader import load
from gatepost.plugins.connect.load_check import LoadCheck, load_average, memory_in_use
from gatepost.testing import a_session, converse, run

BUSY = Defer("Too busy now", status="4.3.2")
SITE = Site("mx.example")


class Gauge:
    """Something that is measured, and what it reads."""

    def __init__(self, value: float = 0.0) -> None:
        self.value: float | OSError = value

    def __call__(self) -> float:
        if isinstance(self.value, OSError):
            raise self.value
        return self.value


def checking(
    *, load: float | None = None, memory: float | None = None, lag: float | None = None
) -> tuple[LoadCheck, Gauge]:
    """The plugin, and the one gauge that it reads all from."""
    plugin, gauge = LoadCheck(load=load, memory=memory, lag=lag), Gauge()
    plugin.gauges = {"load": gauge, "memory": gauge}
    return plugin, gauge


async def verdict_in_a_second(plugin: LoadCheck) -> Defer | None:
    await asyncio.sleep(1.5)
    return plugin.connect(a_session())


@pytest.mark.parametrize(
    ("plugin", "values"),
    [
        (checking(load=8), [(8.0, None), (8.1, BUSY), (7.0, None)]),
        (checking(memory=90), [(90.0, None), (90.1, BUSY), (10.0, None)]),
        (checking(load=8, memory=90), [(7.0, None), (9.0, BUSY), (91.0, BUSY), (7.0, None)]),
        (checking(lag=1), [(1000.0, None)]),
    ],
)
def test_as_long_as_it_lasts(
    plugin: tuple[LoadCheck, Gauge], values: list[tuple[float, Defer | None]]
) -> None:
    async def hear() -> None:
        check, gauge = plugin
        check.startup(SITE)
        for value, verdict in values:
            gauge.value = value
            assert await verdict_in_a_second(check) == verdict, value
        check.shutdown(SITE)

    run(hear())


def test_how_late_the_server_is() -> None:
    async def hear() -> list[Defer | None]:
        plugin, now = LoadCheck(lag=0.5), Gauge(1000.0)
        plugin.clock = now
        plugin.startup(SITE)
        await asyncio.sleep(0.5)  # in the middle between two looks
        heard = []
        for seconds in (1.0, 1.5, 1.75, 1.0, 0.25):
            now.value = now() + seconds
            await asyncio.sleep(1.0)
            heard.append(plugin.connect(a_session()))
        plugin.shutdown(SITE)
        return heard

    assert run(hear()) == [None, None, BUSY, None, None]


def test_what_is_too_much_at_the_start_counts_at_once() -> None:
    async def hear() -> Defer | None:
        plugin, gauge = checking(load=8)
        gauge.value = 9.0
        plugin.startup(SITE)
        plugin.shutdown(SITE)
        return plugin.connect(a_session())

    assert run(hear()) == BUSY


def test_after_the_shutdown_nobody_looks() -> None:
    async def hear() -> Defer | None:
        plugin, gauge = checking(load=8)
        plugin.startup(SITE)
        plugin.shutdown(SITE)
        gauge.value = 9.0
        return await verdict_in_a_second(plugin)

    assert run(hear()) is None


def test_what_cannot_be_measured_at_all_keeps_the_server_from_starting() -> None:
    async def start() -> None:
        plugin, gauge = checking(memory=90)
        gauge.value = FileNotFoundError("no /proc/meminfo")
        plugin.startup(SITE)

    with pytest.raises(FileNotFoundError, match="no /proc/meminfo"):
        run(start())


def test_what_cannot_be_measured_any_more_is_too_much(caplog: pytest.LogCaptureFixture) -> None:
    async def hear() -> list[Defer | None]:
        plugin, gauge = checking(load=8)
        plugin.startup(SITE)
        gauge.value = OSError("too many open files")
        heard = [await verdict_in_a_second(plugin), await verdict_in_a_second(plugin)]
        gauge.value = 1.0
        heard.append(await verdict_in_a_second(plugin))
        plugin.shutdown(SITE)
        return heard

    with caplog.at_level(logging.INFO):
        assert run(hear()) == [BUSY, BUSY, None]
    assert caplog.messages == [
        "new clients are deferred: it cannot be measured: too many open files",
        "new clients are welcome again",
    ]


def test_the_client_hears_little_and_the_trail_all() -> None:
    plugin = LoadCheck(load=8, memory=90)
    plugin.gauges = {"load": Gauge(12.34), "memory": Gauge(95.0)}
    script = """
        S: 421 4.3.2 Too busy now
        S: <closed>
    """
    session = run(converse([plugin], script))
    assert session.trail.results == [
        Result(
            "load_check",
            "fail",
            "the load average is 12.3, the limit is 8; "
            "95 percent of the memory is in use, the limit is 90",
        )
    ]


def test_memory_as_linux_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  8000 kB\nMemFree:  100 kB\nMemAvailable:  2000 kB\nHugeTotal: 0\n")
    assert memory_in_use(path) == 75.0


def test_this_machine_has_a_load() -> None:
    assert load_average() >= 0


@pytest.mark.parametrize(
    ("options", "complaint", "key"),
    [
        ({}, "nothing is limited: set 'load', 'memory' or 'lag'", ""),
        ({"load": -1}, "option 'load' must be 0 or more, not -1.0", "load"),
        ({"memory": 101}, "option 'memory' must be from 0 to 100, not 101.0", "memory"),
    ],
)
def test_limits_that_make_no_sense(
    options: dict[str, float], complaint: str, key: str, tmp_path: Path
) -> None:
    outcome = load({"use": "load_check", **options}, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(one.text, one.key) for one in outcome] == [(f"load_check: {complaint}", key)]


def test_no_number_is_no_limit() -> None:
    with pytest.raises(ValueError, match="'lag' must be 0 or more, not nan"):
        LoadCheck(lag=math.nan)
