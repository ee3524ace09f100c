"""`gatepost sessions`: which messages and sessions there were, one line each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path

import click
import msgspec

from gatepost.archive.conclusions import conclusion_of
from gatepost.archive.reading import Archive, CannotRead, Found
from gatepost.archive.records import Record
from gatepost.cli.archive_file import archive_path, open_or_complain
from gatepost.cli.columns import show_columns
from gatepost.cli.complaint import complain
from gatepost.cli.configuration import config_option
from gatepost.cli.criteria import Criteria, criteria_options
from gatepost.cli.wording import listed, local_time, outcome, paths
from gatepost.config.trail import seconds_of
from gatepost.trail import LIMITS


def _seconds(_: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


@click.command("sessions")
@click.option(
    "--since",
    "seconds",
    metavar="DURATION",
    callback=_seconds,
    help="Not older than this: '2 hours'.",
)
@criteria_options
@click.option(
    "-n",
    "--limit",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Show so many at most, the latest.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a line.")
@config_option
def command(
    criteria: Criteria, seconds: int | None, limit: int, as_json: bool, config_file: Path
) -> None:
    """List messages, and sessions without one.

    The newest stands first.  Options that are combined must all apply.  With --json, each line
    holds all that is recorded, without what is empty.
    """
    with open_or_complain(archive_path(config_file)) as archive:
        try:
            found = list(islice(_found(archive, criteria, seconds), limit))
        except CannotRead as error:
            complain(str(error))
    if as_json:
        for one in found:
            click.echo(_json(one.record))
    elif found:
        show_columns([_row(one.record) for one in found], ("dim", "cyan"))


def _found(archive: Archive, criteria: Criteria, seconds: int | None) -> Iterator[Found]:
    found = archive.newest(*([clue] for clue in criteria.clues))
    if seconds is not None:
        since = time.time() - seconds
        found = takewhile(lambda one: one.written >= since, found)
    return (one for one in found if criteria.cover(one.record))


def _row(record: Record) -> tuple[str, ...]:
    sender = f"<{record.sender}>" if record.message else ""
    count = len(record.recipients) + record.more_recipients
    to = listed(paths(record.recipients[:1]), count) if count else ""
    who = record.client or "unix"
    return local_time(record.started), record.id, who, sender, to, outcome(record)


def _json(record: Record) -> str:
    """The record with what became of it; all that is not ASCII is escaped."""
    conclusion = conclusion_of(record)
    limit = LIMITS if conclusion.limit else ""
    settled = conclusion.decision.plugin if conclusion.decision else limit
    told = {"id": record.id, "outcome": conclusion.word, "settled_by": settled}
    return json.dumps({**told, **msgspec.to_builtins(record), "reply": conclusion.reply})
