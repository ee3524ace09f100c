"""`gatepost reload`: have the running server read its configuration again."""

from __future__ import annotations

from pathlib import Path

import click

from gatepost.cli.complaint import complain
from gatepost.cli.configuration import config_option
from gatepost.cli.running import ask_running


@click.command("reload")
@config_option
def command(config_file: Path) -> None:
    """Have the running server read its configuration again.

    New processes take over, and nobody is cut off.  A configuration that cannot be used changes
    nothing: what is wrong with it is said here and in the log, and the exit status is 1.
    """
    answer = ask_running(config_file, "reload")
    if answer["complaints"]:
        complain(*answer["complaints"])
    click.echo("Reloaded")
