"""The log for people: one line an event, whatever is in it."""

from __future__ import annotations

import io
import logging
import re

import pytest

from gatepost.log.record import TEXT_LIMIT
from gatepost.log.set_up import log_to
from gatepost.log.text_lines import DATE_AND_TIME, TIME_OF_DAY, TextLines


def line(
    message: str,
    *values: object,
    level: int = logging.INFO,
    moment: str = TIME_OF_DAY,
    colour: bool = False,
) -> str:
    record = logging.LogRecord("gatepost", level, "file.py", 1, message, values, None)
    return TextLines(moment, colour=colour).format(record)


def test_an_event_is_a_line_behind_the_time() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d a sees b", line("%s sees %s", "a", "b"))


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (DATE_AND_TIME, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} gone"),
        ("", "gone"),
    ],
)
def test_who_looks_back_sees_the_date_and_who_has_it_already_sees_no_time(
    moment: str, shown: str
) -> None:
    assert re.fullmatch(shown, line("gone", moment=moment))


def test_the_time_goes_on() -> None:
    lines = TextLines("%S")
    record = logging.LogRecord("gatepost", logging.INFO, "file.py", 1, "tick", None, None)
    record.created = 1_000_000_000.9
    first = lines.format(record)
    record.created += 0.2
    assert (first, lines.format(record)) == ("40 tick", "41 tick")


def test_only_trouble_is_called_by_its_level() -> None:
    assert line("too slow", level=logging.WARNING)[9:] == "warning: too slow"
    assert line("broken", level=logging.ERROR)[9:] == "error: broken"


def test_a_client_forges_no_line_and_commands_no_terminal() -> None:
    hello = "a\r\n12:00:00 root accepts \x1b[31m %s %d {}"
    assert line("%s greets", hello)[9:] == r"a\r\n12:00:00 root accepts \x1b[31m %s %d {} greets"


def test_colour_is_around_the_line_and_not_in_it() -> None:
    shown = line("\x1b[1mbold", level=logging.ERROR, colour=True)
    assert r"\x1b[1mbold" in shown
    assert shown.startswith("\x1b[2m")


def test_a_line_ends_somewhere() -> None:
    assert len(line("%s", "long " * TEXT_LIMIT, moment="")) == TEXT_LIMIT + len("...")


def test_an_exception_is_told_on_the_same_line_with_where_it_came_from() -> None:
    stream = io.StringIO()
    log_to(stream, logging.INFO)
    try:
        try:
            int("seven\n")
        except ValueError as error:
            error.add_note("counting failed")
            raise RuntimeError("no number") from error
    except RuntimeError:
        logging.getLogger("gatepost.test").exception("dnsbl failed on %s", "rcpt")
    told = stream.getvalue()
    assert told.count("\n") == 1
    assert "error: dnsbl failed on rcpt: RuntimeError: no number (" in told
    assert r"invalid literal for int() with base 10: 'seven\n', counting failed (" in told
    assert f"{__file__}:" in told


def test_events_below_the_level_are_not_told() -> None:
    stream = io.StringIO()
    log_to(stream, logging.WARNING)
    logging.getLogger("gatepost").info("somebody connected")
    assert stream.getvalue() == ""
    assert not logging.getLogger("gatepost").isEnabledFor(logging.INFO)
