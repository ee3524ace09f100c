"""The SASL mechanisms of the server's side (RFC 4422), as exchanges that know no socket."""

from gatepost.protocol.sasl.cram_md5 import CRAM_MD5
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Derivation,
    MalformedResponse,
    Mechanism,
    SecretOf,
    Surroundings,
    WrongProof,
)
from gatepost.protocol.sasl.external import EXTERNAL
from gatepost.protocol.sasl.login import LOGIN
from gatepost.protocol.sasl.oauthbearer import OAUTHBEARER
from gatepost.protocol.sasl.plain import PLAIN
from gatepost.protocol.sasl.scram import (
    SCRAM_SHA_1,
    SCRAM_SHA_1_PLUS,
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
)
from gatepost.protocol.sasl.xoauth2 import XOAUTH2

__all__ = [
    "MECHANISMS",
    "Challenge",
    "Derivation",
    "MalformedResponse",
    "Mechanism",
    "SecretOf",
    "Surroundings",
    "WrongProof",
]

#: All that the server knows, by name; the order is that of the offer, the strongest first.
#:
#: EXTERNAL shows nothing that could be used again, and only a client that brought a certificate
#: sees it.  A channel binding keeps out whoever stands between, with whatever digest.  SCRAM shows
#: no password; a token is shown, but runs out; CRAM-MD5 shows none, but lets a listener guess
#: at speed, and has the server keep passwords as they are; PLAIN shows it; LOGIN does so in
#: two turns, and is obsolete.
MECHANISMS: dict[str, Mechanism] = {
    mechanism.name: mechanism
    for mechanism in (
        EXTERNAL,
        SCRAM_SHA_256_PLUS,
        SCRAM_SHA_1_PLUS,
        SCRAM_SHA_256,
        SCRAM_SHA_1,
        OAUTHBEARER,
        XOAUTH2,
        CRAM_MD5,
        PLAIN,
        LOGIN,
    )
}
