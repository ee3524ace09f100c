"""LOGIN: the draft's example, and the name that comes unasked."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from gatepost.credentials import Password
from gatepost.protocol.sasl import Challenge, MalformedResponse


def test_the_name_is_asked_for_and_then_the_password(play: Callable[..., list[object]]) -> None:
    # draft-murchison-sasl-login-00, 2.3; the words of the challenges are those of 2.2, Note.
    assert play("LOGIN", b"tim", b"tanstaaftanstaaf", True) == [
        Challenge(b"Username:"),
        Challenge(b"Password:"),
        Password("tim", "tanstaaftanstaaf", "LOGIN"),
        None,
    ]


def test_the_challenges_are_those_that_clients_look_for(play: Callable[..., list[object]]) -> None:
    steps = play("LOGIN", b"tim")
    words = [b64encode(step.octets) for step in steps if isinstance(step, Challenge)]
    assert words == [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"]


@pytest.mark.parametrize(
    "responses",
    [
        (b"",),
        (b"tim\0",),
        (b"t\xffim",),
        (b"t" * 256,),
        (b"tim", b""),
        (b"tim", b"sec\0ret"),
        (b"tim", b"sec\xffret"),
        (b"tim", b"s" * 1025),
    ],
)
def test_what_is_no_response(
    responses: tuple[bytes, ...], play: Callable[..., list[object]]
) -> None:
    with pytest.raises(MalformedResponse):
        play("LOGIN", *responses)
