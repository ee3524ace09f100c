"""The trail of a session: every decision and result, in order, so that all can be explained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gatepost.verdict import Accept, Defer, Deny, Verdict

#: Entries that one session keeps: when there are more, those of its first messages give way.
TRAIL_LIMIT = 1000
#: More of them, for what a thousand recipients of one message must not push out: decisions on other
#: hooks, and limits.
RESERVE = 100
#: The "plugin" of results that tell which limit a client has run into: the text is the name of the
#: limit as in the table [limits], the word is its value.
LIMITS = "limits"
#: The "plugin" of results that tell of a command which the server itself has refused, for its
#: grammar or because it was not in turn: the text is the reply.
PROTOCOL = "protocol"

Mode: TypeAlias = Literal["enforce", "later", "report"]
Outcome: TypeAlias = Literal["pass", "fail", "neutral", "error", "skip"]

_SAYS: dict[type[Verdict], str] = {Accept: "accepts", Deny: "denies", Defer: "defers"}


@dataclass(slots=True)
class Decision:
    """What one plugin decided on one hook."""

    plugin: str
    hook: str
    verdict: Verdict
    seconds: float  #: how long the plugin took
    mode: Mode = "enforce"  #: "later" and "report": it had no effect on this hook
    message: int = 0  #: the number of the message that it is about; 0: about the session

    def __str__(self) -> str:
        noted = "" if self.mode == "enforce" else f" ({self.mode})"
        why = f": {self.verdict.text}" if self.verdict.text else ""
        return f"{self.hook}: {self.plugin} {_SAYS[type(self.verdict)]}{noted}{why}"


@dataclass(slots=True)
class Result:
    """What one plugin found out; no verdict follows from it by itself."""

    plugin: str
    outcome: Outcome
    text: str = ""
    method: str = ""  #: of RFC 8601, for Authentication-Results: `spf`; empty: it is none
    word: str = ""  #: the method's own word, `softfail`; the outcome when empty
    properties: tuple[tuple[str, str], ...] = ()  #: `("smtp.mailfrom", "example.org")`
    message: int = 0  #: the number of the message that it is about; 0: about the session


class Trail:
    """Decisions and results of one session, `TRAIL_LIMIT` of them, or a few more."""

    __slots__ = ("_entries", "_told", "dropped")

    def __init__(self) -> None:
        self._entries: list[Decision | Result] = []
        self._told: tuple[Result, ...] = ()  #: the results of a method
        self.dropped = 0  #: how many entries did not fit

    def add(self, entry: Decision | Result) -> None:
        """Put an entry at the end."""
        if type(entry) is Result and entry.method:
            if not isinstance(entry.method, str):
                raise TypeError(f"{entry.method!r} is no method of RFC 8601")
            self._told = (*self._told, entry)
        if len(self._entries) >= TRAIL_LIMIT:
            self._make_room(entry.message)
            if len(self._entries) >= TRAIL_LIMIT + (RESERVE if _weighs(entry) else 0):
                self.dropped += 1
                return
        self._entries.append(entry)

    def told_of(self, message: int) -> tuple[Result, ...]:
        """The results of methods that concern one message: its own, and those of the session."""
        if not self._told:
            return ()
        self._told = tuple(one for one in self._told if one.message in (0, message))
        return self._told

    def disown(self) -> None:
        """The client is another one: what was found out so far goes into no message of it."""
        self._told = ()

    def latest(self, message: int) -> Iterator[Decision | Result]:
        """The entries about the latest message, the last first."""
        for entry in reversed(self._entries):
            if entry.message == message:
                yield entry
            elif entry.message:
                return  # of a message before it: a long trail is not gone through for each

    def __iter__(self) -> Iterator[Decision | Result]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _make_room(self, message: int) -> None:
        """Let the older half of the messages before this one go."""
        numbers = sorted({entry.message for entry in self._entries} - {0, message})
        gone = set(numbers[: (len(numbers) + 1) // 2])
        kept = [entry for entry in self._entries if entry.message not in gone]
        self.dropped += len(self._entries) - len(kept)
        self._entries = kept

    @property
    def decisions(self) -> list[Decision]:
        """The decisions alone, in order."""
        return [entry for entry in self._entries if isinstance(entry, Decision)]

    @property
    def results(self) -> list[Result]:
        """The results alone, in order."""
        return [entry for entry in self._entries if isinstance(entry, Result)]


def limits_hit(entries: Iterable[Decision | Result]) -> list[str]:
    """The limits that a client has run into, by their names."""
    return [one.text for one in entries if type(one) is Result and one.plugin == LIMITS]


def _weighs(entry: Decision | Result) -> bool:
    """Whether what became of a message cannot be told without it."""
    return entry.plugin == LIMITS if isinstance(entry, Result) else entry.hook != "rcpt"
