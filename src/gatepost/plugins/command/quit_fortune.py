"""A smile at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random, SystemRandom

from gatepost import Accept, Entries, Plugin, Session, Site


@dataclass
class QuitFortune(Plugin):
    """Say goodbye with a line that is drawn for each client.

    Few programs read what stands behind 221, but people who try a server by hand do.  The name of
    the server stays the first word (RFC 5321, 4.3.1).

        fortunes = ["says: brevity is the soul of mail"]

        S: 220 ...
        C: QUIT
        S: 221 2.0.0 mx.example says: brevity is the soul of mail
        S: <closed>
    """

    fortunes: Entries  #: the lines to draw from
    # What draws; no option.
    chance: Random = field(init=False, repr=False, default_factory=SystemRandom)

    def __post_init__(self) -> None:
        self._hostname = "localhost"

    def startup(self, site: Site) -> None:
        self._hostname = site.hostname

    def quit(self, session: Session, text: str) -> Accept | None:
        fortunes = self.fortunes.current()
        if not fortunes:
            return None
        return Accept(f"{self._hostname} {self.chance.choice(fortunes)}")
