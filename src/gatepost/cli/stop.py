"""`gatepost stop`: end the running server."""

from __future__ import annotations

from pathlib import Path

import click

from gatepost.cli.configuration import config_option
from gatepost.cli.running import ask_running


@click.command("stop")
@config_option
def command(config_file: Path) -> None:
    """End the running server; messages under way may be finished."""
    ask_running(config_file, "stop")
    click.echo("It takes no more clients, and ends when messages under way are finished")
