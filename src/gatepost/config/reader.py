"""From the text of a configuration to a Config, or to every complaint about it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatepost.config.complaints import Complaints, ConfigError
from gatepost.config.log import read_log
from gatepost.config.metrics import read_metrics
from gatepost.config.otel import read_otel
from gatepost.config.sections import read_dns, read_limits, read_listeners, read_plugins
from gatepost.config.settings import Config, Listen, StrayLineEnds, is_hostname, own_hostname
from gatepost.config.tls import read_tls
from gatepost.config.trail import TrailSettings, read_trail
from gatepost.hooks.loader import Loaded
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import fill, resolved_path

#: The state directory of a configuration that names none, and what is kept of decisions in there.
STATE = "state"
TRAIL = "trail.sqlite"

_AT_LINE = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.S
)


@dataclass(slots=True)
class _File:
    """The first level of the file."""

    hostname: str = field(default_factory=own_hostname)
    plugin_directories: tuple[Path, ...] = ()
    stray_line_ends: StrayLineEnds = "refuse"
    listen: list[dict[str, object]] = field(default_factory=list)
    limits: dict[str, object] = field(default_factory=dict)
    dns: dict[str, object] = field(default_factory=dict)
    authserv_id: str = ""
    workers: int = 0
    user: str = ""
    group: str = ""
    state: Path | None = None
    drain: float = 60.0
    grace: float = 10.0
    log: dict[str, object] = field(default_factory=dict)
    trail: dict[str, object] = field(default_factory=dict)  # see `trail_in`
    metrics: dict[str, object] = field(default_factory=dict)
    otel: dict[str, object] = field(default_factory=dict)
    tls: dict[str, object] = field(default_factory=dict)
    plugin: list[dict[str, object]] = field(default_factory=list)


def load_config(path: Path) -> Config:
    """Read a configuration file.  Raises ConfigError with all that is wrong with it."""
    return parse_config(config_text(path), path=path)


def config_text(path: Path) -> str:
    """The text of a configuration file.  Raises ConfigError where it cannot be read."""
    try:
        octets = path.read_bytes()
    except FileNotFoundError as error:
        hint = "`gatepost init` writes a first configuration"
        raise ConfigError([f"{path}: there is no such file; {hint}"]) from error
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8"]) from error


def state_directory(path: Path) -> Path:
    """Where the server with this configuration keeps its state, even if the rest is not sound."""
    directory = path.absolute().parent
    try:
        named = tomllib.loads(path.read_text("utf-8-sig")).get("state")
        return resolved_path(named, directory) if isinstance(named, str) else directory / STATE
    except (OSError, ValueError, RecursionError):  # Misfit is a ValueError
        return directory / STATE


def parse_config(text: str, *, path: Path, with_plugins: bool = True) -> Config:
    """Read the text of a configuration that stands, or might stand, at `path`.

    Paths in it start at the directory of `path`.  Without its plugins, their tables are not looked
    at and none of their code is run.  Raises ConfigError with all that is wrong.
    """
    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError([_syntax_complaint(str(error), text, path)]) from error
    except RecursionError as error:
        raise ConfigError([f"{path}: lists or tables are nested too deep"]) from error
    complaints = Complaints()
    directory = path.absolute().parent
    config = _read(table, directory, complaints, with_plugins=with_plugins)
    if complaints:
        raise complaints.located(path, text)
    return config


def _read(
    table: Mapping[str, object], directory: Path, complaints: Complaints, *, with_plugins: bool
) -> Config:
    """The configuration; it is of use only if there are no complaints afterwards."""
    values, wrong = fill(table, declared_options(_File), directory)
    complaints.take(wrong)
    file = _File(**values)
    _check(file, complaints)
    listeners: tuple[Listen, ...] = ()
    if "listen" in values or "listen" not in table:
        listeners = read_listeners(
            file.listen, directory, complaints, has_certificates="tls" in table
        )
    all_sound = len(listeners) == len(file.listen)
    plugins = read_plugins(
        file.plugin if with_plugins else (),
        complaints,
        directory=directory,
        directories=file.plugin_directories,
        listeners=[listener.name for listener in listeners] if all_sound else [],
    )
    return Config(
        hostname=file.hostname,
        plugin_directories=file.plugin_directories,
        listen=listeners,
        limits=read_limits(file.limits, complaints),
        dns=read_dns(file.dns, complaints),
        stray_line_ends=file.stray_line_ends,
        authserv_id=file.authserv_id,
        workers=file.workers,
        user=file.user,
        group=file.group,
        state=file.state or directory / STATE,
        drain=file.drain,
        grace=file.grace,
        tls=read_tls(file.tls, directory, complaints),
        **_observed(file, table, directory, complaints, plugins=plugins),
        plugins=plugins,
        directory=directory,
    )


def _observed(
    file: _File,
    table: Mapping[str, object],
    directory: Path,
    complaints: Complaints,
    *,
    plugins: tuple[Loaded, ...],
) -> dict[str, Any]:
    """What is written down of the server's work, and told to those who watch it."""
    all_known = len(plugins) == len(file.plugin)
    return {
        "log": read_log(file.log, directory, complaints, plugins=plugins if all_known else None),
        "trail": trail_in(table, directory, file.state or directory / STATE, complaints),
        "metrics": read_metrics(file.metrics, directory, complaints),
        "otel": read_otel(file.otel, complaints),
    }


def trail_in(
    table: Mapping[str, object], directory: Path, state: Path, complaints: Complaints
) -> TrailSettings:
    """What a whole configuration says of [trail]; a file that is not named is in `state`."""
    told = table.get("trail")
    if not isinstance(told, dict):
        return TrailSettings()
    settings = read_trail(told, directory, complaints)
    return settings if "path" in told else replace(settings, path=state / TRAIL)


def _check(file: _File, complaints: Complaints) -> None:
    if not is_hostname(file.hostname):
        text = "option 'hostname' must be a domain in ASCII, or an address in brackets"
        complaints.add(f"{text}, not {file.hostname!r}", "hostname")
    for option, least in (("workers", 0), ("drain", 0), ("grace", 0)):
        if getattr(file, option) < least:
            complaints.add(f"option {option!r} must be {least} or more", option)
    if not (is_hostname(file.authserv_id) or file.authserv_id == ""):
        text = "option 'authserv_id' must be a domain in ASCII, or none"
        complaints.add(f"{text}, not {file.authserv_id!r}", "authserv_id")
    for directory in file.plugin_directories:
        if not directory.is_dir():
            text = f"option 'plugin_directories': {directory} is no directory"
            complaints.add(text, "plugin_directories")


def _syntax_complaint(error: str, text: str, path: Path) -> str:
    match = _AT_LINE.fullmatch(error)
    if match is None:
        return f"{path}: {error}"
    return f"{path}:{match['line'] or text.rstrip().count(chr(10)) + 1}: {match['what']}"
