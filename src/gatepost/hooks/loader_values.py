"""From what TOML says to the types that options declare; every misfit in words for people."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, is_dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from os import environ
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import msgspec

from gatepost.address import Address
from gatepost.entries import Entries
from gatepost.hooks.loader_declared import Declared, declared_options
from gatepost.hooks.loader_words import (
    choices,
    describe,
    did_you_mean,
    found,
    is_beyond_toml,
    must_be,
    plain,
)

#: Reads a value as a type; paths are relative to the directory.
Reader: TypeAlias = Callable[[object, Any, Path], object]

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_EXPECTED = re.compile(r"Expected `(?P<kind>\w+)`(?P<bound>[^,]*)(?:, got `\w+`)?")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a table of the configuration."""

    text: str
    key: str = ""  #: the option that it is about; empty: the table as a whole


class Misfit(ValueError):
    """A value that an option cannot take.

    Each fault goes on where `option 'zones'` leaves off: ` must be a list of strings, not 5`, or
    `: item 2 must be a string, not 5`.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults


def fill(
    table: Mapping[str, object],
    declared: Mapping[str, Declared],
    directory: Path,
    *,
    beside: Iterable[str] = (),
) -> tuple[dict[str, Any], list[Complaint]]:
    """The values of a table as the options declare them, and all that is wrong with it.

    Relative paths start at `directory`; `beside` names further options that stand in the same
    table and are read by somebody else, for suggestions.
    """
    values: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for key, value in table.items():
        if key not in declared:
            hint = did_you_mean(key, [*declared, *beside])
            complaints.append(Complaint(f"unknown option {key!r}{hint}", key))
            continue
        try:
            values[key] = convert(value, declared[key].kind, directory)
        except Misfit as misfit:
            complaints += [Complaint(f"option {key!r}{fault}", key) for fault in misfit.faults]
    complaints += [
        Complaint(f"option {key!r} is missing ({describe(option.kind)[0]})")
        for key, option in declared.items()
        if option.required and key not in table
    ]
    return values, complaints


def convert(value: object, kind: Any, directory: Path) -> object:
    """The value as the type wants it; a whole number passes for a float, nothing else is bent.

    Raises Misfit with every fault.
    """
    kind = plain(kind)
    origin = get_origin(kind) or kind
    other = _read_dataclass if is_dataclass(origin) else _read_foreign
    return _READERS.get(origin, other)(value, kind, directory)


def resolved_path(text: str, directory: Path) -> Path:
    """A path with its `$NAME` and `${NAME}` taken from the environment, relative to `directory`.

    Raises Misfit for a variable that is not set, for an empty path and for a NUL.
    """
    names = {match[1] or match[2] for match in _VARIABLE.finditer(text)}
    if missing := sorted(names - environ.keys()):
        raise Misfit(f" names ${missing[0]}, which is not set in the environment")
    expanded = _VARIABLE.sub(lambda match: environ[match[1] or match[2]], text)
    if not expanded or "\0" in expanded:
        raise Misfit(must_be(Path, repr(expanded)))
    return directory / expanded


# -- Kinds that hold others -----------------------------------------------------------------------


def _read_choice(value: object, kind: Any, directory: Path) -> object:
    inner: list[tuple[str, ...]] = []
    for choice in choices(kind):
        try:
            return convert(value, choice, directory)
        except Misfit as misfit:
            if not misfit.faults[0].startswith(must_be(choice)):
                inner.append(misfit.faults)
    if len(inner) == 1:  # this member was meant, and it knows better what is wrong
        raise Misfit(*inner[0])
    raise Misfit(must_be(kind, repr(value) if isinstance(value, str) else found(value)))


def _list_of(made: Callable[[Iterable[object]], object]) -> Reader:
    def read(value: object, kind: Any, directory: Path) -> object:
        if not isinstance(value, list):
            raise Misfit(must_be(kind, found(value)))
        kinds: Sequence[Any] = get_args(kind) or (Any,)
        if made is tuple and kinds[-1] is not ...:  # tuple[str, int]: a type for each place
            if len(kinds) != len(value):
                raise Misfit(f" must be a list of {len(kinds)} values, not of {len(value)}")
        else:
            kinds = [kinds[0]] * len(value)
        names = [f"item {place}" for place in range(1, len(value) + 1)]
        return made(_read_each(zip(names, value, kinds, strict=True), directory))

    return read


def _read_table(value: object, kind: Any, directory: Path) -> object:
    if not isinstance(value, dict):
        raise Misfit(must_be(kind, found(value)))
    inner = (get_args(kind) or (str, Any))[1]
    places = [(f"key {key!r}", item, inner) for key, item in value.items()]
    return dict(zip(value, _read_each(places, directory), strict=True))


def _read_each(places: Iterable[tuple[str, object, Any]], directory: Path) -> list[object]:
    items: list[object] = []
    faults: list[str] = []
    for place, item, kind in places:
        try:
            items.append(convert(item, kind, directory))
        except Misfit as misfit:
            faults += [f": {place}{fault}" for fault in misfit.faults]
    if faults:
        raise Misfit(*faults)
    return items


def _read_dataclass(value: object, kind: Any, directory: Path) -> object:
    if not isinstance(value, dict):
        raise Misfit(must_be(kind, found(value)))
    values, complaints = fill(value, declared_options(kind), directory)
    if complaints:
        raise Misfit(*(f": {complaint.text}" for complaint in complaints))
    try:
        return kind(**values)
    except ValueError as error:
        raise Misfit(f": {error}") from error


# -- Kinds that stand for themselves --------------------------------------------------------------


def _read_literal(value: object, kind: Any, directory: Path) -> object:
    known = get_args(kind)
    if any(value == choice and type(value) is type(choice) for choice in known):
        return value
    if not isinstance(value, str):
        raise Misfit(must_be(kind, found(value)))
    hint = did_you_mean(value, [choice for choice in known if isinstance(choice, str)])
    raise Misfit(must_be(kind, repr(value)) + hint)


def _read_path(value: object, kind: Any, directory: Path) -> Path:
    if not isinstance(value, str):
        raise Misfit(must_be(kind, found(value)))
    return resolved_path(value, directory)


def _read_entries(value: object, kind: Any, directory: Path) -> Entries:
    if isinstance(value, list):
        places = ((f"item {place}", item, str) for place, item in enumerate(value, 1))
        return Entries(str(item) for item in _read_each(places, directory))
    path = _read_path(value, kind, directory)
    try:
        return Entries.in_file(path)
    except OSError as error:
        raise Misfit(f" names a file that cannot be read: {path}: {error.strerror}") from error
    except ValueError as error:
        raise Misfit(f" names a file that cannot be read: {error}") from error


def _spelled(read: Callable[[str], object]) -> Reader:
    """A reader of what TOML spells as a string; `read` raises ValueError for a bad spelling."""

    def read_string(value: object, kind: Any, directory: Path) -> object:
        if not isinstance(value, str):
            raise Misfit(must_be(kind, found(value)))
        try:
            return read(value)
        except Misfit:
            raise
        except (ValueError, re.error) as error:
            raise Misfit(must_be(kind, repr(value))) from error

    return read_string


def _network(version: int) -> Callable[[str], object]:
    def read(text: str) -> object:
        network = ip_network(text, strict=False)
        if network.version != version:
            raise ValueError(f"{text} is of version {network.version}")
        try:
            return ip_network(text)
        except ValueError as error:
            raise Misfit(f" is {text!r}, an address inside a network: write '{network}'") from error

    return read


def _read_foreign(value: object, kind: Any, directory: Path) -> object:
    """Strings, numbers, and whatever else msgspec knows: dates, enumerations, bounded numbers."""
    if isinstance(value, int) and is_beyond_toml(value):
        raise Misfit(must_be(kind, found(value)))
    try:
        converted = msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        match = _EXPECTED.fullmatch(str(error))
        if match is None:
            raise Misfit(f" does not fit: {error}") from error
        words = f" must be a value{match['bound']}, not {found(value)}"
        raise Misfit(words if match["bound"] else must_be(kind, found(value))) from error
    if isinstance(converted, float) and not math.isfinite(converted):
        raise Misfit(must_be(kind, found(value)))
    return converted


def _read_anything(value: object, kind: Any, directory: Path) -> object:
    return value


_READERS: dict[Any, Reader] = {
    Any: _read_anything,
    object: _read_anything,
    Union: _read_choice,
    UnionType: _read_choice,
    Literal: _read_literal,
    list: _list_of(list),
    tuple: _list_of(tuple),
    Sequence: _list_of(list),
    Iterable: _list_of(list),
    set: _list_of(set),
    frozenset: _list_of(frozenset),
    Set: _list_of(frozenset),
    dict: _read_table,
    Mapping: _read_table,
    Path: _read_path,
    Entries: _read_entries,
    Address: _spelled(Address.of),
    IPv4Address: _spelled(IPv4Address),
    IPv6Address: _spelled(IPv6Address),
    IPv4Network: _spelled(_network(4)),
    IPv6Network: _spelled(_network(6)),
    re.Pattern: _spelled(re.compile),
}
