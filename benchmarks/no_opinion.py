"""A plugin with no opinion on any hook: what being asked costs."""

from __future__ import annotations

from typing import Any

from gatepost import Plugin
from gatepost.plugin import HOOKS

_REWRITTEN = {"greeting": 1, "capabilities": 1, "argument": 2, "received": 1, "setting": 1}


def _hook(name: str) -> Any:
    if name == "route":
        return lambda self, transaction, recipient: (recipient,)
    if name in _REWRITTEN:
        position = _REWRITTEN[name]
        return lambda self, *arguments: arguments[position]
    return lambda self, *arguments: None


NoOpinion = type(
    "NoOpinion", (Plugin,), {"__module__": __name__} | {name: _hook(name) for name in HOOKS}
)
