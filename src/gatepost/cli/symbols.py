"""Symbols: what each plugin made of a message, one character a plugin."""

from __future__ import annotations

from string import ascii_letters, digits

from gatepost.archive.configurations import Configuration
from gatepost.archive.records import Record, RecordedDecision, RecordedResult

#: What the symbols mean; of several that are true of a plugin, the first is shown.
MEANINGS = {
    "X": "denied",
    "~": "deferred",
    "x": "refused without effect",
    "f": "found fail",
    "!": "could not tell",
    "+": "accepted",
    "o": "found pass",
    "?": "found neutral",
    "-": "skipped",
    ".": "said nothing",
}
COLOURS = {"X": "red", "~": "yellow", "x": "magenta", "f": "magenta", "!": "yellow", "+": "green"}

_RESULTS = {"pass": "o", "fail": "f", "neutral": "?", "error": "!", "skip": "-"}
_DECISIONS = {"accept": "+", "deny": "X", "defer": "~"}
_ORDER = "".join(MEANINGS)
#: What plugins are called above their symbols.
_LETTERS = ascii_letters + digits


class Strip:
    """The plugins of a configuration side by side, in the order in which they are asked."""

    def __init__(self, plugins: Configuration) -> None:
        self._plugins = [plugin for plugin in plugins if plugin.hooks]

    @property
    def head(self) -> str:
        """One letter for each plugin; those beyond the alphabet have a `*`."""
        return _LETTERS[: len(self._plugins)].ljust(len(self._plugins), "*")

    @property
    def legend(self) -> list[str]:
        """Which letter stands for whom, and what the symbols mean."""
        names = [plugin.name for plugin in self._plugins]
        return [
            "  ".join(f"{letter} {name}" for letter, name in zip(self.head, names, strict=True)),
            "  ".join(f"{symbol} {meaning}" for symbol, meaning in MEANINGS.items()),
        ]

    def of(self, record: Record) -> str:
        """The symbols of one record, as long as the head; a blank for who is not asked there."""
        said: dict[str, set[str]] = {}
        for entry in record.entries:
            said.setdefault(entry.plugin, set()).add(_symbol(entry))
        return "".join(
            min(said.get(plugin.name, {"."}), key=_ORDER.index)
            if not plugin.listeners or record.listener in plugin.listeners
            else " "
            for plugin in self._plugins
        )


def _symbol(entry: RecordedDecision | RecordedResult) -> str:
    if isinstance(entry, RecordedResult):
        return _RESULTS.get(entry.outcome, "?")
    if entry.verdict != "accept" and entry.mode != "enforce":
        return "x"
    return _DECISIONS[entry.verdict]
