"""The mechanisms as a whole: the table, and what no octets can bring about."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.credentials import Credentials, PlainSecret, Proven, ScramKeys, Secret
from gatepost.protocol.sasl import (
    MECHANISMS,
    Challenge,
    MalformedResponse,
    SecretOf,
    Surroundings,
    WrongProof,
)
from gatepost.tls import Certificate, Tls

NAMES = list(MECHANISMS)
TLS = Tls(
    "TLSv1.3",
    "",
    certificate=Certificate("CN=Anne", (), "", b""),
    binding={"tls-exporter": b"key"}.get,
)
SURROUNDINGS = Surroundings(
    hostname="mx.example",
    tls=TLS,
    offered=frozenset(NAMES) - {"SCRAM-SHA-1-PLUS"},
    nonce=lambda: "servernonce",
    decoy=lambda user: hashlib.sha256(user.encode()).digest(),
)
SECRETS: list[Secret | None] = [
    None,
    PlainSecret("pencil"),
    PlainSecret("\u0007"),
    PlainSecret(""),
    ScramKeys.derive("pencil", digest="sha1", salt=b"salt", iterations=4096),
    ScramKeys.derive("pencil", digest="sha256", salt=b"salt", iterations=4096),
]
#: Pieces of responses, so that a good part of what is put together gets past the first look.
PIECES = st.sampled_from(
    [
        b"n,,", b"y,,", b"p=tls-exporter,,", b"n,a=anne,", b"n=anne", b"r=abc", b",", b"=",
        b"n=anne,r=abc", b"c=biws", b"c=biws,r=abcservernonce", b"r=abcservernonce",
        b",p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", b",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        b",x=y", b",m=x", b"=2C", b"=3D", b"\0", b"\x01", b"\xff", b"\xc2\xad", b"\xd8\xa7", b"1",
        b"anne", b"pencil", b" ", b"0" * 32, b"user=", b"user=anne\x01", b"auth=",
        b"auth=Bearer abc", b"\x01\x01", b"a" * 256,
    ]
)  # fmt: skip
RESPONSES = st.binary(max_size=60) | st.lists(PIECES, max_size=8).map(b"".join)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_knows_each_by_its_name(name: str) -> None:
    assert MECHANISMS[name].name == name


def test_the_strongest_comes_first() -> None:
    assert [name for name in NAMES if MECHANISMS[name].binds] == [
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
    ]
    bare = [name for name in NAMES if MECHANISMS[name].bare]
    assert bare == ["OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"]
    assert NAMES[-2:] == ["PLAIN", "LOGIN"]
    for name in NAMES:
        if MECHANISMS[name].binds:
            assert NAMES.index(name) < NAMES.index(name.removesuffix("-PLUS"))


@pytest.mark.parametrize("name", NAMES)
def test_what_can_begin_at_once_begins_with_a_challenge(name: str) -> None:
    step = next(MECHANISMS[name].begin(SURROUNDINGS))
    assert isinstance(step, Challenge)
    if name == "LOGIN":
        assert step.octets == b"Username:"
    else:
        assert (step.octets == b"") == MECHANISMS[name].client_first


def played(
    name: str, responses: list[bytes], *, secret: Secret | None, accepted: bool
) -> tuple[list[object], object]:
    """What an exchange asked for, and how it ended; None: with a client that hung up."""
    exchange = MECHANISMS[name].begin(SURROUNDINGS)
    steps: list[object] = [next(exchange)]
    left = iter(responses)
    try:
        while True:
            if isinstance(steps[-1], Challenge):
                answer: object = next(left, None)
                if answer is None:
                    exchange.close()
                    return steps, None
            else:
                answer = secret if isinstance(steps[-1], SecretOf) else accepted
            steps.append(exchange.send(answer))
    except (StopIteration, MalformedResponse, WrongProof) as end:
        return steps, end


@given(
    st.sampled_from(NAMES),
    st.lists(RESPONSES, min_size=1, max_size=3),
    st.sampled_from(SECRETS),
    st.booleans(),
)
def test_no_octets_raise_anything_else_or_prove_anything(
    name: str, responses: list[bytes], secret: Secret | None, accepted: bool
) -> None:
    steps, end = played(name, responses, secret=secret, accepted=accepted)
    if isinstance(end, MalformedResponse | WrongProof):
        assert str(end).isprintable()
        assert "pencil" not in str(end)
    if isinstance(end, WrongProof):
        assert end.user.isprintable()
    assert not any(isinstance(step, Proven) for step in steps)
    asked = [step for step in steps if isinstance(step, Credentials)]
    assert len(asked) <= 1
    assert asked or not isinstance(end, StopIteration)
    for credentials in asked:
        assert credentials.mechanism == name
        assert len(credentials.user.encode()) <= 3 * 255
    for step in steps:
        if isinstance(step, Challenge):
            assert len(step.octets) <= 370  # as base64 it goes into one reply line
