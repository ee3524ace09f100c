from __future__ import annotations

import pytest

from gatepost.protocol.client import Answered, ClientProtocol
from gatepost.protocol.opening import NOT_OFFERED, NOT_READY, Opening, Refusal, TlsPolicy
from gatepost.protocol.stages import Stage
from gatepost.reply import Reply

EHLO = b"EHLO client.example\r\n"
HELO = b"HELO client.example\r\n"
STARTTLS = b"STARTTLS\r\n"
TLS = b"(TLS)"


def converse(heard: list[bytes], tls: TlsPolicy, *, lmtp: bool = False) -> tuple[Opening, bytes]:
    """Hold an opening with a server that says one thing after the other; what we have sent."""
    protocol = ClientProtocol("client.example", lmtp=lmtp)
    opening = Opening(protocol, tls)
    sent = b""
    for data in heard:
        assert not opening.done
        protocol.receive_data(data)
        event = protocol.next_event()
        assert isinstance(event, Answered)
        sent += opening.receive(event)
        if opening.wants_tls:
            sent += TLS + opening.secured()
    return opening, sent


BANNER = b"220 mx.example\r\n"
PLAIN = b"250 mx.example\r\n"
OFFERED = b"250-mx.example\r\n250 STARTTLS\r\n"


@pytest.mark.parametrize(
    ("tls", "heard", "sent"),
    [
        ("off", [BANNER, PLAIN], EHLO),
        ("off", [BANNER, OFFERED], EHLO),
        ("off", [BANNER, b"502 what?\r\n", PLAIN], EHLO + HELO),
        ("off", [BANNER, b"500 what?\r\n", PLAIN], EHLO + HELO),
        ("may", [BANNER, PLAIN], EHLO),
        ("may", [BANNER, b"500 what?\r\n", PLAIN], EHLO + HELO),
        ("may", [BANNER, OFFERED, b"220 go\r\n", PLAIN], EHLO + STARTTLS + TLS + EHLO),
        ("may", [BANNER, OFFERED, b"220 go\r\n", OFFERED], EHLO + STARTTLS + TLS + EHLO),
        ("may", [BANNER, OFFERED, b"454 no\r\n"], EHLO + STARTTLS),
        ("must", [BANNER, OFFERED, b"220 go\r\n", PLAIN], EHLO + STARTTLS + TLS + EHLO),
    ],
)
def test_a_session_opens(tls: TlsPolicy, heard: list[bytes], sent: bytes) -> None:
    opening, wire = converse(heard, tls)
    assert opening.done
    assert opening.refusal is None
    assert wire == sent


@pytest.mark.parametrize(
    ("tls", "heard", "refusal"),
    [
        ("off", [b"554 no\r\n"], Refusal(Stage.BANNER, Reply(554, "", "no"))),
        ("off", [b"421 no\r\n"], Refusal(Stage.BANNER, Reply(421, "", "no", final=True))),
        ("off", [BANNER, b"550 no\r\n"], Refusal(Stage.EHLO, Reply(550, "", "no"))),
        ("off", [BANNER, b"450 no\r\n"], Refusal(Stage.EHLO, Reply(450, "", "no"))),
        ("off", [BANNER, b"502 a\r\n", b"550 b\r\n"], Refusal(Stage.HELO, Reply(550, "", "b"))),
        # standards.md T8: TLS stripped off on the way is a deferral where it is required.
        ("must", [BANNER, PLAIN], Refusal(Stage.STARTTLS, NOT_OFFERED)),
        ("must", [BANNER, b"500 a\r\n", PLAIN], Refusal(Stage.STARTTLS, NOT_OFFERED)),
        ("must", [BANNER, OFFERED, b"554 no\r\n"], Refusal(Stage.STARTTLS, NOT_READY)),
        (
            "must",
            [BANNER, OFFERED, b"454 no\r\n"],
            Refusal(Stage.STARTTLS, Reply(454, "", "no")),
        ),
        (
            "may",
            [BANNER, OFFERED, b"421 no\r\n"],
            Refusal(Stage.STARTTLS, Reply(421, "", "no", final=True)),
        ),
    ],
)
def test_a_session_does_not_open(tls: TlsPolicy, heard: list[bytes], refusal: Refusal) -> None:
    opening, _ = converse(heard, tls)
    assert opening.done
    assert opening.refusal == refusal


def test_lmtp_has_no_older_greeting_to_fall_back_to() -> None:
    opening, sent = converse([BANNER, b"500 what?\r\n"], "off", lmtp=True)
    assert sent == b"LHLO client.example\r\n"
    assert opening.refusal == Refusal(Stage.LHLO, Reply(500, "", "what?"))
