"""What is put around the methods of plugins: by whoever measures, by whoever traces, or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatepost.config import parse_config
from gatepost.hooks.chain import Observe
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import HOOK_SECONDS
from gatepost.processes.observation import observation
from gatepost.processes.observers import observers
from gatepost.testing import a_session

METRICS = '[metrics]\naddress = "127.0.0.1:0"\n'
OTEL = '[otel]\nendpoint = "http://127.0.0.1:1"\n'
TRAIL = '[trail]\npath = "trail.sqlite"\n'


async def method(*_: object) -> str:
    return "answer"


def observed(text: str, directory: Path, figures: Figures) -> Observe | None:
    """What a configuration has put around methods."""
    listen = '[[listen]]\naddress = "127.0.0.1:0"\n'
    config = parse_config(listen + text, path=directory / "gatepost.toml")
    return observation(observers(config, figures), figures)


def asked(observe: Observe | None) -> str:
    """What the event loop is given to wait for, when a method is asked that waits."""
    assert observe is not None
    waiting = observe("connect", "spf", method)(a_session())
    assert asyncio.run(waiting) == "answer"
    return str(waiting.__qualname__)


def measured(figures: Figures) -> float:
    rows = figures.snapshot()[HOOK_SECONDS.name]
    return sum(sum(numbers[:-1]) for numbers in rows.values())


def test_who_asks_for_nothing_pays_for_nothing(tmp_path: Path) -> None:
    assert observed("", tmp_path, Figures()) is None


def test_what_only_listens_is_put_around_nobody(tmp_path: Path) -> None:
    assert observed(TRAIL, tmp_path, Figures()) is None


def test_where_figures_are_served_hooks_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    figures = Figures()
    assert asked(observed(METRICS + TRAIL, tmp_path, figures)) != "Tracer._waited"
    assert measured(figures) == 1


def test_where_there_is_a_collector_hooks_are_traced(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    figures = Figures()
    assert asked(observed(OTEL, tmp_path, figures)) == "Tracer._waited"
    assert measured(figures) == 0


def test_hooks_can_be_measured_and_traced(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    figures = Figures()
    # What is measured is what the plugin takes, with what the trace adds to it.
    assert asked(observed(OTEL + METRICS, tmp_path, figures)) != "Tracer._waited"
    assert measured(figures) == 1
