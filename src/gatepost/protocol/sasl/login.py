"""LOGIN: a name and a password in two responses (draft-murchison-sasl-login)."""

from __future__ import annotations

from gatepost.credentials import Password
from gatepost.protocol.sasl.exchange import Challenge, Exchange, Mechanism, Surroundings
from gatepost.protocol.sasl.identity import password, user_name

# The draft has other words, and says that clients heed none; but some know only these.
_USER = Challenge(b"Username:")
_PASSWORD = Challenge(b"Password:")


def begin(_: Surroundings) -> Exchange:
    """An exchange of two responses; the first, the name, may come unasked."""
    user = user_name((yield _USER))
    yield Password(user, password((yield _PASSWORD)), LOGIN.name)


LOGIN = Mechanism("LOGIN", begin, bare=True)
