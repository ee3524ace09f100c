"""The page of public names: what plugins, tests and applications may import."""

from __future__ import annotations

from gatepost.reference.markdown import code, page
from gatepost.reference.source import Documented, documented, label, origins

_INTRODUCTION = """\
These are the names to import.  Everything else is the inside of the house, and may move
at any time.
"""

#: For whom the public names of a module are; where it has no `__all__`, which they are.
_MODULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("For plugins", "gatepost", ()),
    ("For tests of plugins", "gatepost.testing", ()),
    ("For applications", "gatepost.app", ("Gate",)),
    ("For applications", "gatepost.hooks.placement", ("Placement",)),
    ("For applications", "gatepost.limits", ("Limits",)),
    ("For the configuration", "gatepost.config", ()),
)

_ELSEWHERE = {"Plugin": "Its methods are the hooks; [Hooks](hooks.md) has them all."}


def public_names() -> set[tuple[str, str]]:
    """Every public name, behind the module that it is to be imported from."""
    return {(module, name) for _, module, names in _MODULES for name in _origins(module, names)}


def public_api_page() -> str:
    """The whole page."""
    return page("Public names", _INTRODUCTION, *(_section(*module) for module in _MODULES))


def _origins(module: str, names: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(names, module) or origins(module)


def _section(title: str, module: str, names: tuple[str, ...]) -> str:
    origin = _origins(module, names)
    entries = [_entry(documented(origin[name])[name]) for name in sorted(origin, key=str.lower)]
    return "\n\n".join([f"## {title}: {code(module)}", *entries])


def _entry(one: Documented) -> str:
    parts = [f"### {code(one.name)}"]
    if one.code != one.name:
        parts.append(code(one.code))
    parts.append(one.text)
    members = "\n".join(_member(member) for member in one.members)
    parts.append(_ELSEWHERE.get(one.name, members))
    return "\n\n".join(part for part in parts if part)


def _member(member: Documented) -> str:
    words = f": {label(member.text)}" if member.text else ""
    return f"- {code(member.code)}{words}"
