"""Bearer: the value that carries a token in OAUTHBEARER and in XOAUTH2 (RFC 6750, 2.1)."""

from __future__ import annotations

import re

from gatepost.protocol.sasl.exchange import MalformedResponse

_VALUE = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


def token_in(value: bytes) -> str:
    """The token in `Bearer vF9dft4qmT`.  Raises MalformedResponse."""
    match = _VALUE.fullmatch(value)
    if match is None:
        raise MalformedResponse("A bearer token is wanted")
    return match[1].decode("ascii")
