"""The page of plugins: every bundled one, with its options, its hooks and its dialogues."""

from __future__ import annotations

import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterator
from itertools import groupby

from gatepost.cli.docstring import hooks_of, label_of
from gatepost.hooks.loader import bundled_plugins, find_plugin, options_of
from gatepost.plugin import Plugin
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
        [(f"[{name}](#{name})", _hooks(kind), label_of(kind)) for name, kind in found.items()],
    )
    return page("Plugins", _INTRODUCTION, overview, *(_plugin(*pair) for pair in found.items()))


def _hooks(kind: type[Plugin]) -> str:
    return ", ".join(map(code, hooks_of(kind)))


def _plugin(name: str, kind: type[Plugin]) -> str:
    options = [
        (code(option.name), option.type_text, default_of(option), option.meaning)
        for option in options_of(kind)
    ]
    return "\n\n".join(
        [
            f"## {name}",
            "\n\n".join(_parts(kind.__doc__ or "", name)),
            f"Hooks: {_hooks(kind)}.",
            table(("option", "value", "default", "meaning"), options) if options else "No options.",
        ]
    )


def _parts(docstring: str, name: str) -> Iterator[str]:
    """The paragraphs of a docstring; TOML and dialogues among them are fenced."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    for language, group in groupby(map(textwrap.dedent, paragraphs), key=_language):
        text = "\n\n".join(group)
        if language == "toml" and "[[plugin]]" not in text:
            text = f'[[plugin]]\nuse = "{name}"\n{text}'
        yield fenced(language, text) if language else text


def _language(paragraph: str) -> str:
    """What a paragraph is written in; empty for words."""
    if re.match(r"[SC]:", paragraph):
        return "smtp"
    try:
        return "toml" if tomllib.loads(paragraph) else ""
    except tomllib.TOMLDecodeError:
        return ""
