"""`gatepost plugins`: all that can be used, and what each does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from gatepost.cli.columns import show_columns
from gatepost.cli.configuration import config_option, plugin_directories
from gatepost.cli.docstring import label_of
from gatepost.hooks.loader import LoadError, available_plugins, find_plugin


@click.command("plugins")
@config_option
def command(config_file: Path) -> None:
    """List the plugins that can be used.

    These are the bundled ones, the files in the configuration's `plugin_directories`, and those
    that other installed packages announce.
    """
    directories = plugin_directories(config_file)
    show_columns(sorted(_rows(directories)), ("cyan", "dim", ""))


def _rows(directories: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    for name, source in available_plugins(directories).items():
        if os.path.isabs(source):
            source = os.path.relpath(source)
        try:
            label = label_of(find_plugin(name, directories))
        except LoadError as error:
            label = f"cannot be used: {error}"
        yield name, source, label
