"""What the tests of commands share: a directory to work in, and the commands themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gatepost.cli import main


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    root.setLevel(level)


@pytest.fixture
def gatepost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command; `typed` comes on standard input."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, typed: str | bytes = "") -> Result:
        return CliRunner().invoke(main, arguments, input=typed, catch_exceptions=False)

    return run


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., None]:
    """Writes a configuration with a listener, and what follows."""

    def write(text: str, *, listen: str = '[[listen]]\naddress = "127.0.0.1:0"\n') -> None:
        hostname = 'hostname = "mx.example"\nplugin_directories = ["."]\n'
        (tmp_path / "gatepost.toml").write_text(f"{hostname}{listen}{text}")

    return write
