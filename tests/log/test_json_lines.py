"""The log for programs: one object an event, on one line, whatever is in it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from gatepost.log.json_lines import JsonLines


def record(
    text: str, *values: object, level: int = logging.INFO, **extra: object
) -> logging.LogRecord:
    log = logging.getLogger("gatepost.test")
    return log.makeRecord(log.name, level, "file.py", 1, text, values, None, extra=extra)


def facts(event: logging.LogRecord) -> dict[str, Any]:
    line = JsonLines().format(event)
    assert line.isprintable()
    told: dict[str, Any] = json.loads(line)
    return told


def test_an_event_says_when_how_severe_by_whom_and_what() -> None:
    event = record("%s is slow", "dnsbl", level=logging.WARNING)
    event.created = 1_000_000_000.25
    assert facts(event) == {
        "time": "2001-09-09T01:46:40.250Z",
        "level": "warning",
        "logger": "gatepost.test",
        "text": "dnsbl is slow",
    }


def test_the_time_goes_on() -> None:
    lines, event = JsonLines(), record("tick")
    times = []
    for event.created in (1_000_000_000.999, 1_000_000_001.0):
        times.append(json.loads(lines.format(event))["time"])
    assert times == ["2001-09-09T01:46:40.999Z", "2001-09-09T01:46:41.000Z"]


def test_its_name_and_its_fields_stand_beside_that_with_their_types() -> None:
    fields = {"session": "s1", "message": "s1.2", "size": 12, "seconds": 0.5, "to": ["a", "b"]}
    told = facts(record("queued", event="message", fields=fields))
    assert told["event"] == "message"
    assert {name: told[name] for name in fields} == fields


def test_no_field_takes_the_place_of_what_every_event_says() -> None:
    told = facts(record("true", fields={"text": "false", "level": "false", "time": "false"}))
    assert (told["text"], told["level"]) == ("true", "info")
    assert "false" not in told.values()


@pytest.mark.parametrize("event", [5, None, ["message"], object()])
@pytest.mark.parametrize("fields", [5, None, "session", [1]])
def test_what_is_no_event_and_no_fields_is_left_out(event: object, fields: object) -> None:
    told = facts(record("as usual", event=event, fields=fields))
    assert told.keys() == {"time", "level", "logger", "text"}


@pytest.mark.parametrize(
    "hello",
    [
        'a\r\n{"level":"error"}',
        "\x1b[31m red \x9b31m",
        "\u202erebmun",
        "\u2028 line \u2029",
        "nul \0 del \x7f",
        "\U000e0041 tag",
        "bücher",
        "%s {} {0.__class__} %(name)s",
    ],
)
def test_a_value_comes_out_as_it_went_in(hello: str) -> None:
    assert facts(record("%s", hello, fields={"hello": hello}))["hello"] == hello


def test_the_text_is_fit_for_a_terminal_even_when_it_has_been_decoded() -> None:
    assert facts(record("%s", "a\x1b[2J\nb"))["text"] == r"a\x1b[2J\nb"


def test_half_a_character_is_spelled_out_wherever_it_stands() -> None:
    fields = {"hello": "\udcff", "to": ["\ud800x"], "more": {"k\udc80": ("\udfff",)}}
    told = facts(record("%s", "\udcfe", fields=fields))
    assert told["text"] == r"\udcfe"
    assert told["hello"] == r"\udcff"
    assert told["to"] == [r"\ud800x"]
    assert told["more"] == {r"k\udc80": [r"\udfff"]}


def test_values_that_json_does_not_know_are_told_as_texts() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd\udcff"

    fields = {"odd": Odd(), "number": 2**70, "key": {(1, 2): None}, "set": {"one"}, "no": False}
    told = facts(record("odd", fields=fields))
    assert told["odd"] == r"odd\udcff"
    assert told["key"] == {"(1, 2)": None}
    assert told["set"] == ["one"]
    assert told["no"] is False
    assert told["number"] == 2**70


def test_an_exception_stands_in_the_text() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        event = record("failed")
        event.exc_info = (ValueError, error, error.__traceback__)
    assert facts(event)["text"].startswith(r"failed: ValueError: a\nb (")
