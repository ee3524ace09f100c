"""Placement: where a plugin stands in the configuration, and what follows from its verdicts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gatepost.plugin import Plugin
from gatepost.trail import Mode

#: Sessions that a plugin can be told not to judge.
Exemption: TypeAlias = Literal["relay", "allowed", "authenticated"]
#: The hooks at which a verdict that was held back may take effect.
Pronouncing: TypeAlias = Literal["mail", "rcpt", "data", "headers", "message"]


_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Placement:
    """What every [[plugin]] table may say beside the plugin's own options."""

    use: str  #: which plugin: a bundled name, `package.module:Class`, or a file's name
    name: str = ""  #: what it is called in logs and on the trail; as `use` when left out
    mode: Mode = "enforce"  #: enforce; later: hold the refusal back; report: only note it
    pronounce: Pronouncing = "rcpt"  #: for mode = "later": the hook at which it takes effect
    soften: bool = False  #: a Deny becomes a Defer
    disconnect: bool = False  #: hang up after a refusal
    unless: tuple[Exemption, ...] = ()  #: sessions that it does not judge
    listeners: tuple[str, ...] = ()  #: ask it only on these listeners; empty: on all
    #: seconds that a hook may wait; when left out, 30, and on `queue` 600
    timeout: float | None = None
    on_error: Literal["defer", "ignore"] = "defer"  #: what a failure of the plugin counts as


def placed(plugin: Plugin | tuple[Plugin, Placement]) -> tuple[Plugin, Placement]:
    """The plugin and its place; a bare one has that of a table which says no more than `use`."""
    if not isinstance(plugin, Plugin):
        return plugin
    return plugin, Placement(_WORD_START.sub("_", type(plugin).__name__).lower())
