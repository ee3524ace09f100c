"""`gatepost init`: write a first configuration, with a plugin as an example."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

import click

from gatepost.cli.complaint import complain
from gatepost.cli.self_signed import make_pair
from gatepost.config import own_hostname

#: The files of the demonstration, as they lie beside this one and will lie in the directory.
_CONFIGURATION = "gatepost.toml"
_FILES = (_CONFIGURATION, "plugins/no_sales.py", "plugins/no_sales.smtp")

#: A certificate and its key.
_PAIR = ("tls/cert.pem", "tls/key.pem")

_ADVICE = """\
{configuration} is there already, and left as it is; this makes it use the certificate:

    [tls]
    certificate = "tls/cert.pem"
    key = "tls/key.pem"

and `tls = "starttls"` or `tls = "implicit"` in a [[listen]] table"""


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--tls", is_flag=True, help="Make a self-signed certificate to try TLS with.")
def command(directory: Path, *, tls: bool) -> None:
    """Write a first configuration and an example.

    They go into DIRECTORY; the example is a plugin with its test.

    Nothing is overwritten: where a file is there already and says something else, none is written
    and the exit status is 1.  With --tls, a directory that has a configuration of its own gets
    a certificate and nothing else.
    """
    try:
        contents = _contents(directory, tls=tls)
        if taken := [path for path, content in contents.items() if _is_other(path, content)]:
            complain(*(f"{path} is there already; nothing was written" for path in taken))
        for path, content in contents.items():
            _write(path, content)
    except OSError as error:
        complain(f"{error.filename or directory}: {error.strerror}")
    configuration = directory / _CONFIGURATION
    if configuration not in contents:
        click.echo(_ADVICE.format(configuration=configuration))
        return
    where = "" if directory.resolve() == Path.cwd() else f"cd {directory} && "
    click.echo(f"`{where}gatepost serve` takes mail with it")


def _contents(directory: Path, *, tls: bool) -> dict[Path, bytes]:
    """What is to be there afterwards."""
    contents = {directory / name: _content(name) for name in _FILES}
    if not tls:
        return contents
    configuration = directory / _CONFIGURATION
    contents[configuration] = _with_tls(contents[configuration])
    if _is_other(configuration, contents[configuration]):
        contents = {}
    return contents | _pair(directory)


def _pair(directory: Path) -> dict[Path, bytes]:
    """A certificate and its key: those that are there, or new ones."""
    paths = [directory / name for name in _PAIR]
    if all(path.exists() for path in paths):
        return {path: path.read_bytes() for path in paths}
    return dict(zip(paths, make_pair(own_hostname()), strict=True))


def _with_tls(configuration: bytes) -> bytes:
    """The configuration with those lines in force that are marked as left out."""
    return re.sub(rb"^#(?=[^ ])", b"", configuration, flags=re.MULTILINE)


def _write(path: Path, content: bytes) -> None:
    if path.exists():
        click.echo(f"{path} is there already, and the same")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if path.match(_PAIR[1]) else 0o666
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    click.echo(f"Wrote {path}")


def _content(name: str) -> bytes:
    return files("gatepost.cli").joinpath("demonstration", *name.split("/")).read_bytes()


def _is_other(path: Path, content: bytes) -> bool:
    """Whether a file is there that says something else."""
    return path.exists() and path.read_bytes() != content
