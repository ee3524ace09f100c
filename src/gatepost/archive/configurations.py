"""Configurations: which plugins there were, with which options, so that a decision is explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import islice
from typing import Any

import msgspec

from gatepost.address import Address
from gatepost.entries import Entries
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.placement import Placement
from gatepost.hooks.replies import DECISIONS
from gatepost.plugin import Plugin

#: Items of a list, and characters of a text, that are told of an option.
ITEMS = 5
CHARACTERS = 200

#: What stands before the host of an address of the web, of a database or the like.
_USERINFO = re.compile(r"//[^/?#\s]*@")
#: What is told of every plugin in another way.
_SAID_ELSEWHERE = frozenset({"use", "name"})


class PlacedPlugin(msgspec.Struct, frozen=True, omit_defaults=True):
    """One [[plugin]] table."""

    name: str
    use: str
    #: the options that say other than their defaults, as TOML spells them
    options: dict[str, str] = {}
    placement: dict[str, str] = {}  #: of the keys that every plugin has, the same
    hooks: tuple[str, ...] = ()  #: on which it may decide
    listeners: tuple[str, ...] = ()  #: where it is asked; empty: everywhere
    unless: tuple[str, ...] = ()  #: whom it does not judge
    may_fail: bool = False  #: its failures are ignored (`on_error`)


#: The plugins in their order.
Configuration = tuple[PlacedPlugin, ...]


def configuration_of(plugins: Iterable[tuple[Plugin, Placement]]) -> Configuration:
    """What is told of plugins; what they declare with `repr=False` stays a secret."""
    return tuple(_placed_plugin(plugin, placement) for plugin, placement in plugins)


def spelled(value: object) -> str:
    """A value as TOML spells it; of what is long, the beginning."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, re.Pattern):
        value = value.pattern
    if isinstance(value, Address):
        value = value.mailbox
    if is_dataclass(value) and not isinstance(value, type):
        return _table(_told(value))
    if isinstance(value, Mapping):
        return _table((str(key), spelled(item)) for key, item in value.items())
    if isinstance(value, AbstractSet):
        return _list(sorted(map(spelled, value)))
    if isinstance(value, tuple | list | Entries):
        return _list([*map(spelled, islice(value, ITEMS))], len(value))
    text = _USERINFO.sub("//***@", str(value))
    if len(text) > CHARACTERS:
        text = f"{text[: CHARACTERS - 3]}..."
    return json.dumps(text, ensure_ascii=False)


def _placed_plugin(plugin: Plugin, placement: Placement) -> PlacedPlugin:
    return PlacedPlugin(
        name=placement.name or placement.use,
        use=placement.use,
        options=dict(_told(plugin)),
        placement={key: text for key, text in _told(placement) if key not in _SAID_ELSEWHERE},
        hooks=tuple(hook for hook in DECISIONS if _speaks(plugin, hook)),
        listeners=placement.listeners,
        unless=placement.unless,
        may_fail=placement.on_error == "ignore",
    )


def _speaks(plugin: Plugin, hook: str) -> bool:
    return getattr(type(plugin), hook) is not getattr(Plugin, hook)


def _told(owner: Any) -> Iterator[tuple[str, str]]:
    """The fields of a dataclass that are no secret and say other than their defaults."""
    if not is_dataclass(owner):
        return
    declared = declared_options(type(owner))
    for field in fields(owner):
        if field.name in declared and field.repr:
            text = spelled(getattr(owner, field.name))
            if text != _default(field):
                yield field.name, text


def _default(field: Field[Any]) -> str | None:
    if field.default is not MISSING:
        return spelled(field.default)
    return None if field.default_factory is MISSING else spelled(field.default_factory())


def _list(items: list[str], count: int | None = None) -> str:
    """Some items in brackets; `count` is how many there are, if those are not all."""
    left = max(len(items) if count is None else count, len(items)) - ITEMS
    more = [f"and {left} more"] if left > 0 else []
    return f"[{', '.join([*items[:ITEMS], *more])}]"


def _table(pairs: Iterable[tuple[str, str]]) -> str:
    told = [f"{key} = {text}" for key, text in islice(pairs, ITEMS + 1)]
    if len(told) > ITEMS:
        told[ITEMS] = "and more"
    return f"{{ {', '.join(told)} }}" if told else "{}"
