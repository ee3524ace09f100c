"""The archive that a command looks into: which file it is, and how it is opened."""

from __future__ import annotations

import tomllib
from pathlib import Path

from gatepost.archive.reading import Archive, CannotRead
from gatepost.cli.complaint import complain
from gatepost.config.complaints import Complaints
from gatepost.config.reader import state_directory, trail_in


def archive_path(config_file: Path) -> Path:
    """Where the server with this configuration keeps its trail, even if the rest is not sound.

    A configuration that has none ends the command.
    """
    try:
        text = config_file.read_text("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as error:
        complain(f"{config_file}: cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        complain(f"{config_file}: {error}")
    complaints = Complaints()
    directory = config_file.absolute().parent
    settings = trail_in(table, directory, state_directory(config_file), complaints)
    if complaints:
        complain(*complaints.located(config_file, text).complaints)
    if settings.path is None:
        complain(f"{config_file}: no trail is kept: write a table [trail]")
    return settings.path


def open_or_complain(path: Path) -> Archive:
    """The archive; one that cannot be read ends the command."""
    try:
        return Archive(path)
    except CannotRead as error:
        complain(str(error))
