"""The configuration that a command works with: the option `-c`, and what follows from it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import cast

import click

from gatepost.cli.complaint import complain
from gatepost.config import Config, ConfigError, Listen, load_config
from gatepost.hooks.loader_values import Misfit, convert
from gatepost.hooks.loader_words import did_you_mean
from gatepost.plugins.rcpt.domains import Domains

#: The configuration of a command that is told of none.
USUAL = "gatepost.toml"
#: Hooks on which mail comes to an end when nobody speaks, and what becomes of it.
NEEDED = {"rcpt": "every recipient is refused", "queue": "every message is deferred"}

config_option = click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # what cannot be read is told with the rest
    default=USUAL,
    show_default=True,
    help="The configuration.",
)
listener_option = click.option(
    "--listener",
    "listener_name",
    metavar="NAME",
    help="The listener whose client this is; the first one when left out.",
)


def load_or_complain(path: Path) -> Config:
    """The configuration; one that cannot be used ends the command with every complaint."""
    try:
        return load_config(path)
    except ConfigError as error:
        complain(*error.complaints)


def listener_named(config: Config, name: str | None) -> Listen:
    """The [[listen]] table of that name, or else the first; ConfigError for an unknown name."""
    if name is None:
        return config.listen[0]
    by_name = {listen.name: listen for listen in config.listen}
    if name not in by_name:
        raise ConfigError([f"there is no listener {name!r}{did_you_mean(name, by_name)}"])
    return by_name[name]


def first_domain(config: Config) -> str:
    """A domain that mail is taken for; empty when none can be told."""
    listed = (plugin.domains for plugin, _ in config.plugins if isinstance(plugin, Domains))
    domains = (domain for domains in listed for domain in domains)
    return next((domain for domain in domains if not domain.startswith(".")), "")


def plugin_directories(path: Path) -> tuple[Path, ...]:
    """Where a configuration has its plugins that are files, whatever else is wrong with it.

    None where the usual configuration is not there; another one that is not ends the command.
    """
    if path == Path(USUAL) and not path.exists():
        return ()
    try:
        table = tomllib.loads(path.read_text("utf-8-sig"))
        named = table.get("plugin_directories", [])
        directories = convert(named, tuple[Path, ...], path.absolute().parent)
    except OSError as error:
        complain(f"{path}: cannot be read: {error.strerror}")
    except Misfit as misfit:
        complain(f"{path}: option 'plugin_directories'{misfit.faults[0]}")
    except (ValueError, RecursionError) as error:
        complain(f"{path}: {error}")
    return cast(tuple[Path, ...], directories)
