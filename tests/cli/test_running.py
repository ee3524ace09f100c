"""Commands that ask the server which runs, where none does."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gatepost.cli import main


def complaints(word: str, path: Path) -> list[str]:
    """What a command says on standard error."""
    outcome = CliRunner().invoke(main, [word, "-c", str(path)])
    assert outcome.exit_code == 1
    return outcome.stderr.splitlines()


@pytest.mark.parametrize("word", ["reload", "status", "stop"])
def test_nobody_is_where_the_configuration_says(word: str, tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_text('state = "elsewhere"\nunknown = 1\n')  # that it is unsound is no matter here
    assert complaints(word, path) == [
        f"no server runs that keeps its state in {tmp_path}/elsewhere"
    ]


def test_a_configuration_that_is_no_toml_does_not_say_where_the_server_is(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    path.write_text('state = "elsewhere"\nworkers = = 2\n')
    nobody, doubt = complaints("reload", path)
    assert nobody == f"no server runs that keeps its state in {tmp_path}/state"
    assert doubt.startswith(f"{path}: ")
    assert "line 2" in doubt


def test_nor_does_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gatepost.toml"
    assert complaints("status", path)[1:] == [f"{path}: cannot be read: No such file or directory"]
