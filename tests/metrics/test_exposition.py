"""The text for Prometheus, read by a parser that forgives nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.metrics.exposition import CONTENT_TYPE, exposition
from gatepost.metrics.figures import Figures
from gatepost.metrics.snapshots import merged
from gatepost.metrics.table import HOOK_SECONDS, LAG, MESSAGES, TABLE

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"(?P<name>{NAME})(?:\{{(?P<labels>.+)\}})? (?P<value>\S+)", re.S)
PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|\Z)')
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """One figure as it was read."""

    kind: str
    help: str
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def labels_of(text: str) -> Labels:
    found: list[tuple[str, str]] = []
    end = 0
    while end < len(text):
        match = PAIR.match(text, end)
        assert match, f"no label: {text[end:]!r}"
        assert (match[3] == ",") == (match.end() < len(text)), "a comma at the end"
        value = re.sub(r"\\.", lambda escape: ESCAPES[escape[0]], match[2])
        found.append((match[1], value))
        end = match.end()
    assert len({name for name, _ in found}) == len(found), "a label that stands twice"
    return frozenset(found)


def parse(text: str) -> dict[str, Family]:
    """Read the exposition format 0.0.4 as it is written, and nothing that is only like it."""
    families: dict[str, Family] = {}
    assert text.endswith("\n")
    lines = iter(text[:-1].split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            _, _, name, told = line.split(" ", 3)
            assert re.fullmatch(NAME, name)
            assert name not in families, f"{name} is not in one piece"
            hash_sign, word, same, kind = next(lines).split(" ")
            assert (hash_sign, word, same) == ("#", "TYPE", name)
            assert kind in ("counter", "gauge", "histogram")
            families[name] = family = Family(kind, told)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, f"no sample: {line!r}"
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        assert match["name"] in [name + suffix for suffix in suffixes]
        key = match["name"], labels_of(match["labels"] or "")
        assert key not in family.samples, "a sample that stands twice"
        family.samples[key] = float(match["value"])
    return families


def series(name: str, family: Family) -> Iterator[tuple[Labels, list[tuple[float, float]]]]:
    """The buckets of each value of a histogram, by its labels: bounds and cumulated counts."""
    by_labels: dict[Labels, list[tuple[float, float]]] = {}
    for (sample, labels), value in family.samples.items():
        if sample == f"{name}_bucket":
            bound = dict(labels)["le"]
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            by_labels.setdefault(rest, []).append((float(bound), value))
    yield from by_labels.items()


# -- The parser itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "# HELP a A.\n# TYPE a counter\na 1",
        "# HELP a A.\n# TYPE b counter\na 1\n",
        "# HELP a A.\n# TYPE a counter\nb 1\n",
        "# HELP a A.\n# TYPE a counter\na 1\na 1\n",
        '# HELP a A.\n# TYPE a counter\na{x="1",} 1\n',
        '# HELP a A.\n# TYPE a counter\na{x="1""} 1\n',
        '# HELP a A.\n# TYPE a counter\na{x="1\n"} 1\n',
        '# HELP a A.\n# TYPE a counter\na{x="\\t"} 1\n',
        "# HELP a A.\n# TYPE a counter\na{} 1\n",
        "# HELP a A.\n# TYPE a counter\na  1\n",
    ],
)
def test_the_parser_is_strict(text: str) -> None:
    with pytest.raises(AssertionError):
        parse(text)


# -- What is exposed ------------------------------------------------------------------------------


def test_every_figure_has_its_type_and_its_meaning() -> None:
    families = parse(exposition(Figures().snapshot()))
    assert list(families) == [figure.name for figure in TABLE]
    for figure in TABLE:
        assert (families[figure.name].kind, families[figure.name].help) == (
            figure.kind,
            figure.help,
        )


def test_it_reads_like_this() -> None:
    figures = Figures(clock=lambda: 1700000000.25)
    figures[MESSAGES].add("mx", "refused")
    figures[MESSAGES].add("mx", "accepted", by=2)
    text = exposition(figures.snapshot())
    assert (
        "# HELP gatepost_messages_total Messages whose end was answered.\n"
        "# TYPE gatepost_messages_total counter\n"
        'gatepost_messages_total{listener="mx",outcome="accepted"} 2\n'
        'gatepost_messages_total{listener="mx",outcome="refused"} 1\n'
    ) in text
    assert "\ngatepost_start_time_seconds 1700000000.25\n" in text


def test_a_histogram_is_cumulated() -> None:
    figures = Figures()
    observe = figures[HOOK_SECONDS].observer("mail", "spf")
    for seconds in (0.25, 0.25, 3600):
        observe(seconds)
    text = exposition(figures.snapshot())
    labels = 'hook="mail",plugin="spf"'
    assert f'gatepost_hook_seconds_bucket{{{labels},le="0.1"}} 0\n' in text
    assert f'gatepost_hook_seconds_bucket{{{labels},le="0.5"}} 2\n' in text
    assert f'gatepost_hook_seconds_bucket{{{labels},le="600.0"}} 2\n' in text
    assert f'gatepost_hook_seconds_bucket{{{labels},le="+Inf"}} 3\n' in text
    assert f"gatepost_hook_seconds_sum{{{labels}}} 3600.5\n" in text
    assert f"gatepost_hook_seconds_count{{{labels}}} 3\n" in text
    assert 'gatepost_event_loop_lag_seconds_bucket{le="0.001"} 0\n' in text


NASTY = st.text(st.sampled_from('a"\\\n\r,={}\x00\x1b\u2028é\ud800 ')) | st.text()


@given(st.lists(st.tuples(NASTY, NASTY)), st.lists(st.tuples(NASTY, st.floats(0, 1e6))))
def test_whatever_a_label_holds_comes_out_again(
    labels: list[tuple[str, str]], measured: list[tuple[str, float]]
) -> None:
    figures = Figures()
    for pair in labels:
        figures[MESSAGES].add(*pair)
    for plugin, seconds in measured:
        figures[HOOK_SECONDS].observer("mail", plugin)(seconds)
    octets = exposition(figures.snapshot()).encode()  # there are no lone surrogates left
    families = parse(octets.decode())

    def shown(text: str) -> str:
        return text.encode(errors="backslashreplace").decode()

    assert {key[1] for key in families[MESSAGES.name].samples} == {
        frozenset({("listener", shown(one)), ("outcome", shown(other))}) for one, other in labels
    }
    family = families[HOOK_SECONDS.name]
    for found, buckets in series(HOOK_SECONDS.name, family):
        assert [bound for bound, _ in buckets] == [*HOOK_SECONDS.bounds, math.inf]
        counts = [count for _, count in buckets]
        assert counts == sorted(counts)
        assert family.samples[f"{HOOK_SECONDS.name}_count", found] == counts[-1]
        plugin = dict(found)["plugin"]
        assert counts[-1] == sum(shown(name) == plugin for name, _ in measured)


@given(st.lists(st.tuples(NASTY, NASTY)))
def test_the_parser_of_prometheus_reads_the_same(labels: list[tuple[str, str]]) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="a development dependency")
    figures = Figures()
    for pair in labels:
        figures[MESSAGES].add(*pair)
        figures[HOOK_SECONDS].observer(*pair)(0.25)
    text = exposition(figures.snapshot())
    read = list(parser.text_string_to_metric_families(text))
    # It takes the suffix off the names of counters.
    assert [(one.name, one.type, one.documentation) for one in read] == [
        (figure.name.removesuffix("_total"), figure.kind, figure.help) for figure in TABLE
    ]
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for one in read
        for sample in one.samples
    }
    assert samples == {
        key: value for family in parse(text).values() for key, value in family.samples.items()
    }


def test_the_figures_of_all_that_are_gone_are_a_sound_text() -> None:
    families = parse(exposition(merged([])))
    assert not any(family.samples for family in families.values())
    assert families[LAG.name].kind == "histogram"


def test_what_it_is_called() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
