"""The options of a plugin as its source documents them: for `gatepost help` and the manual."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

from gatepost.entries import Entries
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_words import describe

#: Factories of defaults that always make the same value.
_EMPTY = (list, tuple, dict, set, frozenset, Entries)


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a plugin, in words."""

    name: str
    type_text: str  #: as in `must be a list of strings`
    default_text: str | None  #: as TOML spells it; None: there is no default
    meaning: str  #: the `#:` comment; empty: there is none
    required: bool


def options_of(kind: type) -> tuple[Option, ...]:
    """The options of a plugin, or the keys of any dataclass, in their order.

    What an option means is the `#:` comment behind its field.  Lines of `#:` alone belong to the
    field above them if it has no comment yet, or if there is none below that lacks one; else they
    belong to the field below.  Raises what `declared_options` raises.
    """
    if not is_dataclass(kind):
        return ()
    meanings: dict[str, str] = {}
    for parent in reversed(kind.__mro__[:-1]):
        meanings |= _meanings(parent)
    by_name: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}
    return tuple(
        Option(
            name,
            describe(declared.kind)[0],
            None if declared.required else _default_text(by_name[name]),
            meanings.get(name, ""),
            declared.required,
        )
        for name, declared in declared_options(kind).items()
    )


# -- Defaults -------------------------------------------------------------------------------------


def _default_text(field: Field[Any]) -> str:
    factory = field.default_factory
    if factory is MISSING:
        return _as_toml(field.default)
    # What any other factory makes may differ from machine to machine.
    return _as_toml(factory()) if factory in _EMPTY else "computed"


def _as_toml(value: object) -> str:
    """A value as TOML spells it; None, which TOML cannot say, is `unset`."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, re.Pattern):
        value = value.pattern
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {_as_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence | Set | Entries) and not isinstance(value, str):
        items = [_as_toml(item) for item in value]
        return f"[{', '.join(sorted(items) if isinstance(value, Set) else items)}]"
    return json.dumps(str(value), ensure_ascii=False)


# -- Meanings -------------------------------------------------------------------------------------


def _meanings(kind: type) -> dict[str, str]:
    """The `#:` comment of each field that the class itself declares."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
        body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)).body
        comments = _comments(source)
    except (OSError, TypeError, SyntaxError, tokenize.TokenError, StopIteration):
        return {}  # a class made at run time: it has no source to read
    lines = {
        node.target.id: range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    meanings = {
        name: [comments.pop(line) for line in own if line in comments]
        for name, own in lines.items()
    }
    starts = {own[0]: name for name, own in lines.items()}
    ends = {own[-1]: name for name, own in lines.items()}
    for first, last in _blocks(comments):
        before, after = ends.get(first - 1), starts.get(last + 1)
        words = [comments[line] for line in range(first, last + 1)]
        if before and (not meanings[before] or not after or meanings[after]):
            meanings[before] += words
        elif after:
            meanings[after] += words
    return {name: " ".join(words) for name, words in meanings.items()}


def _comments(source: str) -> dict[int, str]:
    """The `#:` comments of a source by line."""
    return {
        token.start[0]: token.string.removeprefix("#:").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.string.startswith("#:")
    }


def _blocks(lines: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of lines that follow one another."""
    blocks: list[tuple[int, int]] = []
    for line in sorted(lines):
        if blocks and blocks[-1][1] == line - 1:
            blocks[-1] = (blocks[-1][0], line)
        else:
            blocks.append((line, line))
    return blocks
