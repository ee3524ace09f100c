"""Identity: names and passwords as they come out of an exchange, in one form and bounded."""

from __future__ import annotations

from gatepost.credentials import PlainSecret, Secret
from gatepost.protocol.sasl.exchange import MalformedResponse, WrongProof
from gatepost.saslprep import saslprep

#: Octets of a user name; RFC 4616, 2 has a server take 255, and no mailbox's name is longer.
USER_LIMIT = 255
#: Octets of a password; four times what RFC 4616, 2 has a server take, for long phrases.
PASSWORD_LIMIT = 1024


def user_name(octets: bytes) -> str:
    """A user name in the form of SASLprep.  Raises MalformedResponse."""
    return _prepared(octets, "user name", limit=USER_LIMIT)


def password(octets: bytes) -> str:
    """A password in the form of SASLprep.  Raises MalformedResponse.

    RFC 4616, 2 has one that SASLprep prohibits fail.  That it is told apart from a wrong one gives
    nothing away: it is so for any user, known or not.
    """
    return _prepared(octets, "password", limit=PASSWORD_LIMIT)


def known_password(secret: Secret | None) -> str | None:
    """A supplied password in the form of SASLprep; None: nothing that one could prove to know.

    That is also a password that is empty or that SASLprep prohibits.
    """
    if not isinstance(secret, PlainSecret):
        return None
    try:
        return saslprep(secret.password) or None
    except ValueError:
        return None


def check_acting_for(user: str, other: bytes) -> None:
    """Raise WrongProof if a user asks to act for somebody else: nobody here may.

    Raises MalformedResponse for an authorization identity that is no user name.
    """
    if other and user_name(other) != user:
        raise WrongProof(user)


def _prepared(octets: bytes, what: str, *, limit: int) -> str:
    too_long = MalformedResponse(f"The {what} is too long")
    if len(octets) > limit:
        raise too_long
    try:
        prepared = saslprep(octets.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedResponse(f"The {what} is not in UTF-8") from None
    except ValueError:
        raise MalformedResponse(f"The {what} holds what RFC 4013 prohibits") from None
    if not prepared:
        raise MalformedResponse(f"The {what} is empty")
    if len(prepared.encode()) > limit:  # one letter may become eighteen
        raise too_long
    return prepared
