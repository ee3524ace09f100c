"""`gatepost init`: write a first configuration, with a plugin as an example."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from gatepost.cli.complaint import complain

#: The files of the demonstration, as they lie beside this one and will lie in the directory.
_FILES = ("gatepost.toml", "plugins/no_sales.py", "plugins/no_sales.smtp")


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def command(directory: Path) -> None:
    """Write a first configuration and an example.

    They go into DIRECTORY; the example is a plugin with its test.

    Nothing is overwritten: where a file is there already and says something else, none is written
    and the exit status is 1.
    """
    contents = {directory / name: _content(name) for name in _FILES}
    try:
        if taken := [path for path, content in contents.items() if _is_other(path, content)]:
            complain(*(f"{path} is there already; nothing was written" for path in taken))
        for path, content in contents.items():
            _write(path, content)
    except OSError as error:
        complain(f"{error.filename or directory}: {error.strerror}")
    where = "" if directory.resolve() == Path.cwd() else f"cd {directory} && "
    click.echo(f"`{where}gatepost serve` takes mail with it")


def _write(path: Path, content: bytes) -> None:
    if path.exists():
        click.echo(f"{path} is there already, and the same")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    click.echo(f"Wrote {path}")


def _content(name: str) -> bytes:
    return files("gatepost.cli").joinpath("demonstration", *name.split("/")).read_bytes()


def _is_other(path: Path, content: bytes) -> bool:
    """Whether a file is there that says something else."""
    return path.exists() and path.read_bytes() != content
