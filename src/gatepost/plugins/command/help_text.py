"""Answers to HELP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from gatepost import Accept, Derived, Entries, Plugin, Session


@dataclass
class HelpText(Plugin):
    """Answer HELP with texts of your own.

    Each line of `subjects` is a word and a text.  Several lines with the same word make an answer
    of several lines.  Of what a client says behind HELP the first word counts, in any case; one
    that no line begins with gets the list of all commands, as without this plugin, and so does
    HELP alone where there are no lines in `general`.

        general = ["This server takes mail for example.org.", "Ask HELP MAIL about the size."]
        subjects = [
            "MAIL MAIL FROM:<address> [SIZE=octets]",
            "MAIL A message may have 50 million octets.",
            "contact Write to postmaster@example.org.",
        ]

        S: 220 ...
        C: HELP
        S: 214-2.0.0 This server takes mail for example.org.
        S: 214 2.0.0 Ask HELP MAIL about the size.
        C: HELP mail
        S: 214-2.0.0 MAIL FROM:<address> [SIZE=octets]
        S: 214 2.0.0 A message may have 50 million octets.
        C: HELP CONTACT
        S: 214 2.0.0 Write to postmaster@example.org.
        C: HELP me
        S: 214 2.0.0 Commands: ...
    """

    subjects: Entries = field(default_factory=Entries)  #: lines of a word and a text
    general: Entries = field(default_factory=Entries)  #: the lines that answer HELP alone

    def __post_init__(self) -> None:
        self._answers = Derived(self.subjects, _line, _answers, option="subjects")

    def help(self, session: Session, text: str) -> Accept | None:
        words = text.split(maxsplit=1)
        if words:
            return self._answers.current().get(words[0].casefold())
        general = self.general.current()
        return Accept("\n".join(general)) if general else None


class _Line(NamedTuple):
    """One line of an answer."""

    subject: str
    text: str


def _line(entry: str) -> _Line:
    words = entry.split(maxsplit=1)
    if len(words) < 2:
        raise ValueError("no text behind the subject")
    return _Line(words[0].casefold(), words[1])


def _answers(lines: list[_Line]) -> dict[str, Accept]:
    texts: dict[str, list[str]] = {}
    for line in lines:
        texts.setdefault(line.subject, []).append(line.text)
    return {subject: Accept("\n".join(text)) for subject, text in texts.items()}
