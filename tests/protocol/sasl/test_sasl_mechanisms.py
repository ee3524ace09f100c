"""The mechanisms as a whole: the table, and what no octets can bring about."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.credentials import Credentials, PlainSecret, Proven, ScramKeys, Secret
from gatepost.protocol.sasl import (
    MECHANISMS,
    Challenge,
    Derivation,
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
TOKEN = b"\x01auth=Bearer abc\x01\x01"
#: What a client says to each challenge, in vain; spoiled here and there, it gets far enough.
IN_VAIN = {
    "EXTERNAL": [b"anne"],
    "OAUTHBEARER": [b"n,a=anne," + TOKEN, b"\x01"],
    "XOAUTH2": [b"user=anne" + TOKEN, b""],
    "CRAM-MD5": [b"anne " + b"0" * 32],
    "PLAIN": [b"anne\0anne\0pen"],
    "LOGIN": [b"anne", b"pen"],
    **{
        name: [header + b"n=anne,r=abc,x=y", b"c=%b,r=abcservernonce,x=y,p=%b" % (binding, proof)]
        for suffix, header, binding in (
            ("", b"n,a=anne,", b64encode(b"n,a=anne,")),
            ("-PLUS", b"p=tls-exporter,,", b64encode(b"p=tls-exporter,,key")),
        )
        for name, proof in (
            (f"SCRAM-SHA-1{suffix}", b64encode(bytes(20))),
            (f"SCRAM-SHA-256{suffix}", b64encode(bytes(32))),
        )
    },
}
PIECES = st.binary(max_size=4) | st.sampled_from(
    [
        b",", b"=", b"=2C", b"=3D", b"=2c", b"\0", b"\x01", b"\xff", b"\xc2\xad", b"\xd8\xa7",
        b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"1", b" ", b"\r\n", b"A", b"AAAA", b",m=x", b",p=",
        b"y,,", b"a=", b"n=", b"r=", b"a" * 256, b"\xc2\xaa" * 100, b"\xef\xb7\xba" * 85,
    ]
)  # fmt: skip
#: Where to cut, how much to take out, and what to put there.
SPOILS = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 3), PIECES), max_size=2)


def spoiled(response: bytes, spoils: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, piece in spoils:
        response = response[:at] + piece + response[at + length :]
    return response


@pytest.mark.parametrize("name", NAMES)
def test_the_table_knows_each_by_its_name(name: str) -> None:
    assert MECHANISMS[name].name == name


def test_the_strongest_comes_first() -> None:
    def strength(name: str) -> tuple[bool, bool, bool, bool]:
        mechanism = MECHANISMS[name]
        password = name in ("PLAIN", "LOGIN")
        return (name == "EXTERNAL", mechanism.binds, name.startswith("SCRAM"), not password)

    assert sorted(NAMES, key=strength, reverse=True) == NAMES
    assert NAMES.index("SCRAM-SHA-256") < NAMES.index("SCRAM-SHA-1")
    assert NAMES.index("SCRAM-SHA-256-PLUS") < NAMES.index("SCRAM-SHA-1-PLUS")
    assert NAMES.index("OAUTHBEARER") < NAMES.index("CRAM-MD5")
    assert NAMES[-1] == "LOGIN"


def test_what_all_could_read_is_marked() -> None:
    bare = {name for name in NAMES if MECHANISMS[name].bare}
    assert bare == {"OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"}
    assert {name for name in NAMES if MECHANISMS[name].binds} == {
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
    }


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
            elif isinstance(steps[-1], Derivation):
                wanted = steps[-1]
                answer = ScramKeys.derive(
                    wanted.password,
                    digest=wanted.digest,
                    salt=wanted.salt,
                    iterations=wanted.iterations,
                )
            else:
                answer = secret if isinstance(steps[-1], SecretOf) else accepted
            steps.append(exchange.send(answer))
    except (StopIteration, MalformedResponse, WrongProof) as end:
        return steps, end


@given(
    st.sampled_from(NAMES),
    st.lists(SPOILS | st.binary(max_size=60), min_size=3, max_size=3),
    st.sampled_from(SECRETS),
    st.booleans(),
)
def test_no_octets_raise_anything_else_or_prove_anything(
    name: str,
    changes: list[list[tuple[int, int, bytes]] | bytes],
    secret: Secret | None,
    accepted: bool,
) -> None:
    responses = [
        change if isinstance(change, bytes) else spoiled(response, change)
        for response, change in zip_longest(IN_VAIN[name], changes, fillvalue=b"")
    ]
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
        assert len(credentials.user.encode()) <= 255
    for step in steps:
        if isinstance(step, Challenge):
            assert len(step.octets) <= 370  # as base64 it goes into one reply line
