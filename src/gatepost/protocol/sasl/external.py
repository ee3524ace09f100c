"""EXTERNAL: who the client is, its certificate has said already (RFC 4422, A)."""

from __future__ import annotations

from gatepost.credentials import External
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Exchange,
    Mechanism,
    Surroundings,
    WrongProof,
)
from gatepost.protocol.sasl.identity import user_name


def begin(surroundings: Surroundings) -> Exchange:
    """An exchange of one response: the name to go by, or nothing."""
    response = yield Challenge()
    user = user_name(response) if response else ""
    tls = surroundings.tls
    if tls is None or tls.certificate is None:
        raise WrongProof(user)
    yield External(user, tls.certificate, EXTERNAL.name)


EXTERNAL = Mechanism("EXTERNAL", begin)
