"""XOAUTH2: a token of OAuth 2.0, as Google has it, and Microsoft after it.

https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
"""

from __future__ import annotations

import re

from gatepost.credentials import Token
from gatepost.protocol.sasl.bearer import token_in
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Exchange,
    MalformedResponse,
    Mechanism,
    Surroundings,
)
from gatepost.protocol.sasl.identity import user_name

_RESPONSE = re.compile(rb"user=([^\x01]*)\x01auth=([^\x01]*)\x01\x01")
_FAILURE = Challenge(b'{"status":"401","schemes":"bearer"}')


def begin(_: Surroundings) -> Exchange:
    """An exchange of one response; when it fails, the client hears why, and has to answer that."""
    match = _RESPONSE.fullmatch((yield Challenge()))
    if match is None:
        raise MalformedResponse("The keys and values are malformed")
    if not (yield Token(user_name(match[1]), token_in(match[2]), XOAUTH2.name)):
        yield _FAILURE


XOAUTH2 = Mechanism("XOAUTH2", begin, bare=True)
