"""What the tests of commands share: a directory to work in, and the commands themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner, Result

from gatepost.cli import main
from gatepost.processes.channel import Told
from gatepost.processes.control import ControlSocket


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
def running(
    gatepost: Callable[..., Result], tmp_path: Path
) -> Iterator[Callable[..., tuple[Result, list[Told]]]]:
    """Runs a command while a server answers so; its outcome, and what the server was asked."""
    with TemporaryDirectory() as state:  # its path is short enough for a socket's
        (tmp_path / "gatepost.toml").write_text(f'state = "{state}"\n')

        async def serve(arguments: Sequence[str], answer: Told) -> tuple[Result, list[Told]]:
            asked: list[Told] = []

            async def answering(told: Told) -> Told:
                asked.append(told)
                return answer

            control = ControlSocket(Path(state), answering)
            await control.open()
            try:
                return await asyncio.to_thread(gatepost, *arguments), asked
            finally:
                control.close()

        yield lambda *arguments, answer: asyncio.run(serve(arguments, answer))


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., None]:
    """Writes a configuration with a listener, and what follows."""

    def write(text: str, *, listen: str = '[[listen]]\naddress = "127.0.0.1:0"\n') -> None:
        hostname = 'hostname = "mx.example"\nplugin_directories = ["."]\n'
        (tmp_path / "gatepost.toml").write_text(f"{hostname}{listen}{text}")

    return write
