"""Complaints: all that is wrong with a configuration, each with its place in the file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gatepost.config.locator import Locator, Place
from gatepost.hooks.loader import Complaint


class ConfigError(Exception):
    """A configuration that cannot be used: every complaint, with its file and line."""

    def __init__(self, complaints: Iterable[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(self.complaints))


class Complaints:
    """What has been found wrong so far, while the rest is still being read."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str]] = []

    def add(self, text: str, *place: str | int) -> None:
        """Complain about a place: a table, or a key of it."""
        self._found.append((place, " ".join(text.split("\n"))))

    def take(self, complaints: Iterable[Complaint], *table: str | int, section: str = "") -> None:
        """Take over the complaints about a table; `section` is what it is called in them."""
        for complaint in complaints:
            place = (*table, complaint.key) if complaint.key else table
            self.add(f"{section}: {complaint.text}" if section else complaint.text, *place)

    def __bool__(self) -> bool:
        return bool(self._found)

    def located(self, path: Path, text: str) -> ConfigError:
        """The complaints about a file with its lines, in their order."""
        locator = Locator(text)
        lines = [(locator.line(place), words) for place, words in self._found]
        lines.sort(key=lambda complaint: complaint[0])
        return ConfigError(
            f"{path}:{line}: {words}" if line else f"{path}: {words}" for line, words in lines
        )
