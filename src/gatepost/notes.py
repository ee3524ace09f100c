"""Note: a typed place where a plugin keeps what it learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Note(Generic[T]):
    """A typed key: `KARMA = Note(0)`, then `session.notes[KARMA] -= 1`.

    The default is what an unwritten note reads as; it is shared, so let it be a value that does
    not change.
    """

    default: T


class Notes:
    """The notes that plugins left on a session, a transaction or a recipient."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[Note[Any], Any] | None = None

    def __getitem__(self, note: Note[T]) -> T:
        if self._values is None:
            return note.default
        return cast(T, self._values.get(note, note.default))

    def __setitem__(self, note: Note[T], value: T) -> None:
        if self._values is None:  # most sessions carry none, and an idle one should weigh little
            self._values = {}
        self._values[note] = value

    def __contains__(self, note: Note[Any]) -> bool:
        return self._values is not None and note in self._values
