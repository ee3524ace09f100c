"""The page of public names: what plugins, tests and applications may import."""

from __future__ import annotations

import textwrap

from gatepost.reference.markdown import code, page
from gatepost.reference.source import Documented, documented, label, origins

_INTRODUCTION = """\
These names keep their meaning from one minor version to the next.  Everything else is the inside of
the house, and may move at any time.
"""

#: The modules whose public names these are, and for whom they are.
_PACKAGES = {
    "gatepost": "For plugins",
    "gatepost.testing": "For tests of plugins",
    "gatepost.config": "For reading a configuration",
    "gatepost.client": "For sending mail",
}
#: Further public names, by the module that they are imported from.
_FURTHER = {"gatepost.app": ("Gate",)}

_ELSEWHERE = {"Plugin": "Its other methods are the hooks; see `docs/hooks.md`."}


def public_api_page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    parts += [_section("For applications", module, names) for module, names in _FURTHER.items()]
    for package, title in _PACKAGES.items():
        parts.append(_section(title, package, tuple(origins(package))))
    return page("Public names", *parts)


def _section(title: str, package: str, names: tuple[str, ...]) -> str:
    origin = dict.fromkeys(names, package) if package in _FURTHER else origins(package)
    entries = [_entry(documented(origin[name])[name]) for name in sorted(names, key=str.lower)]
    return "\n\n".join([f"## {title}: {code(package)}", *entries])


def _entry(one: Documented) -> str:
    parts = [f"### {code(one.name)}"]
    if one.code != one.name:
        parts.append(code(one.code))
    parts.append(one.text)
    if one.name in _ELSEWHERE:
        parts.append(_ELSEWHERE[one.name])
    else:
        parts.append("\n".join(_member(member) for member in one.members))
    return "\n\n".join(part for part in parts if part)


def _member(member: Documented) -> str:
    words = f": {label(member.text)}" if member.text else ""
    return textwrap.indent(f"{code(member.code)}{words}", "  ").replace("  ", "- ", 1)
