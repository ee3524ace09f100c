"""An event of `logging`, made complete where it happened, so that any thread can write it later."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

#: The id of the session that is being answered; empty: none is.
SESSION_ID: ContextVar[str] = ContextVar("gatepost_session", default="")

#: Characters of one event's text, and of its exceptions; what is beyond them is left out.
TEXT_LIMIT = 8192

#: Exceptions of one event that are explained: the last, and what it came from.
_CAUSES = 3
_COMPLETE = "gatepost_complete"


def completed(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of an event that refers to nothing which may change, and that needs no formatting.

    Its `msg` is the whole text, its `exc_text` the exceptions on one line.  A text that does not
    name the session which is being answered has it put in front.
    """
    told = record.__dict__
    if _COMPLETE in told:
        return record
    copy = record.__class__.__new__(record.__class__)
    copy.__dict__.update(told)
    fields = told.get("fields")
    fields = dict(fields) if isinstance(fields, Mapping) else {}
    text = record.getMessage()
    session = SESSION_ID.get()
    if session:
        fields.setdefault("session", session)
        if session not in text:
            text = f"{session} {text}"
    copy.msg, copy.args = _shortened(text), None
    if record.exc_info and record.exc_info[1] is not None:
        copy.exc_text = _shortened(": ".join(_explained(record.exc_info[1])))
    copy.exc_info = copy.stack_info = None
    copy.__dict__.update({"fields": fields, _COMPLETE: True})
    return copy


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What a complete event says beside its text: the session, the event's name and its fields."""
    told = record.__dict__
    fields: dict[str, object] = told["fields"]
    event = told.get("event")
    return {"event": event} | fields if isinstance(event, str) else fields


def whole_text(record: logging.LogRecord) -> str:
    """The text of a complete event, with its exceptions; it may hold any character."""
    return f"{record.msg}: {record.exc_text}" if record.exc_text else str(record.msg)


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}..."


def _explained(error: BaseException) -> Iterator[str]:
    """An exception, then those that it came from."""
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if cause is None:
            return
        frames = traceback.walk_tb(cause.__traceback__)
        path = " > ".join(f"{frame.f_code.co_filename}:{line}" for frame, line in frames)
        notes = "".join(f", {note}" for note in getattr(cause, "__notes__", ()))
        yield f"{type(cause).__name__}: {cause}{notes} ({path})"
        cause = cause.__cause__
