"""Credentials: what a client shows to say who it is; secrets: what that is checked against."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gatepost.saslprep import saslprep
from gatepost.tls import Certificate

#: Rounds of PBKDF2 for new SCRAM keys; RFC 7677, 4 asks for 4096 at least.
SCRAM_ITERATIONS = 15_000
#: Rounds below which a listener learns the password too easily (RFC 5802, 5.1; RFC 7677, 4), and
#: above which a client would compute for minutes.
FEWEST_ITERATIONS = 4096
MOST_ITERATIONS = 10_000_000
_SALT = 16

Digest: TypeAlias = Literal["sha1", "sha256"]


# -- What a client shows ---------------------------------------------------------------------------
#
# `user` is the name that the client gave.  A plugin that knows the user by another name writes
# that there before it accepts.


@dataclass(slots=True)
class Password:
    """A name and a password, as PLAIN and LOGIN carry them; both in the form of SASLprep."""

    user: str
    password: str = field(repr=False)
    mechanism: str = "PLAIN"


@dataclass(slots=True)
class Token:
    """A bearer token (RFC 6750), as OAUTHBEARER and XOAUTH2 carry it."""

    user: str  #: empty: whoever the token is for
    token: str = field(repr=False)
    mechanism: str = "OAUTHBEARER"


@dataclass(slots=True)
class External:
    """The certificate that the client showed in the TLS handshake (EXTERNAL, RFC 4422, A)."""

    user: str  #: empty: whoever the certificate is for
    certificate: Certificate
    mechanism: str = "EXTERNAL"


@dataclass(slots=True)
class Proven:
    """A user who has proved to know the secret that some plugin supplied.

    Nobody has to check anything any more: here silence accepts.  A plugin may still refuse.
    """

    user: str
    mechanism: str


Credentials: TypeAlias = Password | Token | External | Proven

# -- What that is checked against ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps of a password for SCRAM (RFC 5802, 3); the password is not in it."""

    digest: Digest
    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not FEWEST_ITERATIONS <= self.iterations <= MOST_ITERATIONS:
            raise ValueError(f"SCRAM keys of {self.iterations} rounds are of no use")

    @classmethod
    def derive(
        cls,
        password: str,
        *,
        digest: Digest = "sha256",
        salt: bytes | None = None,
        iterations: int = SCRAM_ITERATIONS,
    ) -> ScramKeys:
        """The keys of a password; a new salt when none is given.

        Raises ValueError for a password that SASLprep prohibits (RFC 4013).
        """
        salt = secrets.token_bytes(_SALT) if salt is None else salt
        prepared = saslprep(password).encode()
        salted = hashlib.pbkdf2_hmac(digest, prepared, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", digest)
        stored_key = hashlib.new(digest, client_key).digest()
        return cls(digest, salt, iterations, stored_key, hmac.digest(salted, b"Server Key", digest))


@dataclass(frozen=True, slots=True)
class PlainSecret:
    """A password as it is, which CRAM-MD5 needs; SCRAM works with it, too."""

    password: str = field(repr=False)


Secret: TypeAlias = ScramKeys | PlainSecret
