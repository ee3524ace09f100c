"""How a command gives up: it says why on standard error, and exits with 1."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from gatepost.visible import visible


def complain(*complaints: str) -> NoReturn:
    """Say all that is wrong, one line each, and leave."""
    for complaint in complaints:
        click.secho(visible(complaint), err=True, fg="red")
    sys.exit(1)


def startup_complaint(error: Exception) -> str:
    """Which plugin keeps the server from starting, and why."""
    who = ", ".join(getattr(error, "__notes__", ())) or "the server cannot start"
    return f"{who}: {type(error).__name__}: {error}"
