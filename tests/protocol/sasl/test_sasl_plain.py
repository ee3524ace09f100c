"""PLAIN: the RFC's examples, and every response that is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gatepost.credentials import Password
from gatepost.protocol.sasl import Challenge, MalformedResponse, WrongProof


def test_a_name_and_a_password_come_in_one_response(play: Callable[..., list[object]]) -> None:
    # RFC 4616, 4, the first example.
    assert play("PLAIN", b"\0tim\0tanstaaftanstaaf", True) == [
        Challenge(),
        Password("tim", "tanstaaftanstaaf", "PLAIN"),
        None,
    ]


def test_a_refusal_ends_it_too(play: Callable[..., list[object]]) -> None:
    assert play("PLAIN", b"\0tim\0guess", False)[-1] is None


def test_nobody_acts_for_another(play: Callable[..., list[object]]) -> None:
    # RFC 4616, 4, the second example.
    with pytest.raises(WrongProof) as raised:
        play("PLAIN", b"Ursel\0Kurt\0xipj3plmq")
    assert raised.value.user == "Kurt"
    assert "Kurt" not in str(raised.value)


@pytest.mark.parametrize("name", [b"tim", b"t\xc2\xadim", b"\xef\xbd\x94im"])
def test_everybody_acts_for_himself(name: bytes, play: Callable[..., list[object]]) -> None:
    assert play("PLAIN", name + b"\0tim\0tanstaaftanstaaf")[1] == Password(
        "tim", "tanstaaftanstaaf"
    )


def test_both_are_prepared(play: Callable[..., list[object]]) -> None:
    # RFC 4013, 3: a soft hyphen is mapped to nothing, and the Roman numeral nine to two letters.
    response = "\0I\u00adX\0\u2168".encode()
    assert play("PLAIN", response)[1] == Password("IX", "IX")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"tim\0secret",
        b"\0\0secret",
        b"\0tim\0",
        b"\0tim\0secret\0",
        b"\0tim\0secret\0more",
        b"\0tim\0sec\xffret",
        b"\0t\xffim\0secret",
        b"\xff\0tim\0secret",
        b"\0tim\0sec\x07ret",
        b"\0t\x7fim\0secret",
        b"\0\xc2\xad\0secret",  # nothing is left of it
        b"\0tim\0\xc2\xad",
        b"\0" + b"t" * 256 + b"\0secret",
        b"t" * 256 + b"\0tim\0secret",
        b"\0tim\0" + b"s" * 1025,
        b"\0" + "\ufdfa".encode() * 8 + b"\0secret",  # 24 octets that become 264
        b"\0" + b"\xc2\xad" * 127 + b"tim\0secret",  # 257 that become 3
    ],
)
def test_what_is_no_response(response: bytes, play: Callable[..., list[object]]) -> None:
    with pytest.raises(MalformedResponse) as raised:
        play("PLAIN", response)
    assert "sec" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_what_the_standard_lets_be_long_may_be_long(play: Callable[..., list[object]]) -> None:
    # RFC 4616, 2: up to 255 octets of each must be taken.
    name, password = "t" * 255, "s" * 1024
    response = f"{name}\0{name}\0{password}".encode()
    assert play("PLAIN", response)[1] == Password(name, password)
