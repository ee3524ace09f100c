"""What the source of a plugin says about it."""

from __future__ import annotations

import inspect
import sys

from gatepost.plugin import HOOKS, Plugin


def text_of(kind: type[Plugin]) -> str:
    """The docstring of a plugin, or else of its module; empty when there is neither."""
    written = kind.__doc__ or ""
    if written.startswith(f"{kind.__name__}("):  # what a dataclass says for want of anything else
        written = ""
    return inspect.cleandoc(written or sys.modules[kind.__module__].__doc__ or "")


def label_of(kind: type[Plugin]) -> str:
    """What a plugin does, in one line."""
    return " ".join(text_of(kind).partition("\n\n")[0].split())


def hooks_of(kind: type[Plugin]) -> tuple[str, ...]:
    """The hooks that a plugin speaks on, in the order in which a mail meets them."""
    return tuple(hook for hook in HOOKS if getattr(kind, hook) is not getattr(Plugin, hook))
