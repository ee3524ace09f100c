"""What an event says: its text on one line, its session, its fields."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest

from gatepost.identifier import SESSION_ID
from gatepost.log.record import TEXT_LIMIT, completed, fields_of, text_of


def record(text: object, *values: object, **extra: Any) -> logging.LogRecord:
    log = logging.getLogger("gatepost.test")
    return log.makeRecord(log.name, logging.INFO, "", 0, text, values, None, extra=extra)


@contextmanager
def answering(session: str) -> Iterator[None]:
    """A session has its turn."""
    token = SESSION_ID.set(session)
    try:
        yield
    finally:
        SESSION_ID.reset(token)


def failure(error: BaseException) -> logging.LogRecord:
    """An event that tells of an exception."""
    event = record("dnsbl failed")
    try:
        raise error
    except BaseException:
        event.exc_info = sys.exc_info()
    return event


def test_whoever_logs_while_a_session_is_answered_names_it() -> None:
    event = record("dnsbl failed on %s", "rcpt")
    assert (text_of(event), fields_of(event)) == ("dnsbl failed on rcpt", {})
    with answering("k2x8"):
        assert text_of(event) == "k2x8 dnsbl failed on rcpt"
        assert fields_of(event) == {"session": "k2x8"}


def test_a_text_that_names_its_session_is_left_alone() -> None:
    with answering("k2x8"):
        assert text_of(record("%s.1: delivered", "k2x8")) == "k2x8.1: delivered"


def test_what_an_event_says_itself_counts_for_more() -> None:
    with answering("k2x8"):
        told = fields_of(record("gone", event="session", fields={"session": "other", "size": 1}))
    assert told == {"event": "session", "session": "other", "size": 1}


def test_a_complete_event_says_the_same_later_and_elsewhere() -> None:
    values = ["rcpt"]
    with answering("k2x8"):
        complete = completed(record("dnsbl failed on %s", values, fields={"size": 1}))
    values.append("data")
    for context in (Context(), Context()):
        assert context.run(text_of, complete) == "k2x8 dnsbl failed on ['rcpt']"
    with answering("other"):
        assert text_of(complete) == "k2x8 dnsbl failed on ['rcpt']"
        assert fields_of(complete) == {"session": "k2x8", "size": 1}


def test_a_complete_event_has_its_exception_in_its_text() -> None:
    event = failure(ValueError("no licence"))
    complete = completed(event)
    assert complete.exc_info is None
    assert complete.getMessage() == text_of(event)
    assert event.exc_info is not None, "the event itself is left as it was"


def test_an_event_of_which_no_session_was_the_cause_stays_without() -> None:
    complete = completed(record("reloaded"))
    with answering("k2x8"):
        assert text_of(complete) == "reloaded"
        assert fields_of(complete) == {}


def test_of_a_long_chain_of_exceptions_the_last_are_told() -> None:
    error = ValueError("first")
    for number in range(5):
        try:
            raise ValueError(f"then {number}") from error
        except ValueError as caught:
            error = caught
    text = text_of(failure(error))
    assert [f"then {number}" in text for number in range(5)] == [False, False, True, True, True]


def test_an_exception_that_was_handled_is_not_told() -> None:
    try:
        try:
            raise KeyError("handled")
        except KeyError:
            raise ValueError("told") from None
    except ValueError as error:
        text = text_of(failure(error))
    assert "told" in text
    assert "handled" not in text


def test_neither_the_code_nor_its_variables_are_told() -> None:
    password = "hunter2"
    try:
        raise ValueError(f"{len(password)} characters")
    except ValueError as error:
        text = text_of(failure(error))
    assert "7 characters" in text
    assert "hunter2" not in text
    assert "raise" not in text


def test_a_text_ends_somewhere_exceptions_included() -> None:
    assert len(text_of(failure(ValueError("x" * TEXT_LIMIT)))) == TEXT_LIMIT + len("...")


def test_no_exception_under_way_is_none() -> None:
    event = record("as usual")
    event.exc_info = (None, None, None)
    assert text_of(event) == "as usual"


@pytest.mark.parametrize("values", [("a", "b"), ()])
def test_what_does_not_fit_into_a_text_is_the_teller_s_mistake(values: tuple[str, ...]) -> None:
    event = record("%d", *values)
    if values:
        with pytest.raises(TypeError):
            text_of(event)
    else:
        assert text_of(event) == "%d"
