"""`gatepost reload`: what the server makes of its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from click.testing import Result

from gatepost.processes.channel import Told

Running: TypeAlias = Callable[..., tuple[Result, list[Told]]]


def test_new_workers_have_taken_over(running: Running) -> None:
    result, asked = running("reload", answer={"say": "done", "complaints": []})
    assert asked == [{"say": "reload"}]
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Reloaded\n", "")


def test_what_is_wrong_is_said_line_by_line(running: Running) -> None:
    complaints = [f"gatepost.toml:{line}: unknown option '\x1b[2J'" for line in range(2000)]
    result, _ = running("reload", answer={"say": "done", "complaints": complaints})
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 2000
    assert lines[-1].startswith("gatepost.toml:1999: unknown option ")
    assert "\x1b" not in result.stderr
