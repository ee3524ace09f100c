"""`gatepost why`: what was decided about a message, an address or a client, and by whom."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import islice
from pathlib import Path
from shutil import get_terminal_size

import click

from gatepost.archive.clues import of_network, of_recipient, of_sender
from gatepost.archive.conclusions import Word
from gatepost.archive.reading import Archive, CannotRead, Found
from gatepost.cli.archive_file import archive_path, open_or_complain
from gatepost.cli.complaint import complain
from gatepost.cli.configuration import config_option
from gatepost.cli.criteria import bare
from gatepost.cli.explanation import Explanation
from gatepost.cli.wording import local_time
from gatepost.visible import visible

_ID = re.compile(r"(?P<session>[0-9a-z]{12})(?:\.(?P<message>[0-9]{1,9}))?")
_INDENT = "   "
_COLOURS: dict[Word, str] = {"accepted": "green", "refused": "red", "deferred": "yellow"}


@click.command("why")
@click.argument("what", metavar="ID|ADDRESS|IP")
@click.option(
    "-n",
    "--limit",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Explain so many at most, the latest.",
)
@config_option
def command(what: str, limit: int, config_file: Path) -> None:
    """Explain what was decided, and why.

    Sessions and messages are found by their id (mwsd6dic19vw, mwsd6dic19vw.2), by an address of
    the sender or a recipient (bob@example.org; <> is the null path), or by the client's IP address
    or network (192.0.2.1, 2001:db8::/32).  The newest is explained first.  The exit status is 1
    when nothing is known.
    """
    with open_or_complain(archive_path(config_file)) as archive:
        try:
            found = list(islice(_found(archive, what), limit))
            if not found:
                complain(_nothing(archive, what))
            for one in found:
                _explain(archive, one, bare(what).lower())
        except CannotRead as error:
            complain(str(error))


def _found(archive: Archive, what: str) -> Iterator[Found]:
    """The records that are meant."""
    if match := _ID.fullmatch(what):
        message = match["message"]
        found = archive.of_session(match["session"])
        return (one for one in found if message is None or one.record.message == int(message))
    try:
        return archive.newest([of_network(ip_network(what, strict=False))])
    except ValueError:
        pass
    address = bare(what)
    if what != "<>" and "@" not in address and address.lower() != "postmaster":
        raise click.UsageError(f"{what!r} is no id, no address and no IP address")
    return archive.newest([of_sender(address), of_recipient(address)])


def _nothing(archive: Archive, what: str) -> str:
    begins = archive.begins
    since = "it is empty" if begins is None else f"it begins at {local_time(begins)}"
    return f"Nothing about {what} is in the trail; {since}"


def _explain(archive: Archive, found: Found, about: str) -> None:
    plugins = archive.configuration(found.configuration)
    explanation = Explanation(found.record, plugins, frozenset([about]))
    headline, *others = map(visible, explanation.sentences())
    click.secho(_wrapped(headline), fg=_COLOURS.get(explanation.word))
    for sentence in others:
        click.echo(_wrapped(sentence, indent=_INDENT))
    click.echo()


def _wrapped(text: str, indent: str = "") -> str:
    """The text as a paragraph on a terminal; elsewhere on one line, for other programs."""
    if not sys.stdout.isatty():
        return f"{indent}{text}"
    width = get_terminal_size().columns
    return click.wrap_text(text, width, initial_indent=indent, subsequent_indent=_INDENT)
