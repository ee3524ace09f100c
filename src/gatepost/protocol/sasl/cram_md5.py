"""CRAM-MD5: the server sends something new, the client a keyed digest of it (RFC 2195)."""

from __future__ import annotations

import hmac
import re

from gatepost.credentials import Proven
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Exchange,
    MalformedResponse,
    Mechanism,
    SecretOf,
    Surroundings,
    WrongProof,
)
from gatepost.protocol.sasl.identity import known_password, user_name

_RESPONSE = re.compile(rb"(.*) ([0-9a-f]{32})", re.DOTALL)  # a name may hold blanks


def begin(surroundings: Surroundings) -> Exchange:
    """An exchange of one challenge and one response: `user digest`."""
    challenge = f"<{surroundings.nonce()}@{surroundings.hostname}>".encode()
    match = _RESPONSE.fullmatch((yield Challenge(challenge)))
    if match is None:
        raise MalformedResponse("A name, a blank and 32 hexadecimal digits are wanted")
    user = user_name(match[1])
    password = known_password((yield SecretOf(user)))
    # For an unknown user the same is done with a key that nobody has, to take the same time.
    key = surroundings.decoy(user).hex() if password is None else password
    proof = hmac.digest(key.encode(), challenge, "md5").hex().encode()
    if not hmac.compare_digest(proof, match[2]) or password is None:
        raise WrongProof(user)
    yield Proven(user, CRAM_MD5.name)


CRAM_MD5 = Mechanism("CRAM-MD5", begin, client_first=False)
