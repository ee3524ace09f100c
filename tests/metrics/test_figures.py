"""The figures of one process: what is declared, what is counted, and that they stay few."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.metrics import table
from gatepost.metrics.figures import MOST_VALUES, Figures, Values
from gatepost.metrics.table import (
    HOOK_SECONDS,
    LAG,
    LIMITS_HIT,
    MEMORY,
    MESSAGES,
    OPEN_CONNECTIONS,
    STARTED,
    TABLE,
    WORKERS,
    Figure,
)

A_HISTOGRAM = Figure("gatepost_waits_seconds", "histogram", "Waits.", ("who",), (0.1, 1, 10))


# -- The table ------------------------------------------------------------------------------------


def test_every_figure_that_is_declared_is_in_the_table() -> None:
    declared = [value for value in vars(table).values() if isinstance(value, Figure)]
    assert declared == list(TABLE)
    assert len({figure.name for figure in TABLE}) == len(TABLE)


@pytest.mark.parametrize("figure", TABLE, ids=lambda figure: figure.name)
def test_a_figure_is_named_as_prometheus_wants_it(figure: Figure) -> None:
    assert re.fullmatch(r"gatepost(_[a-z]+)+", figure.name)
    assert figure.name.endswith("_total") == (figure.kind == "counter")
    assert all(re.fullmatch(r"[a-z]+", label) and label != "le" for label in figure.labels)
    assert figure.help.isprintable()
    assert "\\" not in figure.help
    assert figure.help.endswith(".")


@pytest.mark.parametrize("figure", TABLE, ids=lambda figure: figure.name)
def test_a_figure_is_what_its_kind_can_be(figure: Figure) -> None:
    assert bool(figure.bounds) == (figure.kind == "histogram")
    assert sorted(set(figure.bounds)) == list(figure.bounds)
    assert figure.kind == "gauge" or figure.across == "sum"
    assert figure.kind != "gauge" or not figure.labels  # `Figures.watch` knows none


# -- Counting -------------------------------------------------------------------------------------


def test_what_has_no_labels_is_there_from_the_start() -> None:
    snapshot = Figures(clock=lambda: 1700000000.5).snapshot()
    assert set(snapshot) == {figure.name for figure in TABLE}
    assert snapshot[WORKERS.name] == {"": [1]}
    assert snapshot[STARTED.name] == {"": [1700000000.5]}
    assert snapshot[LAG.name] == {"": [0] * LAG.width}
    assert snapshot[MESSAGES.name] == {}


def test_counters_count_by_their_labels() -> None:
    figures = Figures()
    figures[MESSAGES].add("mx", "accepted")
    figures[MESSAGES].add("mx", "accepted")
    figures[MESSAGES].add("mx", "refused", by=3)
    assert figures.snapshot()[MESSAGES.name] == {
        'listener="mx",outcome="accepted"': [2],
        'listener="mx",outcome="refused"': [3],
    }


def test_a_bound_belongs_to_its_bucket() -> None:
    values = Values(A_HISTOGRAM)
    observe = values.observer("anne")
    for value in (0, 0.1, 0.125, 1, 10, 10.5, 1000):
        observe(value)
    assert values.snapshot() == {'who="anne"': [2, 2, 1, 2, 1021.725]}


@given(st.lists(st.integers(0, 2000)))
def test_a_histogram_loses_nothing(measured: list[int]) -> None:
    values = Values(A_HISTOGRAM)
    observe = values.observer("anne")
    for value in measured:
        observe(value)
    *buckets, total = values.snapshot()['who="anne"']
    assert sum(buckets) == len(measured)
    assert total == sum(measured)
    for place, bound in enumerate(A_HISTOGRAM.bounds):
        assert sum(buckets[: place + 1]) == sum(value <= bound for value in measured)


def test_two_who_measure_the_same_share_the_numbers() -> None:
    values = Values(A_HISTOGRAM)
    values.observer("anne")(5)
    values.observer("anne")(5)
    assert values.snapshot() == {'who="anne"': [0, 0, 2, 0, 10]}


def test_labels_are_as_many_as_are_declared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Values(MESSAGES).add("mx")


# -- They stay few --------------------------------------------------------------------------------


def test_no_figure_grows_without_an_end() -> None:
    figures = Figures()
    for number in range(MOST_VALUES + 50):
        figures[LIMITS_HIT].add(f"limit {number}")
    figures[LIMITS_HIT].add("limit 7")
    counted = figures.snapshot()[LIMITS_HIT.name]
    assert len(counted) == MOST_VALUES + 1
    assert counted['limit="limit 7"'] == [2]
    assert counted['limit="other"'] == [50]


def test_a_histogram_does_not_grow_without_an_end_either() -> None:
    figures = Figures()
    for number in range(MOST_VALUES + 2):
        figures[HOOK_SECONDS].observer("mail", f"plugin {number}")(0.0)
    measured = figures.snapshot()[HOOK_SECONDS.name]
    assert measured['hook="other",plugin="other"'][0] == 2


# -- Gauges, and snapshots ------------------------------------------------------------------------


def test_a_gauge_is_read_for_each_snapshot() -> None:
    figures = Figures()
    readings = iter([5.0, 3.0])
    figures.watch(OPEN_CONNECTIONS, lambda: next(readings))
    assert [figures.snapshot()[OPEN_CONNECTIONS.name][""][0] for _ in range(2)] == [5, 3]


def test_what_cannot_be_read_stays_as_it_was() -> None:
    def read() -> float:
        raise OSError("too many open files")

    figures = Figures()
    figures[MEMORY].set(4096)
    figures.watch(MEMORY, read)
    assert figures.snapshot()[MEMORY.name] == {"": [4096]}


def test_a_snapshot_does_not_change_afterwards() -> None:
    figures = Figures()
    figures[MESSAGES].add("mx", "accepted")
    observe = figures[LAG].observer()
    before = figures.snapshot()
    text = json.dumps(before)
    figures[MESSAGES].add("mx", "accepted")
    figures[MESSAGES].add("mx", "refused")
    observe(1)
    assert json.dumps(before) == text
    assert figures.snapshot() != before


@given(st.tuples(st.text(), st.text()))
def test_a_snapshot_is_fit_for_json(labels: tuple[str, str]) -> None:
    figures = Figures()
    figures[MESSAGES].add(*labels)
    figures[HOOK_SECONDS].observer(*labels)(0.25)
    snapshot = figures.snapshot()
    assert json.loads(json.dumps(snapshot)) == snapshot


def test_a_figure_is_itself_and_nobody_else() -> None:
    assert replace(MESSAGES) != MESSAGES
