"""EXTERNAL: a certificate with a name to go by, or without."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gatepost.credentials import External
from gatepost.protocol.sasl import Challenge, MalformedResponse, Surroundings, WrongProof
from gatepost.tls import Certificate, Tls

CERTIFICATE = Certificate("CN=Anne", ("anne@example.org",), "00" * 32, b"")


@pytest.fixture
def certified(surroundings: Surroundings) -> Surroundings:
    return surroundings._replace(tls=Tls("TLSv1.3", "", certificate=CERTIFICATE))


@pytest.mark.parametrize(
    ("response", "user"),
    [(b"", ""), (b"anne@example.org", "anne@example.org"), (b"\xef\xbd\x81nne", "anne")],
)
def test_the_certificate_goes_with_the_name(
    response: bytes, user: str, certified: Surroundings, play: Callable[..., list[object]]
) -> None:
    assert play("EXTERNAL", response, True, surroundings=certified) == [
        Challenge(),
        External(user, CERTIFICATE, "EXTERNAL"),
        None,
    ]


@pytest.mark.parametrize("tls", [None, Tls("TLSv1.3", "")])
def test_without_a_certificate_nobody_is_known(
    tls: Tls | None, surroundings: Surroundings, play: Callable[..., list[object]]
) -> None:
    with pytest.raises(WrongProof) as raised:
        play("EXTERNAL", b"anne", surroundings=surroundings._replace(tls=tls))
    assert raised.value.user == "anne"


@pytest.mark.parametrize("response", [b"an\0ne", b"\xff", b"\xc2\xad", b"a\x07", b"a" * 256])
def test_what_is_no_response(
    response: bytes, certified: Surroundings, play: Callable[..., list[object]]
) -> None:
    with pytest.raises(MalformedResponse):
        play("EXTERNAL", response, surroundings=certified)
