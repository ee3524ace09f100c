"""What is kept of decisions and results, and that it comes back as it was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Decision, Defer, Deny, Result
from gatepost.archive.records import (
    TEXT_LIMIT,
    Record,
    RecordedDecision,
    kept,
    recorded_decision,
    recorded_result,
)
from gatepost.verdict import Verdict

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=TEXT_LIMIT)
VERDICTS = st.one_of(
    st.builds(Accept, TEXTS),
    st.builds(Deny, TEXTS, st.sampled_from([None, 550]), st.sampled_from(["", "5.7.1"])),
    st.builds(Defer, TEXTS, st.sampled_from([None, 451]), st.sampled_from(["", "4.7.1"])),
    st.builds(Deny, disconnect=st.booleans()),
)


@given(VERDICTS, st.sampled_from([None, 0, 3]))
def test_a_verdict_comes_back_as_it_was(verdict: Verdict, recipient: int | None) -> None:
    decision = Decision("dnsbl", "rcpt", verdict, 0.25, "later", 2)
    json = msgspec.json.encode(recorded_decision(decision, recipient))
    back = msgspec.json.decode(json, type=RecordedDecision)
    assert back.as_verdict() == verdict
    assert (back.plugin, back.hook, back.seconds) == ("dnsbl", "rcpt", 0.25)
    assert (back.mode, back.message, back.recipient) == ("later", 2, recipient)


@pytest.mark.parametrize(
    ("verdict", "mode", "refuses"),
    [
        (Accept(), "enforce", False),
        (Deny(), "enforce", True),
        (Defer(), "enforce", True),
        (Deny(), "later", False),
        (Deny(), "report", False),
    ],
)
def test_what_has_no_effect_refuses_nothing(verdict: Verdict, mode: Any, refuses: bool) -> None:
    decision = Decision("dnsbl", "connect", verdict, 0.0, mode)
    assert recorded_decision(decision, None).refuses is refuses


def test_a_result_is_kept_whole() -> None:
    result = Result("spf", "fail", "no", "spf", "softfail", (("smtp.mailfrom", "a.example"),), 3)
    recorded = recorded_result(result)
    assert recorded.properties == (("smtp.mailfrom", "a.example"),)
    assert (recorded.outcome, recorded.word, recorded.message) == ("fail", "softfail", 3)


NONSENSE: Any = [5, None, object(), ("a",), [[1, 2, 3]]]


@pytest.mark.parametrize("value", NONSENSE)
def test_a_plugin_can_put_nonsense_into_a_result(value: Any) -> None:
    result = Result(value, value, value, value, value, value)
    record = Record(session="x", started=0.0, seconds=0.0, results=(recorded_result(result),))
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record


@given(st.text())
def test_whatever_is_kept_is_short_and_can_be_written(text: str) -> None:
    assert len(kept(text).encode()) <= 12 * TEXT_LIMIT
    if text.isascii() and len(text) <= TEXT_LIMIT:
        assert kept(text) == text


def test_a_long_text_is_cut() -> None:
    assert kept("x" * (TEXT_LIMIT + 1)) == "x" * (TEXT_LIMIT - 3) + "..."
    assert kept("x" * TEXT_LIMIT) == "x" * TEXT_LIMIT


def test_halves_of_characters_are_spelled_out() -> None:
    assert kept("a\udcffb") == "a\\udcffb"


@pytest.mark.parametrize(
    ("message", "messages", "decisions", "tells"),
    [
        (0, 0, (), True),
        (1, 0, (), True),
        (0, 2, (), False),
        (0, 2, (RecordedDecision("a", "noop", "accept"),), False),
        (0, 2, (RecordedDecision("a", "auth", "deny"),), True),
    ],
)
def test_a_session_whose_messages_stand_elsewhere_tells_nothing(
    message: int, messages: int, decisions: tuple[RecordedDecision, ...], tells: bool
) -> None:
    record = Record(
        session="x",
        message=message,
        messages=messages,
        started=0.0,
        seconds=0.0,
        decisions=decisions,
    )
    assert record.tells is tells
