"""The table [log]: what is logged, in which form, and where it goes."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from gatepost.config.complaints import Complaints
from gatepost.hooks.finder import explained
from gatepost.hooks.loader import Complaint, Loaded
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import fill, resolved_path
from gatepost.hooks.loader_words import did_you_mean

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

#: What the journal of the server logs by: plugins' decisions (each below it by the plugin's name),
#: what else happens to a session, a line about each message, and one about each session.
PLUGIN_LOGGER: Final = "gatepost.plugin"
CONNECTION_LOGGER: Final = "gatepost.connection"
MESSAGE_LOGGER: Final = "gatepost.message"
SESSION_LOGGER: Final = "gatepost.session"

_JOURNAL = (PLUGIN_LOGGER, CONNECTION_LOGGER, MESSAGE_LOGGER, SESSION_LOGGER)
#: Targets that have a name of their own.
_NAMED = ("stderr", "syslog", "journald")
_LEVELS: Final = get_args(Level)
_CLASS = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The table [log].

    Raises ValueError, naming an option, for settings that do not go together.
    """

    #: `stderr`, `syslog`, `journald`, the path of a file, or a `logging.Handler` as `module:Class`
    target: str = "stderr"
    #: `text`: a line for people; `json`: an object on a line, for programs
    format: Literal["text", "json"] = "text"
    level: Level = "info"  #: what is less severe is not logged
    #: the level of one plugin by its name, or of one logger: `{ dnsbl = "debug" }`
    levels: Mapping[str, Level] = field(default_factory=dict)
    #: what the constructor of a `module:Class` is given, by the names of its parameters
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.options and not is_class(self.target):
            raise ValueError("option 'options' is of no use without target = \"module:Class\"")
        if self.format == "json" and self.target == "journald":
            raise ValueError(
                "option 'format' is of no use with target = \"journald\", which keeps each fact "
                "in a field of its own"
            )


def is_class(target: str) -> bool:
    """Whether a target is the name of a class."""
    return _CLASS.fullmatch(target) is not None


def handler_class(target: str) -> type[logging.Handler]:
    """The class that a target names.  Raises ValueError where it is none, or cannot be imported."""
    match = _CLASS.fullmatch(target)
    assert match is not None, f"{target} names no class"
    try:
        kind = getattr(import_module(match["module"]), match["name"], None)
    except Exception as error:  # a module may raise whatever it likes
        raise ValueError(explained(error, target)) from error
    if isinstance(kind, type) and issubclass(kind, logging.Handler):
        return kind
    what = "is not there" if kind is None else "does not derive from logging.Handler"
    raise ValueError(f"{target}: {match['name']} {what}")


def read_log(
    table: Mapping[str, object],
    directory: Path,
    complaints: Complaints,
    *,
    plugins: Sequence[Loaded] | None,
) -> LogSettings:
    """The table [log]; that of an empty one where it is complained of.

    A relative path starts at `directory`.  In what is returned, `levels` has the names of loggers
    alone.  `plugins` are those that there are; None when that is not known.
    """
    values, wrong = fill(table, declared_options(LogSettings), directory)
    target = values.get("target", "stderr")
    try:
        values["target"] = target if target in _NAMED else _checked_target(target, directory)
    except ValueError as error:
        wrong.append(Complaint(f"option 'target'{error}", "target"))
    complaints.take(wrong, "log", section="log")
    levels: dict[str, Level] = {}
    unknown = list(_put_levels(levels, values.get("levels", {}), plugins))
    complaints.take(unknown, "log", "levels", section="log")
    if wrong or unknown:
        return LogSettings()
    try:
        settings = LogSettings(**values | {"levels": levels})
    except ValueError as error:
        complaints.add(f"log: {error}", "log", str(error).split("'")[1])  # they all begin with it
        return LogSettings()
    misfits = list(_misfits(settings))
    complaints.take(misfits, "log", "options", section="log")
    return LogSettings() if misfits else settings


# -- target ---------------------------------------------------------------------------------------


def _checked_target(text: str, directory: Path) -> str:
    """A path made absolute, or the name of a class that is there.

    Raises ValueError; its text goes on where `option 'target'` leaves off.
    """
    if is_class(text):
        try:
            handler_class(text)
        except ValueError as error:
            raise ValueError(f": {error}") from error
        return text
    if not ("/" in text or "." in text):
        hint = did_you_mean(text, _NAMED) or f'; a file in the same directory is "./{text}"'
        raise ValueError(
            f" must be {', '.join(_NAMED)}, a path or module:Class, not {text!r}{hint}"
        )
    path = resolved_path(text, directory)
    if path.is_dir():
        raise ValueError(f": {path} is a directory")
    if not path.parent.is_dir():
        raise ValueError(f": there is no directory {path.parent}")
    return str(path)


def _misfits(settings: LogSettings) -> Iterator[Complaint]:
    """What the constructor of a class would not take."""
    if not is_class(settings.target):
        return
    kind = handler_class(settings.target)
    try:
        signature = inspect.signature(kind)
    except ValueError:  # one that is written in C need not have any
        return
    known = [
        one.name for one in signature.parameters.values() if one.kind is not one.POSITIONAL_ONLY
    ]
    try:
        signature.bind(**settings.options)
    except TypeError as error:
        unknown = [option for option in settings.options if option not in known]
        for option in unknown:
            yield Complaint(f"unknown option {option!r}{did_you_mean(option, known)}", option)
        if not unknown:
            yield Complaint(f"option 'options': {settings.target}: {error}")


# -- levels ---------------------------------------------------------------------------------------


def _put_levels(
    levels: dict[str, Level], wanted: Mapping[str, Level], plugins: Sequence[Loaded] | None
) -> Iterator[Complaint]:
    """Find the loggers that are meant by names of plugins and of loggers.

    A plugin has two: that of its decisions, and that of its module, for what it says itself.  Where
    several plugins are of one module, the module's has the most talkative of their levels.
    """
    modules = {placement.name: type(plugin).__module__ for plugin, placement in plugins or ()}
    for name, level in wanted.items():
        if name in modules:
            loggers = [f"{PLUGIN_LOGGER}.{name}", modules[name]]
        elif plugins is None or _is_logger(name, modules):
            loggers = [name]
        else:
            hint = did_you_mean(name, (*modules, *_JOURNAL))
            text = f"option 'levels': there is no plugin and no module {name!r}{hint}"
            yield Complaint(text, name)
            continue
        for logger in loggers:
            levels[logger] = min(level, levels.get(logger, level), key=_LEVELS.index)


def _is_logger(name: str, plugins: Mapping[str, str]) -> bool:
    """Whether something may log by a name: the journal, or a module; of others' the first part."""
    if name in _JOURNAL or name.removeprefix(f"{PLUGIN_LOGGER}.") in plugins:
        return True
    package = name.partition(".")[0]
    try:
        return find_spec(name if package == "gatepost" else package) is not None
    except (ImportError, ValueError):
        return False
