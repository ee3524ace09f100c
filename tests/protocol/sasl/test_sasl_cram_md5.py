"""CRAM-MD5: the RFC's example, and that an unknown user costs what a wrong password does."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import pytest

from gatepost.credentials import PlainSecret, Proven, ScramKeys, Secret
from gatepost.protocol.sasl import (
    MECHANISMS,
    Challenge,
    MalformedResponse,
    SecretOf,
    Surroundings,
    WrongProof,
)

# RFC 2195, 2.
CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
RESPONSE = b"tim b913a602c7eda7a495b4e6e7334d3890"
SECRET = PlainSecret("tanstaaftanstaaf")


@pytest.fixture
def post_office(surroundings: Surroundings) -> Surroundings:
    return surroundings._replace(
        hostname="postoffice.reston.mci.net", nonce=lambda: "1896.697170952"
    )


def test_a_digest_proves_the_password(
    post_office: Surroundings, play: Callable[..., list[object]]
) -> None:
    assert play("CRAM-MD5", RESPONSE, SECRET, True, surroundings=post_office) == [
        Challenge(CHALLENGE),
        SecretOf("tim"),
        Proven("tim", "CRAM-MD5"),
        None,
    ]


def test_the_client_cannot_begin() -> None:
    assert not MECHANISMS["CRAM-MD5"].client_first


def test_a_name_may_hold_blanks(
    surroundings: Surroundings, play: Callable[..., list[object]]
) -> None:
    proof = hmac.digest(b"secret", b"<servernonce@mx.example>", "md5").hex()
    steps = play("CRAM-MD5", b"tim of old " + proof.encode(), PlainSecret("secret"))
    assert steps[1:] == [SecretOf("tim of old"), Proven("tim of old", "CRAM-MD5")]


def test_the_password_is_prepared(play: Callable[..., list[object]]) -> None:
    proof = hmac.digest(b"IX", b"<servernonce@mx.example>", "md5").hex()
    assert play("CRAM-MD5", b"tim " + proof.encode(), PlainSecret("\u2168"))[2] == Proven(
        "tim", "CRAM-MD5"
    )


KEYS = ScramKeys.derive("tanstaaftanstaaf", salt=b"salt", iterations=4096)


@pytest.mark.parametrize(
    "secret", [None, PlainSecret("wrong"), PlainSecret(""), PlainSecret("a\x07"), KEYS]
)
def test_who_cannot_prove_it_is_told_nothing(
    secret: Secret | None,
    post_office: Surroundings,
    play: Callable[..., list[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests: list[str] = []
    digest_of = hmac.digest

    def counted(key: bytes, octets: bytes, digest: str) -> bytes:
        digests.append(digest)
        return digest_of(key, octets, digest)

    monkeypatch.setattr(hmac, "digest", counted)
    with pytest.raises(WrongProof) as raised:
        play("CRAM-MD5", RESPONSE, secret, surroundings=post_office)
    assert raised.value.user == "tim"
    assert digests == ["md5"]


def test_an_empty_password_proves_nothing(play: Callable[..., list[object]]) -> None:
    proof = hmac.digest(b"", b"<servernonce@mx.example>", "md5").hex()
    with pytest.raises(WrongProof):
        play("CRAM-MD5", b"tim " + proof.encode(), PlainSecret(""))


def test_the_decoy_proves_nothing(
    surroundings: Surroundings, play: Callable[..., list[object]]
) -> None:
    key = surroundings.decoy("tim").hex().encode()
    proof = hmac.digest(key, b"<servernonce@mx.example>", "md5").hex()
    with pytest.raises(WrongProof):
        play("CRAM-MD5", b"tim " + proof.encode(), None)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"tim ",
        b" b913a602c7eda7a495b4e6e7334d3890",
        b"tim b913a602c7eda7a495b4e6e7334d389",
        b"tim b913a602c7eda7a495b4e6e7334d38901",
        b"tim B913A602C7EDA7A495B4E6E7334D3890",
        b"tim b913a602c7eda7a495b4e6e7334d3890 ",
        b"tim b913a602c7eda7a495b4e6e7334d3890\n",
        b"t\xffim b913a602c7eda7a495b4e6e7334d3890",
        b"t\0im b913a602c7eda7a495b4e6e7334d3890",
        b"t" * 256 + b" b913a602c7eda7a495b4e6e7334d3890",
    ],
)
def test_what_is_no_response(response: bytes, play: Callable[..., list[object]]) -> None:
    with pytest.raises(MalformedResponse):
        play("CRAM-MD5", response)
