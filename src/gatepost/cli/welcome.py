"""What a server says when it is up: where it listens, where mail goes, how to send some."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import click

from gatepost.cli.configuration import NEEDED, first_domain
from gatepost.config import Config, SocketAddress
from gatepost.hooks.chain import Chain
from gatepost.plugins.queue.maildir import Maildir
from gatepost.visible import visible

#: Addresses that mean all that the machine has, and one of them.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # told from others, not listened on


def welcome(config: Config, addresses: Sequence[SocketAddress]) -> None:
    """Say it on standard output; `addresses` are where it listens, ports known."""
    for line in _lines(config, addresses):
        click.echo(visible(line))


def _lines(config: Config, addresses: Sequence[SocketAddress]) -> Iterator[str]:
    yield f"Gatepost {version('gatepost')} takes mail as {config.hostname}"
    for listen, address in zip(config.listen, addresses, strict=True):
        yield f"Listening on {address} ({listen.name}, {listen.protocol})"
    turns = Chain(config.plugins).turns
    for hook, fate in NEEDED.items():
        if not turns[hook]:
            yield f"No plugin speaks on {hook}: {fate}"
    maildirs = [plugin.path for plugin, _ in config.plugins if isinstance(plugin, Maildir)]
    for path in maildirs:
        yield f"Mail goes to {_short(path)}"
    if maildirs and (line := first_mail(config, addresses)):
        yield "Send a first mail with"
        yield f"  {line}"


def first_mail(config: Config, addresses: Sequence[SocketAddress]) -> str:
    """A command line that sends a mail, with nothing but Python; empty when none can be told."""
    domain = first_domain(config)
    for listen, address in zip(config.listen, addresses, strict=True):
        if domain and listen.protocol == "smtp" and address.path is None:
            host = _ANY.get(address.host, address.host)
            # The name is given, for to find one out may take the system some seconds.
            return (
                f"python3 -c \"import smtplib; smtplib.SMTP('{host}', {address.port}, 'localhost')"
                f".sendmail('anne@client.example', 'bob@{domain}', "
                "'Subject: Hello\\n\\nHow are you?\\n')\""
            )
    return ""


def _short(path: Path) -> str:
    """A path as one would type it here; services are in the root, where it is written out."""
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") or Path.cwd() == Path("/") else here
