"""The dashboard for Grafana: it shows figures that there are, and all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from gatepost.metrics.exposition import exposition
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import TABLE, Figure

FILE = Path(__file__).parents[2] / "packaging" / "grafana-dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

#: The name under which each of a figure's series is asked for.
SERIES: dict[str, Figure] = {
    figure.name + suffix: figure
    for figure in TABLE
    for suffix in (("_bucket", "_sum", "_count") if figure.kind == "histogram" else ("",))
}
#: Labels that Prometheus adds to what it fetches.
ADDED = {"job", "instance"}
#: Units of Grafana that fit what is shown.
UNITS = {"cps", "Bps", "bytes", "percentunit", "s", "short"}

_NAME = re.compile(r"\bgatepost_[a-z_]+")
_SELECTED = re.compile(r'([a-z]+)\s*(?:=~|!=|=)\s*"')
_GROUPED = re.compile(r"\bby \(([a-z, ]+)\)")


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def labels_in(expression: str) -> Iterator[str]:
    yield from _SELECTED.findall(expression)
    for group in _GROUPED.findall(expression):
        yield from group.split(", ")


def test_the_names_of_series_are_those_that_are_exposed() -> None:
    figures = Figures()
    for figure in TABLE:
        if figure.kind == "histogram":
            figures[figure].observer(*figure.labels)(1)
        else:
            figures[figure].add(*figure.labels)
    exposed = re.findall(r"^(gatepost\w+)[{ ]", exposition(figures.snapshot()), re.M)
    assert set(exposed) == set(SERIES)


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_what_there_is(expression: str) -> None:
    names = _NAME.findall(expression)
    assert names
    assert set(names) <= set(SERIES)
    known = {label for name in names for label in SERIES[name].labels} | ADDED
    if any(name.endswith("_bucket") for name in names):
        known.add("le")
    assert set(labels_in(expression)) <= known


@pytest.mark.parametrize("expression", expressions())
def test_what_only_grows_is_shown_as_a_rate(expression: str) -> None:
    for name in _NAME.findall(expression):
        is_rate = f"rate({name}{{" in expression
        assert is_rate == (SERIES[name].kind != "gauge")
    assert expression.count("[$__rate_interval]") == expression.count("rate(")
    assert ("histogram_quantile" in expression) == ("_bucket" in expression)
    assert expression.count("(") == expression.count(")")


def test_every_figure_is_shown() -> None:
    shown = {SERIES[name].name for text in expressions() for name in _NAME.findall(text)}
    assert shown == {figure.name for figure in TABLE}


def test_every_panel_says_what_it_is() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith((".", ")."))
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    titles = [(panel["type"], panel["title"]) for panel in PANELS]
    assert len(set(titles)) == len(titles)


def test_panels_have_room() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_what_is_chosen_above_is_asked_for() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(DASHBOARD)))
    assert used == variables
    assert all('job=~"$job", instance=~"$instance"' in text for text in expressions())
