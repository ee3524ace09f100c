"""TokenRules: what a bearer token must say of itself to be good for us."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gatepost.saslprep import saslprep

#: Characters of a user's name.
NAME_LIMIT: Final = 320


class BadToken(Exception):
    """A token that is not good; the words say why, and hold nothing of it."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a bearer token must say of itself (RFC 7519, 4.1; RFC 7662, 2.2; RFC 8725, 3)."""

    audience: tuple[str, ...]  #: it must be for one of these
    issuer: str = ""  #: who must have issued it; empty: that makes no difference
    scope: str = ""  #: words that must all be in its `scope`, or in its `scp`
    user_claim: str = "email"  #: which claim is the user's name
    leeway: float = 30.0  #: seconds by which clocks may differ

    def user_of(self, claims: Mapping[str, Any], *, named: str = "", now: float) -> str:
        """The user whom a token is for, in the form of SASLprep.

        `named` is the user's name as the client gives it, which has to be the same, letter case
        aside; empty: it gives none.  `now` is in seconds since 1970.  Raises BadToken.
        """
        if not _date(claims, "exp") > now - self.leeway:
            raise BadToken("it has expired")
        if "nbf" in claims and not _date(claims, "nbf") <= now + self.leeway:
            raise BadToken("it is not valid yet")
        if self.issuer and claims.get("iss") != self.issuer:
            raise BadToken("somebody else issued it")
        if _strings(claims.get("aud")).isdisjoint(self.audience):
            raise BadToken("it is for somebody else")
        granted = " ".join(_strings(claims.get("scope", claims.get("scp")))).split()
        if not set(self.scope.split()) <= set(granted):
            raise BadToken("its scope is another")
        user = self._user_in(claims)
        if named and _folded(named) != _folded(user):
            raise BadToken("it is not for the user that the client named")
        return user

    def _user_in(self, claims: Mapping[str, Any]) -> str:
        user = claims.get(self.user_claim)
        if not isinstance(user, str) or not user.isprintable() or len(user) > NAME_LIMIT:
            raise BadToken("it names no user")
        # A server may let people write any address into their profiles, and say so here.
        if self.user_claim == "email" and claims.get("email_verified", True) not in (True, "true"):
            raise BadToken("its user's address is not verified")
        try:
            prepared = saslprep(user)
        except ValueError:
            prepared = ""
        if not prepared:
            raise BadToken("it names no user")
        return prepared


def _date(claims: Mapping[str, Any], name: str) -> float:
    """A date; what is none compares as neither earlier nor later than any."""
    value = claims.get(name)
    return value if isinstance(value, int | float) else math.nan


def _strings(value: object) -> set[str]:
    """The strings of a list, or the one string that stands for such a list."""
    listed = value if isinstance(value, list) else [value]
    return {item for item in listed if isinstance(item, str)}


def _folded(name: str) -> str:
    """A user's name as it is compared."""
    try:
        return saslprep(name).casefold()
    except ValueError:
        return name
