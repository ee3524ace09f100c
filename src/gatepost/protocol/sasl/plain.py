"""PLAIN: a name and a password in one response (RFC 4616)."""

from __future__ import annotations

from gatepost.credentials import Password
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Exchange,
    MalformedResponse,
    Mechanism,
    Surroundings,
)
from gatepost.protocol.sasl.identity import check_acting_for, password, user_name


def begin(_: Surroundings) -> Exchange:
    """An exchange of one response: `[authzid] NUL authcid NUL passwd`."""
    fields = (yield Challenge()).split(b"\0")
    if len(fields) != 3:
        raise MalformedResponse("Two NULs are wanted, between three fields")
    acting_for, user, secret = fields
    credentials = Password(user_name(user), password(secret), PLAIN.name)
    check_acting_for(credentials.user, acting_for)
    yield credentials


PLAIN = Mechanism("PLAIN", begin, bare=True)
