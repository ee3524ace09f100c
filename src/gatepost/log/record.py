"""What an event of `logging` says: its text on one line, its session, its fields."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping

from gatepost.identifier import SESSION_ID

#: Characters of one event's text; what is beyond them is left out.
TEXT_LIMIT = 8192

#: Exceptions of one event that are explained: the last, and what it came from.
_CAUSES = 3
#: Where a complete event keeps its session.
_SESSION = "gatepost_session"


def completed(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of an event that says the same at any time and in any thread.

    Its `msg` is the whole text, exceptions included.
    """
    copy = record.__class__.__new__(record.__class__)
    copy.__dict__.update(record.__dict__)
    copy.msg, copy.args = text_of(record), None
    copy.exc_info = copy.exc_text = copy.stack_info = None
    copy.__dict__[_SESSION] = SESSION_ID.get()
    return copy


def text_of(record: logging.LogRecord) -> str:
    """The text of an event, its exceptions included; it may hold any character.

    The session that is being answered is put in front of a text that does not name it.
    """
    text = record.getMessage()
    session = _session(record)
    if session and session not in text:
        text = f"{session} {text}"
    if record.exc_info and record.exc_info[1] is not None:
        text = ": ".join((text, *_explained(record.exc_info[1])))
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}..."


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What an event says beside its text: its session, its name, and the fields that go with it."""
    told = record.__dict__
    fields, event = told.get("fields"), told.get("event")
    known: dict[str, object] = {}
    if session := _session(record):
        known["session"] = session
    if isinstance(event, str):
        known["event"] = event
    if isinstance(fields, Mapping):
        known.update(fields)
    return known


def _session(record: logging.LogRecord) -> str:
    session: str | None = record.__dict__.get(_SESSION)
    return SESSION_ID.get() if session is None else session


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
