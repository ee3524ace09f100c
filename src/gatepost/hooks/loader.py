"""From one [[plugin]] table of the configuration to a plugin and its placement."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gatepost.hooks.finder import (
    LoadError,
    available_plugins,
    bundled_plugins,
    explained,
    find_plugin,
)
from gatepost.hooks.loader_declared import Declared, declared_options
from gatepost.hooks.loader_options import Option, options_of
from gatepost.hooks.loader_values import Complaint, fill
from gatepost.hooks.placement import Placement
from gatepost.plugin import HOOKS, Plugin

__all__ = [
    "Complaint",
    "LoadError",
    "Loaded",
    "Option",
    "available_plugins",
    "bundled_plugins",
    "find_plugin",
    "is_name",
    "load",
    "options_of",
]

_PLACEMENT = declared_options(Placement)


class Loaded(NamedTuple):
    """A plugin, and what its table says about it."""

    plugin: Plugin
    placement: Placement


def load(
    table: Mapping[str, object], *, directory: Path, directories: Sequence[Path]
) -> Loaded | list[Complaint]:
    """Build what one [[plugin]] table asks for, or say everything that is wrong with it.

    Relative paths start at `directory`, the configuration's; plugins that are files are looked for
    in `directories`.
    """
    placement = _placement(table, directory)
    plugin = _plugin(table, directory, directories)
    if isinstance(plugin, Plugin) and isinstance(placement, Placement):
        return Loaded(plugin, placement)
    told = [outcome for outcome in (placement, plugin) if isinstance(outcome, list)]
    return [complaint for complaints in told for complaint in complaints]


def _placement(table: Mapping[str, object], directory: Path) -> Placement | list[Complaint]:
    own = {key: value for key, value in table.items() if key in _PLACEMENT}
    values, complaints = fill(own, _PLACEMENT, directory)
    if not is_name(values.get("name", "unnamed")):
        complaints.append(Complaint("option 'name' must be of printable characters", "name"))
    if values.get("timeout", 1) <= 0:
        complaints.append(Complaint("option 'timeout' must be more than 0", "timeout"))
    if complaints:
        return _about(table, complaints)
    return Placement(**{"name": values["use"]} | values)


def _plugin(
    table: Mapping[str, object], directory: Path, directories: Sequence[Path]
) -> Plugin | list[Complaint]:
    use = table.get("use")
    if not isinstance(use, str):
        return []  # the placement has said it
    try:
        kind = find_plugin(use, directories)
        declared = _declared(kind, use)
    except LoadError as error:
        return [Complaint(str(error), "use")]
    own = {key: value for key, value in table.items() if key not in _PLACEMENT}
    values, complaints = fill(own, declared, directory, beside=_PLACEMENT)
    if complaints:
        return _about(table, [_with_decorator(kind, complaint) for complaint in complaints])
    try:
        return kind(**values)
    except ValueError as error:  # so a plugin refuses options that do not go together
        mentioned = [word for word in re.findall(r"\w+", str(error))[:2] if word in declared]
        return _about(table, [Complaint(str(error) or repr(error), *mentioned[:1])])
    except Exception as error:  # a plugin's constructor may raise whatever it likes
        return [Complaint(explained(error, use), "use")]


def _declared(kind: type[Plugin], use: str) -> Mapping[str, Declared]:
    """The plugin's options; LoadError for those that it must not have."""
    try:
        declared = declared_options(kind)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise LoadError(f"{use}: the type of an option of {kind.__name__}: {error}") from error
    for name in declared:
        if name in _PLACEMENT:
            raise LoadError(
                f"{use}: {kind.__name__} declares an option {name!r}, which every plugin has: "
                "give it another name"
            )
        if name in HOOKS:
            raise LoadError(
                f"{use}: {kind.__name__} declares an option {name!r}, which is a hook: "
                "give it another name"
            )
    return declared


def _with_decorator(kind: type[Any], complaint: Complaint) -> Complaint:
    """The complaint of an unknown option, explained where the plugin's author forgot something."""
    fields = [inspect.get_annotations(parent) for parent in kind.__mro__]
    if is_dataclass(kind) or not any(complaint.key in names for names in fields):
        return complaint
    text = f"option {complaint.key!r} is only an option with @dataclass above class {kind.__name__}"
    return Complaint(text, complaint.key)


def _about(table: Mapping[str, object], complaints: list[Complaint]) -> list[Complaint]:
    """The complaints with the plugin's name in front, as far as the table gives one."""
    names = (table.get("name"), table.get("use"), "plugin")
    name = next(name for name in names if isinstance(name, str) and is_name(name))
    return [Complaint(f"{name}: {complaint.text}", complaint.key) for complaint in complaints]


def is_name(text: str) -> bool:
    """Whether a text can be what a plugin or a listener is called in logs."""
    return text.isprintable() and bool(text.strip())
