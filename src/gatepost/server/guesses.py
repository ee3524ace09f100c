"""Guesses: who has failed to authenticate of late, so that each further guess takes longer."""

from __future__ import annotations

from gatepost.server.tally import Tally

#: Seconds for which a failure is remembered, from the last one on.
MEMORY = 900.0
#: Seconds that the first failure has to wait for its answer; each further one doubles them.
FIRST_DELAY = 0.5
LONGEST_DELAY = 16.0


class Guesses:
    """Counts failures by network and by account, in all workers together.

    Only a failure waits for its answer: whoever knows the password is not slowed down by those who
    guess at it.  A network is that of a client, as `Limits.network_of` has it; an empty one is that
    of clients without an address, who are not counted by it.
    """

    __slots__ = ("_tally",)

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or Tally.private()

    def count(self, network: str, account: str) -> float:
        """Count a failure; the seconds that its answer is to wait."""
        # Most who check passwords take `Anne` for `anne`: to vary that makes no other account.
        named = (("network", network), ("account", account.casefold()))
        names = [f"failures of {kind} {name}" for kind, name in named if name]
        number = max((self._tally.raise_(name, MEMORY) for name in names), default=1)
        return min(FIRST_DELAY * float(2 ** min(number - 1, 10)), LONGEST_DELAY)

    def number(self, network: str) -> int:
        """How many have failed who came from a network."""
        return self._tally.total(f"failures of network {network}", MEMORY) if network else 0
