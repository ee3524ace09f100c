"""SCRAM: both sides prove that they know a password, and neither shows it (RFC 5802, RFC 7677)."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from gatepost.credentials import SCRAM_ITERATIONS, Digest, Proven, ScramKeys, Secret
from gatepost.protocol.sasl import gs2
from gatepost.protocol.sasl.exchange import (
    Challenge,
    Derivation,
    Exchange,
    MalformedResponse,
    Mechanism,
    SecretOf,
    Step,
    Surroundings,
    WrongProof,
)
from gatepost.protocol.sasl.identity import check_acting_for, known_password, user_name

#: Octets of a client's nonce; with ours and the salt it has to go into one reply line.
NONCE_LIMIT = 192

_PLUS = "-PLUS"
_DIGESTS: dict[str, Digest] = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
#: RFC 9266 and RFC 5929.  `tls-unique` does not bind TLS 1.3, nor 1.2 as it should (RFC 7627).
_BINDINGS = ("tls-exporter", "tls-server-end-point")
_SALT = 16

_NONCE = rb"r=([\x21-\x2b\x2d-\x7e]+)"
_BASE64 = rb"((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)?)"
_EXTENSIONS = rb"((?:,[A-Za-z]=[^\0,]+)*)"
_FIRST = re.compile(rb"n=(%b),%b%b" % (gs2.SASLNAME, _NONCE, _EXTENSIONS))
_FINAL = re.compile(rb"(c=%b,%b%b),p=%b" % (_BASE64, _NONCE, _EXTENSIONS, _BASE64))
#: Attributes that have their places, and are no extensions elsewhere.
_PLACED = frozenset(b"aceimnprsv")


class _First(NamedTuple):
    """The client-first-message."""

    header: gs2.Header
    bare: bytes  #: all that is behind the header
    user: bytes
    nonce: bytes


class _Final(NamedTuple):
    """The client-final-message."""

    without_proof: bytes
    binding: bytes  #: base64 of the GS2 header and the channel binding
    nonce: bytes
    proof: bytes


def _begin(name: str, surroundings: Surroundings) -> Exchange:
    """An exchange in which the last challenge is the server's own proof.

    It goes out when the user has been accepted; nobody else gets it (RFC 5802, 5.1: `e`).
    """
    digest = _DIGESTS[name.removesuffix(_PLUS)]
    first = _parse_first((yield Challenge()))
    user = user_name(first.user)
    binding = _binding(name, first.header, surroundings=surroundings, user=user)
    check_acting_for(user, first.header.acting_for)

    account = _Account.of(user, digest, secret=(yield SecretOf(user)), surroundings=surroundings)
    nonce = first.nonce + surroundings.nonce().encode("ascii")
    server_first = b"r=%b,s=%b,i=%d" % (nonce, b64encode(account.salt), account.iterations)
    final = _parse_final((yield Challenge(server_first)), digest)
    if final.nonce != nonce or final.binding != b64encode(first.header.octets + binding):
        raise WrongProof(user)

    transcript = b",".join((first.bare, server_first, final.without_proof))
    keys = yield from account.proved_by(final.proof, transcript)
    if keys is None:
        raise WrongProof(user)
    if (yield Proven(user, name)):
        signature = hmac.digest(keys.server_key, transcript, digest)
        if (yield Challenge(b"v=" + b64encode(signature))):
            raise MalformedResponse("An empty response is wanted")


@dataclass(frozen=True, slots=True)
class _Account:
    """What a proof is checked against: a user's keys or password, or what looks like them."""

    digest: Digest
    salt: bytes
    iterations: int
    keys: ScramKeys | None  #: None: they are to be derived from the password
    password: str = field(repr=False)
    is_known: bool

    @classmethod
    def of(
        cls, user: str, digest: Digest, *, secret: Secret | None, surroundings: Surroundings
    ) -> _Account:
        """The account of a user; without a secret that will do, one that nobody can prove."""
        # Each digest has its own, as it is with real salts.
        decoy = surroundings.decoy(f"{digest} {user}")
        salt, iterations = decoy[:_SALT], SCRAM_ITERATIONS
        if isinstance(secret, ScramKeys) and secret.digest == digest:
            return cls(digest, secret.salt, secret.iterations, secret, decoy.hex(), True)
        password = known_password(secret)
        return cls(digest, salt, iterations, None, password or decoy.hex(), password is not None)

    def proved_by(
        self, proof: bytes, transcript: bytes
    ) -> Generator[Step, ScramKeys, ScramKeys | None]:
        """The keys, if the proof is one of them.

        What fails takes one derivation, whatever it is that was supplied for the user.
        """
        keys = self.keys or (yield self._derivation())
        signature = hmac.digest(keys.stored_key, transcript, self.digest)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        stored_key = hashlib.new(self.digest, client_key).digest()
        if hmac.compare_digest(stored_key, keys.stored_key) and self.is_known:
            return keys
        if self.keys is not None:
            yield self._derivation()
        return None

    def _derivation(self) -> Derivation:
        return Derivation(self.password, self.digest, self.salt, SCRAM_ITERATIONS)


def _binding(name: str, header: gs2.Header, *, surroundings: Surroundings, user: str) -> bytes:
    """The octets of the channel binding that the client has chosen (RFC 5802, 6)."""
    if name.endswith(_PLUS) != (header.flag == "p"):
        raise MalformedResponse(f"Channel binding goes with {_PLUS}, and with it only")
    if header.flag == "y" and name + _PLUS in surroundings.offered:
        raise WrongProof(user)  # somebody has hidden from the client that it was offered
    if header.flag != "p":
        return b""
    tls = surroundings.tls
    binding = tls.binding(header.binding) if tls and header.binding in _BINDINGS else None
    if not binding:
        raise MalformedResponse("That channel binding cannot be had here")
    return binding


def _parse_first(message: bytes) -> _First:
    header, bare = gs2.parse(message)
    match = _FIRST.fullmatch(bare)
    if match is None or not _is_utf8(bare):
        raise MalformedResponse("The client-first-message is malformed")
    _check_extensions(match[3])
    if len(match[2]) > NONCE_LIMIT:
        raise MalformedResponse("The nonce is too long")
    return _First(header, bare, gs2.unquoted(match[1]), match[2])


def _parse_final(message: bytes, digest: Digest) -> _Final:
    match = _FINAL.fullmatch(message)
    if match is None or not _is_utf8(message):
        raise MalformedResponse("The client-final-message is malformed")
    _check_extensions(match[4])
    proof = b64decode(match[5])
    if len(proof) != hashlib.new(digest).digest_size:
        raise MalformedResponse("The proof is of the wrong length")
    return _Final(match[1], match[2], match[3], proof)


def _check_extensions(extensions: bytes) -> None:
    """Unknown ones are skipped; mandatory ones, `m`, are known to nobody yet (RFC 5802, 5.1)."""
    if any(extension[0] in _PLACED for extension in extensions.split(b",")[1:]):
        raise MalformedResponse("An attribute stands where it may not")


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mechanism(name: str) -> Mechanism:
    return Mechanism(name, partial(_begin, name), binds=name.endswith(_PLUS))


SCRAM_SHA_256_PLUS = _mechanism("SCRAM-SHA-256-PLUS")
SCRAM_SHA_1_PLUS = _mechanism("SCRAM-SHA-1-PLUS")
SCRAM_SHA_256 = _mechanism("SCRAM-SHA-256")
SCRAM_SHA_1 = _mechanism("SCRAM-SHA-1")
