"""`gatepost status`: what the running server is doing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from gatepost.cli.configuration import config_option
from gatepost.cli.running import ask_running


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print it as a JSON object.")
@config_option
def command(as_json: bool, config_file: Path) -> None:
    """Show what the running server does.

    That is its workers, their sessions, and since when they run.  The exit status is 1 when no
    server runs.
    """
    status = ask_running(config_file, "status")
    del status["say"]
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    for line in _lines(status):
        click.echo(line)


def _lines(status: dict[str, Any]) -> list[str]:
    workers = status["workers"]
    sessions = sum(worker["sessions"] for worker in workers)
    return [
        f"Runs since {_ago(status['started'])} (process {status['pid']}), "
        f"reloaded {_times(status['reloads'])}, workers that died: {status['replaced']}",
        f"Listens on {', '.join(status['addresses'])}",
        f"{_counted(len(workers), 'worker')}, {_counted(sessions, 'session')}",
        *(
            f"  {worker['pid']:>8}  {worker['state']:<9} {worker['sessions']:>6} sessions, "
            f"{worker['taken']} taken since {_ago(worker['started'])}"
            for worker in workers
        ),
    ]


def _ago(moment: float) -> str:
    """How long ago a moment was, in its two largest units."""
    seconds = max(0, int(time.time() - moment))  # the clock may have been set back
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts: list[str] = []
    for size, unit in units:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "now"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _times(number: int) -> str:
    return "never" if number == 0 else "once" if number == 1 else f"{number} times"
