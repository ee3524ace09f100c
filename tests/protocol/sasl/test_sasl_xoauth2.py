"""XOAUTH2: Google's example, and every response that is none."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable

import pytest

from gatepost.credentials import Token
from gatepost.protocol.sasl import Challenge, MalformedResponse

# https://developers.google.com/workspace/gmail/imap/xoauth2-protocol, "Initial Client Response".
RESPONSE = b64decode(
    "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52"
    "YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
)
TOKEN = Token("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "XOAUTH2")


def test_a_token_is_accepted(play: Callable[..., list[object]]) -> None:
    assert play("XOAUTH2", RESPONSE, True) == [Challenge(), TOKEN, None]


@pytest.mark.parametrize("answer", [b"", b"\x01"])
def test_who_is_refused_hears_why_and_answers(
    answer: bytes, play: Callable[..., list[object]]
) -> None:
    *steps, why, end = play("XOAUTH2", RESPONSE, False, answer)
    assert steps == [Challenge(), TOKEN]
    assert isinstance(why, Challenge)
    assert json.loads(why.octets) == {"status": "401", "schemes": "bearer"}
    assert end is None


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"user=\x01auth=Bearer abc\x01\x01",
        b"user=anne\x01auth=Bearer \x01\x01",
        b"user=anne\x01auth=\x01\x01",
        b"user=anne\x01auth=Basic abc\x01\x01",
        b"user=anne\x01auth=Bearer a\xc3\xa4\x01\x01",
        b"user=anne\x01auth=Bearer abc\x01",
        b"user=anne\x01auth=Bearer abc\x01\x01\x01",
        b"user=anne\x01user=bob\x01auth=Bearer abc\x01\x01",
        b"user=anne\x01auth=Bearer abc\x01auth=Bearer def\x01\x01",
        b"user=an\x07ne\x01auth=Bearer abc\x01\x01",
        b"user=an\r\nne\x01auth=Bearer abc\x01\x01",
        b"user=an\0ne\x01auth=Bearer abc\x01\x01",
        b"user=an\xffne\x01auth=Bearer abc\x01\x01",
        b"user=" + b"a" * 256 + b"\x01auth=Bearer abc\x01\x01",
        b"auth=Bearer abc\x01user=anne\x01\x01",
    ],
)
def test_what_is_no_response(response: bytes, play: Callable[..., list[object]]) -> None:
    with pytest.raises(MalformedResponse) as raised:
        play("XOAUTH2", response)
    assert "abc" not in str(raised.value)
