"""Credentials: the keys that the RFCs compute, and secrets that do not show."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from hashlib import sha1, sha256

import pytest

from gatepost.credentials import (
    SCRAM_ITERATIONS,
    Digest,
    External,
    Password,
    PlainSecret,
    Proven,
    ScramKeys,
    Token,
)
from gatepost.tls import Certificate

# RFC 5802, 5: the exchange of SCRAM-SHA-1.
SHA1_TRANSCRIPT = (
    b"n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
    b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
    b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"
)
# RFC 7677, 3: that of SCRAM-SHA-256.
SHA256_TRANSCRIPT = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)


@pytest.mark.parametrize(
    ("digest", "salt", "transcript", "proof", "signature"),
    [
        (
            "sha1",
            "QSXCR+Q6sek8bf92",
            SHA1_TRANSCRIPT,
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            "sha256",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            SHA256_TRANSCRIPT,
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_the_keys_are_those_of_the_standards(
    digest: Digest, salt: str, transcript: bytes, proof: str, signature: str
) -> None:
    keys = ScramKeys.derive("pencil", digest=digest, salt=b64decode(salt), iterations=4096)
    assert (keys.digest, keys.salt, keys.iterations) == (digest, b64decode(salt), 4096)
    assert b64encode(hmac.digest(keys.server_key, transcript, digest)).decode() == signature
    # RFC 5802, 3: the proof and the client's signature make the client's key.
    mask = hmac.digest(keys.stored_key, transcript, digest)
    client_key = bytes(a ^ b for a, b in zip(b64decode(proof), mask, strict=True))
    hash_of = {"sha1": sha1, "sha256": sha256}[digest]
    assert hash_of(client_key).digest() == keys.stored_key


def test_a_new_salt_is_new_each_time() -> None:
    one, other = ScramKeys.derive("pencil"), ScramKeys.derive("pencil")
    assert one.salt != other.salt
    assert one.stored_key != other.stored_key
    assert len(one.salt) == 16
    assert (one.digest, one.iterations) == ("sha256", SCRAM_ITERATIONS)


def test_the_password_is_prepared() -> None:
    derived = [ScramKeys.derive(text, salt=b"salt") for text in ("IX", "\u2168", "I\u00adX")]
    assert derived[0] == derived[1] == derived[2]
    with pytest.raises(ValueError, match="prohibited"):
        ScramKeys.derive("a\x07", salt=b"salt")


def test_secrets_do_not_show() -> None:
    certificate = Certificate("CN=Anne", (), "", b"der-octets")
    keys = ScramKeys("sha256", b"salt", 4096, b"stored-octets", b"server-octets")
    shown = repr(
        [
            Password("anne", "pencil"),
            Token("anne", "abcdef"),
            PlainSecret("pencil"),
            keys,
            External("anne", certificate),
            Proven("anne", "PLAIN"),
        ]
    )
    assert "anne" in shown
    assert not any(
        secret in shown for secret in ("pencil", "abcdef", "stored-", "server-", "der-octets")
    )


@pytest.mark.parametrize("iterations", [0, 4095, 10_000_001])
def test_rounds_are_neither_too_few_nor_too_many(iterations: int) -> None:
    with pytest.raises(ValueError, match="rounds are of no use"):
        ScramKeys("sha256", b"salt", iterations, b"", b"")
