"""OAUTHBEARER: a token of OAuth 2.0 (RFC 7628)."""

from __future__ import annotations

import re

from gatepost.credentials import Token
from gatepost.protocol.sasl import gs2
from gatepost.protocol.sasl.bearer import token_in
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Exchange,
    MalformedResponse,
    Mechanism,
    Surroundings,
    WrongProof,
)
from gatepost.protocol.sasl.identity import user_name

_PAIRS = re.compile(rb"\x01((?:[A-Za-z]+=[\t\n\r\x20-\x7e]*\x01)*)\x01")
_FAILURE = Challenge(b'{"status":"invalid_token"}')


def begin(_: Surroundings) -> Exchange:
    """An exchange of one response; when it fails, the client hears why, and has to answer that.

    What the answer says does not matter (RFC 7628, 3.2.3).
    """
    header, rest = gs2.parse((yield Challenge()))
    if header.flag == "p":
        raise MalformedResponse("This mechanism binds no channel")
    user = user_name(header.acting_for) if header.acting_for else ""
    value = _authorization(rest)
    if not value:  # RFC 7628, 4.3: so a client asks what it has to bring
        yield _FAILURE
        raise WrongProof(user)
    if not (yield Token(user, token_in(value), OAUTHBEARER.name)):
        yield _FAILURE


def _authorization(octets: bytes) -> bytes:
    """The value of `auth`.

    Others are skipped, `host` and `port` too: a server has more names than it knows of.
    """
    match = _PAIRS.fullmatch(octets)
    if match is None:
        raise MalformedResponse("The keys and values are malformed")
    values: dict[bytes, bytes] = {}
    for pair in match[1].split(b"\x01")[:-1]:
        key, _, value = pair.partition(b"=")
        if key in values:
            raise MalformedResponse("A key stands there twice")
        values[key] = value
    if b"auth" not in values:
        raise MalformedResponse("The key auth is missing")
    return values[b"auth"]


OAUTHBEARER = Mechanism("OAUTHBEARER", begin, bare=True)
