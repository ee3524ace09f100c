"""The options that a dataclass declares."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True, slots=True)
class Declared:
    """An option as its dataclass declares it."""

    kind: Any
    required: bool


def declared_options(kind: type) -> dict[str, Declared]:
    """The options of a dataclass by name; none for any other class.

    Fields that the constructor does not take, and those whose names begin with `_`, are no options.
    Raises NameError, AttributeError, SyntaxError or TypeError for a type that cannot be resolved.
    """
    if not is_dataclass(kind):
        return {}
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: Declared(
            hints[field.name], field.default is MISSING and field.default_factory is MISSING
        )
        for field in fields(kind)
        if field.init and not field.name.startswith("_")
    }
