"""Observers: plugins of the server's own that listen, and write down or count what they hear."""

from __future__ import annotations

from importlib import import_module
from typing import TypeAlias

from gatepost.archive.recorder import Recorder
from gatepost.config import Config
from gatepost.hooks.placement import Placement
from gatepost.metrics.figures import Figures
from gatepost.metrics.meter import Meter
from gatepost.plugin import Plugin

Placed: TypeAlias = tuple[Plugin, Placement]


def observers(config: Config, figures: Figures) -> list[Placed]:
    """Those that the configuration asks for; they stand before all other plugins."""
    placed: list[Placed] = []
    if config.otel.endpoint:
        # Its packages are there only where somebody wants it.
        tracing = import_module("gatepost.metrics.tracing")
        tracer = tracing.Tracer(config.otel.endpoint, config.otel.service)
        placed.append((tracer, Placement("otel", "otel")))
    if config.metrics.address:
        placed.append((Meter(figures), Placement("metrics", "metrics")))
    trail = config.trail
    if trail.path is not None:
        recorder = Recorder(trail.path, config.plugins, keep=trail.seconds, size=trail.octets)
        placed.append((recorder, Placement("trail", "trail")))
    return placed
