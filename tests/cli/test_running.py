"""How commands ask the server that runs: which one, and what is said where there is no answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

from gatepost.processes.channel import Told

Gatepost: TypeAlias = Callable[..., Result]
Running: TypeAlias = Callable[..., tuple[Result, list[Told]]]

COMMANDS = ["reload", "status", "stop"]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_server_runs(command: str, gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").write_text("unknown = 1\n")  # that it is unsound is no matter here
    result = gatepost(command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"no server runs that keeps its state in {tmp_path}/state\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_of_another_version(command: str, running: Running) -> None:
    result, _ = running(command, answer={"say": "unknown"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr == f"the server that runs is of another version, and knows no '{command}'\n"
    )


def test_the_rest_of_the_configuration_need_not_be_sound(running: Running, tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_text(path.read_text() + "workers = -1\ncolour = 5\n")
    result, _ = running("stop", answer={"say": "done"})
    assert result.exit_code == 0


def test_the_configuration_may_be_another_one(running: Running, tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").rename(tmp_path / "other.toml")
    result, _ = running("stop", "-c", "other.toml", answer={"say": "done"})
    assert result.exit_code == 0


def test_a_configuration_that_is_no_toml_does_not_say_where_the_server_is(
    gatepost: Gatepost, tmp_path: Path
) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_text('state = "elsewhere"\nworkers = = 2\n')
    nobody, doubt = gatepost("reload", "-c", str(path)).stderr.splitlines()
    assert nobody == f"no server runs that keeps its state in {tmp_path}/state"
    assert doubt.startswith(f"{path}: ")
    assert "line 2" in doubt


def test_nor_does_one_that_is_nested_too_deep(gatepost: Gatepost, tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_text(f"x = {'[' * 100_000}")
    result = gatepost("stop", "-c", str(path))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1].startswith(f"{path}: ")


def test_nor_does_one_that_is_not_there(gatepost: Gatepost, tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    doubts = gatepost("status", "-c", str(path)).stderr.splitlines()[1:]
    assert doubts == [f"{path}: cannot be read: No such file or directory"]
