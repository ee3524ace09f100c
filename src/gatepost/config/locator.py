"""Locator: the lines of a TOML text on which its tables and keys stand; tomllib does not tell."""

from __future__ import annotations

import re
from typing import TypeAlias

#: A table or key: names, and the numbers of tables in a list: `("plugin", 2, "zones")`.
Place: TypeAlias = tuple[str | int, ...]

_SILENT = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*''',
    re.DOTALL,
)
_HEADER = re.compile(r"[ \t]*(?P<brackets>\[\[?)(?P<name>[^\[\]]+)\]\]?\s*")
_KEY = re.compile(r"[ \t]*(?P<name>[A-Za-z0-9_.\- \t\0]+)=")
_PART = re.compile(r""""(?P<basic>[^"]*)"|'(?P<literal>[^']*)'|(?P<bare>[A-Za-z0-9_-]+)""")


class Locator:
    """Finds lines in a text that is known to be sound TOML.

    What is inside an inline table or a list is found at the key that holds it.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._last: dict[Place, int] = {}  # of each list of tables the number of the last
        self._read(text)

    def line(self, place: Place) -> int:
        """The line, from 1, of a place or else of the nearest table around it; 0 for neither."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 0)

    def _read(self, text: str) -> None:
        silenced = _SILENT.sub(_silence, text)
        table: Place = ()
        depth = 0  # of lists and inline tables that are open at the start of the line
        start = 0
        for number, line in enumerate(silenced.split("\n"), 1):
            if depth == 0 and (header := _HEADER.fullmatch(line)):
                parts = _parts(text[start + header.start("name") : start + header.end("name")])
                table = self._enter(parts, is_list=header["brackets"] == "[[")
                self._note(table, number)
            elif depth == 0 and (key := _KEY.match(line)):
                parts = _parts(text[start + key.start("name") : start + key.end("name")])
                self._note((*table, *parts), number)
                depth = _opened(line[key.end() :])
            else:
                depth += _opened(line)
            start += len(line) + 1

    def _note(self, place: Place, number: int) -> None:
        """The place begins here, and so do the tables around it that have no header."""
        for length in range(1, len(place) + 1):
            self._lines.setdefault(place[:length], number)

    def _enter(self, parts: list[str], *, is_list: bool) -> Place:
        """The place of a header: below a list of tables it means the last of them."""
        table: Place = ()
        for part in parts[:-1]:
            table = (*table, part)
            if table in self._last:
                table = (*table, self._last[table])
        table = (*table, *parts[-1:])
        if not is_list:
            return table
        self._last[table] = self._last.get(table, -1) + 1
        return (*table, self._last[table])


def _silence(match: re.Match[str]) -> str:
    """The same length of nothing, so that brackets in strings and comments do not count."""
    fill = " " if match[0].startswith("#") else "\0"
    return re.sub(r"[^\n]", fill, match[0])


def _parts(name: str) -> list[str]:
    return [match[match.lastgroup or 0] for match in _PART.finditer(name)]


def _opened(line: str) -> int:
    return line.count("[") + line.count("{") - line.count("]") - line.count("}")
