"""The page of plugins: every bundled one, with its options, its hooks and its dialogues."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import groupby

from gatepost.hooks.loader import bundled_plugins, find_plugin, options_of
from gatepost.plugin import HOOKS, Plugin
from gatepost.reference.markdown import code, fenced, page, table
from gatepost.reference.settings import default_of

_INTRODUCTION = """\
What comes with Gatepost: one file, one plugin, and nothing in it that a plugin of your own could
not do.  A plugin is named in the configuration by `use`; the options here and the
[keys that every plugin has](settings.md#plugin) stand in the same table.  `gatepost help` shows the
same for one plugin.

The dialogues are run with every test of Gatepost: `C:` lines are the client's, `S:` lines the
server's, and `...` stands for anything.
"""


def plugins_page() -> str:
    """The whole page."""
    names = sorted(bundled_plugins())
    found = {name: find_plugin(name, ()) for name in names}
    overview = table(
        ("plugin", "hooks", "what it does"),
        [
            (f"[{name}](#{name})", ", ".join(_hooks(kind)), _label(kind))
            for name, kind in found.items()
        ],
    )
    return page("Plugins", _INTRODUCTION, overview, *(_plugin(*pair) for pair in found.items()))


def _hooks(kind: type[Plugin]) -> list[str]:
    """The hooks that a plugin speaks on, in the order in which a mail meets them."""
    return [code(hook) for hook in HOOKS if getattr(kind, hook) is not getattr(Plugin, hook)]


def _label(kind: type[Plugin]) -> str:
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def _plugin(name: str, kind: type[Plugin]) -> str:
    options = [
        (code(option.name), option.type_text, default_of(option), option.meaning)
        for option in options_of(kind)
    ]
    return "\n\n".join(
        [
            f"## {name}",
            "\n\n".join(_parts(kind.__doc__ or "", name)),
            f"Hooks: {', '.join(_hooks(kind))}.",
            table(("option", "value", "default", "meaning"), options) if options else "No options.",
        ]
    )


def _parts(docstring: str, name: str) -> Iterator[str]:
    """A docstring as Markdown: what is indented in it becomes fenced."""
    lines = inspect.cleandoc(docstring).split("\n")
    for indented, group in groupby(lines, key=lambda line: line.startswith("    ") or not line):
        text = "\n".join(line.removeprefix("    ") for line in group).strip("\n")
        if indented and text:
            yield from (_fenced(block, name) for block in re.split(r"\n\n(?=[SC]:)", text))
        elif text:
            yield text


def _fenced(block: str, name: str) -> str:
    if re.match(r"[SC]:", block):
        return fenced("smtp", block)
    tables = block if "[[plugin]]" in block else f'[[plugin]]\nuse = "{name}"\n{block}'
    return fenced("toml", tables)
