"""Observation: what observers put around the methods of all plugins, to measure or trace them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module

from gatepost.hooks.chain import Method, Observe
from gatepost.hooks.placement import Placement
from gatepost.metrics.figures import Figures
from gatepost.metrics.meter import Meter
from gatepost.metrics.timing import timing
from gatepost.plugin import Plugin


def observation(observers: Iterable[tuple[Plugin, Placement]], figures: Figures) -> Observe | None:
    """What the chain is to put around methods where these observe; None: nothing."""
    around: list[Observe] = []
    for plugin, placement in observers:
        if isinstance(plugin, Meter):
            around.append(timing(figures))
        elif placement.use == "otel":  # whose packages are there only where somebody wants it
            around.append(import_module("gatepost.metrics.tracing").tracing(plugin))
    return _one_around_another(around) if around else None


def _one_around_another(several: Sequence[Observe]) -> Observe:
    def observe(hook: str, plugin: str, method: Method) -> Method:
        for one in several:
            method = one(hook, plugin, method)
        return method

    return observe
