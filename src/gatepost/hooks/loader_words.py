"""The types of options, and the values of TOML, in words for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import is_dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import msgspec

from gatepost.address import Address
from gatepost.entries import Entries

#: What one of something is called, and several of it: ("a string", "strings").
Words: TypeAlias = tuple[str, str]

#: Types that a TOML list, and those that a TOML table, is turned into.
LISTS = (list, tuple, set, frozenset, Sequence, Iterable, Set)
TABLES = (dict, Mapping)

_LONGEST = 80
_WORDS: dict[Any, Words] = {
    str: ("a string", "strings"),
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    list: ("a list", "lists"),
    dict: ("a table", "tables"),
    Any: ("any value", "any values"),
    Path: ("a path", "paths"),
    Entries: ("a list of strings or the name of a file", "lists of strings or names of files"),
    Address: ("an address like bob@example.org", "addresses like bob@example.org"),
    IPv4Address: ("an IPv4 address", "IPv4 addresses"),
    IPv6Address: ("an IPv6 address", "IPv6 addresses"),
    IPv4Network: ("an IPv4 network (192.0.2.0/24)", "IPv4 networks (192.0.2.0/24)"),
    IPv6Network: ("an IPv6 network (2001:db8::/32)", "IPv6 networks (2001:db8::/32)"),
    re.Pattern: ("a regular expression", "regular expressions"),
}


def describe(kind: Any) -> Words:
    """A type in words: `tuple[str, ...]` is ("a list of strings", "lists of strings")."""
    kind = plain(kind)
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return describe(kind.__origin__)
    if origin is Literal:
        return (_either([repr(value) for value in arguments]),) * 2
    if origin in (Union, UnionType):
        ones, manies = zip(*(describe(choice) for choice in choices(kind)), strict=True)
        return _either(ones), _either(manies)
    if origin in LISTS and arguments:
        many = describe(arguments[0])[1]
        return f"a list of {many}", f"lists of {many}"
    if origin in TABLES and arguments and arguments[1] not in (Any, object):
        many = describe(arguments[1])[1]
        return f"a table of {many}", f"tables of {many}"
    if origin in _WORDS:
        return _WORDS[origin]
    if origin in LISTS or origin in TABLES or is_dataclass(origin):
        return _WORDS[list if origin in LISTS else dict]
    name = getattr(origin, "__name__", str(origin))
    return name, name


def plain(kind: Any) -> Any:
    """The type behind an alias, a NewType, or an Annotated that says nothing to msgspec."""
    while True:
        if get_origin(kind) is Annotated:
            if any(isinstance(extra, msgspec.Meta) for extra in kind.__metadata__):
                return kind
            kind = kind.__origin__
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif hasattr(kind, "__value__") and not isinstance(kind, type):  # `type X = ...` of 3.12
            kind = kind.__value__
        else:
            return kind


def choices(kind: Any) -> list[Any]:
    """The members of a union but None, which TOML cannot say, and those that Entries include."""
    members = [choice for choice in get_args(kind) if choice is not NoneType]
    if Entries in members:  # these read any list of strings
        return [one for one in members if get_origin(one) not in LISTS or get_args(one) != (str,)]
    return members


def found(value: object) -> str:
    """A value in words: a number itself, of anything longer what it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and is_beyond_toml(value):
        return "a number of more than 64 bits"
    if isinstance(value, int | float):
        return repr(value)
    return _WORDS.get(type(value), ("a date or time",))[0]


def is_beyond_toml(number: int) -> bool:
    """Whether it is more than TOML promises; Python would read it, and might not print it."""
    return number.bit_length() > 63


def must_be(kind: Any, instead: str = "") -> str:
    """` must be a list of strings, not ...`: the end of a sentence about an option."""
    return f" must be {describe(kind)[0]}, not {_shortened(instead)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word; empty when none of the known is near it."""
    match = get_close_matches(word, list(known), 1)
    return f", did you mean {match[0]!r}?" if match else ""


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
