"""GS2: the header with which SCRAM and OAUTHBEARER begin (RFC 5801, 4; RFC 5802, 7)."""

from __future__ import annotations

import re
from typing import NamedTuple

from gatepost.protocol.sasl.exchange import MalformedResponse

#: A name in which `,` and `=` are written `=2C` and `=3D`, as a regular expression.
SASLNAME = rb"(?:[^\0=,]|=2C|=3D)+"
# Without RFC 5801's flag for a mechanism that is no standard one of GSS-API: none here sends it.
_HEADER = re.compile(rb"(?:(n|y)|p=([A-Za-z0-9.-]+)),(?:a=(%b))?," % SASLNAME)


class Header(NamedTuple):
    """What stands before a message."""

    octets: bytes  #: as they came
    flag: str  #: `n`, no channel binding; `y`, the client could and the server cannot; `p`
    binding: str  #: the name of the channel binding; empty unless the flag is `p`
    acting_for: bytes  #: the authorization identity; empty: the user's own


def parse(message: bytes) -> tuple[Header, bytes]:
    """The header, and the octets behind it.  Raises MalformedResponse."""
    match = _HEADER.match(message)
    if match is None:
        raise MalformedResponse("The GS2 header is malformed")
    flag, binding, acting_for = match[1] or b"p", match[2] or b"", match[3] or b""
    header = Header(match[0], flag.decode(), binding.decode(), unquoted(acting_for))
    return header, message[match.end() :]


def unquoted(name: bytes) -> bytes:
    """The name that a SASLNAME stands for."""
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")
