"""OAUTHBEARER: the RFC's examples, and every response that is none."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable

import pytest

from gatepost.credentials import Token
from gatepost.protocol.sasl import Challenge, MalformedResponse, WrongProof

# RFC 7628, 4.1: the SMTP exchange.
RESPONSE = b64decode(
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2Vy"
    "dmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmd"
    "DRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
TOKEN = Token("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "OAUTHBEARER")
# RFC 7628, 4.3.
QUESTION = b64decode(
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE="
)


def test_a_token_is_accepted(play: Callable[..., list[object]]) -> None:
    assert play("OAUTHBEARER", RESPONSE, True) == [Challenge(), TOKEN, None]


@pytest.mark.parametrize("answer", [b"\x01", b"", b"whatever"])
def test_who_is_refused_hears_why_and_answers(
    answer: bytes, play: Callable[..., list[object]]
) -> None:
    *steps, why, end = play("OAUTHBEARER", RESPONSE, False, answer)
    assert steps == [Challenge(), TOKEN]
    assert isinstance(why, Challenge)
    assert json.loads(why.octets) == {"status": "invalid_token"}  # RFC 7628, 3.2.2
    assert end is None


def test_without_a_token_one_may_ask(play: Callable[..., list[object]]) -> None:
    why = play("OAUTHBEARER", QUESTION)[1]
    assert isinstance(why, Challenge)
    assert json.loads(why.octets)["status"] == "invalid_token"
    with pytest.raises(WrongProof) as raised:
        play("OAUTHBEARER", QUESTION, b"\x01")
    assert raised.value.user == "user@example.com"


@pytest.mark.parametrize(
    ("response", "user", "token"),
    [
        (b"n,,\x01auth=Bearer abc\x01\x01", "", "abc"),
        (b"y,,\x01auth=bEARER  a.b-c_d~e+f/g=\x01\x01", "", "a.b-c_d~e+f/g="),
        (b"n,a=a=2Cb=3D2C,\x01auth=Bearer abc\x01\x01", "a,b=2C", "abc"),
        (b"n,a=\xd0\xb0,\x01unknown=x=y\r\n\x01auth=Bearer abc\x01\x01", "\u0430", "abc"),
    ],
)
def test_what_is_a_response(
    response: bytes, user: str, token: str, play: Callable[..., list[object]]
) -> None:
    assert play("OAUTHBEARER", response)[1] == Token(user, token, "OAUTHBEARER")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x01",  # RFC 7628, 3.1: only after a failure
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer abc\x01",
        b"n,,\x01auth=Bearer abc\x01\x01\x01",
        b"n,,\x01auth=Bearer abc\x01\x01more",
        b"n,,auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a=b\x01\x01",
        b"n,,\x01auth=Bearer abc \x01\x01",
        b"n,,\x01auth=Basic abc\x01\x01",
        b"n,,\x01auth=\xc3\xa4\x01\x01",
        b"n,,\x01Auth=Bearer abc\x01\x01",
        b"n,,\x01host=mx.example\x01\x01",
        b"n,,\x01auth=Bearer abc\x01auth=Bearer def\x01\x01",
        b"n,,\x01x=\x01x=\x01auth=Bearer def\x01\x01",
        b"n,,\x01=x\x01auth=Bearer abc\x01\x01",
        b"n,,\x01x1=x\x01auth=Bearer abc\x01\x01",
        b"n,,\x01host\x01auth=Bearer abc\x01\x01",
        b"n,,\x01host=a\0b\x01auth=Bearer abc\x01\x01",
        b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01",
        b"F,n,,\x01auth=Bearer abc\x01\x01",
        # RFC 7628, 4.4 has this, which its own grammar does not.
        b"n,user=someuser@example.com,\x01auth=Bearer abc\x01\x01",
        # standards.md, I5: nothing slips into the name.
        b"n,a=a\x01b,\x01auth=Bearer abc\x01\x01",
        b"n,a=a\x07b,\x01auth=Bearer abc\x01\x01",
        b"n,a=a\r\nb,\x01auth=Bearer abc\x01\x01",
        b"n,a=a\xffb,\x01auth=Bearer abc\x01\x01",
        b"n,a=,\x01auth=Bearer abc\x01\x01",
        b"n,a=" + b"a" * 256 + b",\x01auth=Bearer abc\x01\x01",
    ],
)
def test_what_is_no_response(response: bytes, play: Callable[..., list[object]]) -> None:
    with pytest.raises(MalformedResponse) as raised:
        play("OAUTHBEARER", response)
    assert "abc" not in str(raised.value)
