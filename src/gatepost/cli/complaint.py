"""How a command gives up: it says why on standard error, and exits with 1."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from gatepost.cli.visible import visible


def complain(*complaints: str) -> NoReturn:
    """Say all that is wrong, one line each, and leave."""
    for complaint in complaints:
        click.secho(visible(complaint), err=True, fg="red")
    sys.exit(1)
