from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.protocol.client import (
    IN_CLEAR,
    OUT_OF_TURN,
    UNASKED,
    Answered,
    ClientEvent,
    ClientProtocol,
    Farewell,
)
from gatepost.protocol.stages import REFUSALS, TRANSITIONS, ClientState, Stage
from gatepost.reply import Reply

EHLO_REPLY = b"250-mx.example hello\r\n250-PIPELINING\r\n250-size 1000\r\n250 CHUNKING\r\n"


def hear(protocol: ClientProtocol, data: bytes) -> list[ClientEvent]:
    """All events of some octets, up to the first violation."""
    protocol.receive_data(data)
    events: list[ClientEvent] = []
    while (event := protocol.next_event()) is not None:
        events.append(event)
        if not isinstance(event, Answered):
            break
    return events


def greeted(ehlo_reply: bytes = EHLO_REPLY, *, lmtp: bool = False) -> ClientProtocol:
    protocol = ClientProtocol("client.example", lmtp=lmtp)
    hear(protocol, b"220 mx.example\r\n")
    protocol.hello()
    hear(protocol, ehlo_reply)
    assert protocol.at_rest
    return protocol


def test_the_tables_are_total() -> None:
    assert set(TRANSITIONS) == set(ClientState)
    assert set(REFUSALS) <= set(TRANSITIONS)
    for state, moves in REFUSALS.items():
        assert set(moves) <= set(TRANSITIONS[state])


def test_the_banner_comes_first() -> None:
    protocol = ClientProtocol("client.example")
    assert protocol.awaited is Stage.BANNER
    with pytest.raises(RuntimeError, match="EHLO has to wait for the reply to banner"):
        protocol.hello()
    assert hear(protocol, b"220 hi\r\n") == [Answered(Stage.BANNER, Reply(220, "", "hi"))]
    assert protocol.state is ClientState.HELLO
    assert protocol.hello() == b"EHLO client.example\r\n"


def test_lmtp_says_lhlo() -> None:
    protocol = ClientProtocol("client.example", lmtp=True)
    hear(protocol, b"220 hi\r\n")
    assert protocol.hello() == b"LHLO client.example\r\n"
    hear(protocol, EHLO_REPLY)
    assert protocol.state is ClientState.READY


def test_ehlo_offers_extensions() -> None:
    protocol = greeted(
        b"250-PIPELINING.example hi\r\n250-Size 35651584\r\n250-AUTH PLAIN LOGIN\r\n"
        b"250-auth=LOGIN\r\n250-\r\n250--X\r\n250-8BITMIME\r\n"
        b"250 LIMITS RCPTMAX=50 MAILMAX=0 X=a rcptdomainmax=2\r\n"
    )
    assert protocol.capabilities == {
        "SIZE": "35651584",
        "AUTH": "PLAIN LOGIN",
        "8BITMIME": "",
        "LIMITS": "RCPTMAX=50 MAILMAX=0 X=a rcptdomainmax=2",
    }
    assert protocol.limit("RCPTMAX") == 50
    assert protocol.limit("RCPTDOMAINMAX") == 2
    assert protocol.limit("MAILMAX") is None
    assert protocol.limit("X") is None


def test_a_refused_banner_leaves_only_quit() -> None:
    protocol = ClientProtocol("client.example")
    hear(protocol, b"554 5.7.1 go away\r\n")
    assert not protocol.at_rest
    with pytest.raises(RuntimeError, match="out of turn"):
        protocol.hello()
    assert protocol.send(Stage.QUIT) == b"QUIT\r\n"
    hear(protocol, b"221 bye\r\n")
    assert protocol.state is ClientState.CLOSED


def test_a_batch_ends_with_data() -> None:
    protocol = greeted()
    wire = protocol.send(Stage.MAIL, "FROM:<>") + protocol.send(Stage.RCPT, "TO:<a@b.example>")
    wire += protocol.send(Stage.DATA)
    assert wire == b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n"
    with pytest.raises(RuntimeError, match="RSET has to wait for the reply to DATA"):
        protocol.send(Stage.RSET)
    events = hear(protocol, b"250 a\r\n250 b\r\n354 c\r\n")
    assert [event.stage for event in events if isinstance(event, Answered)] == [
        Stage.MAIL,
        Stage.RCPT,
        Stage.DATA,
    ]
    assert protocol.state is ClientState.DATA
    assert protocol.end_of_data(1) == b".\r\n"
    assert hear(protocol, b"250 d\r\n") == [Answered(Stage.END_OF_DATA, Reply(250, "", "d"))]
    assert protocol.at_rest


def test_without_pipelining_each_command_waits() -> None:
    protocol = greeted(b"250 mx.example\r\n")
    protocol.send(Stage.MAIL, "FROM:<>")
    with pytest.raises(RuntimeError, match="RCPT has to wait for the reply to MAIL"):
        protocol.send(Stage.RCPT, "TO:<a@b.example>")


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA, Stage.EHLO, Stage.CHECK])
def test_a_command_out_of_turn_is_our_mistake(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match="out of turn"):
        greeted().send(stage)


@pytest.mark.parametrize("text", ["FROM:<a\r\nRCPT TO:<b>", "FROM:<a\n>", "FROM:<\r>"])
def test_a_line_never_becomes_two(text: str) -> None:
    with pytest.raises(ValueError, match="a line break"):
        greeted().send(Stage.MAIL, text)


def test_lmtp_answers_the_end_of_data_for_each_recipient() -> None:
    protocol = greeted(lmtp=True)
    protocol.send(Stage.MAIL, "FROM:<>")
    for name in "abc":
        protocol.send(Stage.RCPT, f"TO:<{name}@b.example>")
    protocol.send(Stage.DATA)
    hear(protocol, b"250 a\r\n250 a\r\n250 b\r\n250 c\r\n354 go\r\n")
    protocol.end_of_data(3)
    events = hear(protocol, b"550 a\r\n250 b\r\n452 c\r\n")
    assert [event.reply.code for event in events if isinstance(event, Answered)] == [550, 250, 452]
    assert protocol.at_rest


def test_one_chunk_is_the_whole_message() -> None:
    protocol = greeted()
    with pytest.raises(RuntimeError, match="BDAT is out of turn"):
        protocol.begin_chunk(5)
    protocol.send(Stage.MAIL, "FROM:<>")
    protocol.send(Stage.RCPT, "TO:<a@b.example>")
    hear(protocol, b"250 a\r\n250 b\r\n")
    assert protocol.begin_chunk(5) == b"BDAT 5 LAST\r\n"
    assert protocol.end_of_data(1) == b""
    hear(protocol, b"552 too big\r\n")
    # RFC 3030, 2: only RSET makes sure of what a refused chunk has left behind.
    assert protocol.state is ClientState.RCPT
    protocol.send(Stage.RSET)
    hear(protocol, b"250 ok\r\n")
    assert protocol.at_rest


@pytest.mark.parametrize(
    ("sent", "heard", "last"),
    [
        ((Stage.MAIL,), b"354 what\r\n", OUT_OF_TURN),
        ((Stage.MAIL, Stage.RCPT), b"550 no\r\n250 yes\r\n", OUT_OF_TURN),
        ((Stage.MAIL, Stage.RCPT, Stage.DATA), b"550 no\r\n550 no\r\n354 yes\r\n", OUT_OF_TURN),
        ((Stage.MAIL, Stage.RCPT, Stage.DATA), b"250 a\r\n250 b\r\n250 c\r\n", OUT_OF_TURN),
        ((Stage.MAIL,), b"250 a\r\n250 b\r\n", UNASKED),
        ((), b"250 early\r\n", UNASKED),
        ((), b"421 timeout\r\n", Farewell(Reply(421, "", "timeout", final=True))),
    ],
)
def test_a_reply_that_fits_nothing_is_a_violation(
    sent: tuple[Stage, ...], heard: bytes, last: ClientEvent
) -> None:
    protocol = greeted()
    for stage in sent:
        protocol.send(stage)
    assert hear(protocol, heard)[-1] == last
    assert protocol.state is ClientState.CLOSED


def test_a_reply_ahead_of_its_command_is_no_answer_to_it() -> None:
    protocol = greeted()
    protocol.receive_data(b"250 whatever you say\r\n")
    assert not protocol.at_rest
    protocol.send(Stage.MAIL, "FROM:<>")
    assert protocol.next_event() == UNASKED


def test_a_yes_ahead_of_the_dot_is_no_success() -> None:
    protocol = greeted()
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA):
        protocol.send(stage)
    protocol.receive_data(b"250 a\r\n250 b\r\n354 c\r\n250 queued already\r\n")
    for _ in range(3):
        assert isinstance(protocol.next_event(), Answered)
    protocol.end_of_data(1)
    assert protocol.next_event() == UNASKED


def test_a_no_ahead_of_the_dot_is_an_answer_and_the_end() -> None:
    protocol = greeted()
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA):
        protocol.send(stage)
    events = hear(protocol, b"250 a\r\n250 b\r\n354 c\r\n552 enough\r\n")
    assert events[-1] == Answered(Stage.END_OF_DATA, Reply(552, "", "enough"))
    assert protocol.state is ClientState.CLOSED


def test_421_ends_the_session_at_any_step() -> None:
    protocol = greeted()
    protocol.send(Stage.MAIL, "FROM:<>")
    hear(protocol, b"421 4.3.2 shutting down\r\n")
    assert protocol.state is ClientState.CLOSED
    assert not protocol.at_rest


# standards.md T7: CVE-2021-38371 and its kin.
@pytest.mark.parametrize(
    "pieces",
    [
        [b"220 go\r\n250-AUTH PLAIN\r\n"],
        [b"220 go\r\n250 mx\r\n"],
        [b"220 go\r\n\r"],
        [b"220 go\r\n", b"250 mx\r\n"],
        [b"220 go\r\n", b"\x16"],
    ],
)
def test_nothing_in_clear_is_heard_behind_starttls(pieces: list[bytes]) -> None:
    protocol = greeted(b"250-mx\r\n250 STARTTLS\r\n")
    protocol.send(Stage.STARTTLS)
    events = [event for piece in pieces for event in hear(protocol, piece)]
    assert events[-1] == IN_CLEAR


def test_what_was_offered_in_clear_is_forgotten() -> None:
    protocol = greeted(b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
    with pytest.raises(RuntimeError, match="has not been asked"):
        protocol.secured()
    protocol.send(Stage.STARTTLS)
    hear(protocol, b"220 go\r\n")
    with pytest.raises(RuntimeError, match="out of turn"):
        protocol.send(Stage.MAIL, "FROM:<>")
    protocol.secured()
    assert protocol.secure
    assert protocol.capabilities == {}
    assert protocol.hello() == b"EHLO client.example\r\n"
    hear(protocol, b"250-mx\r\n250 SIZE 5\r\n")
    assert protocol.capabilities == {"SIZE": "5"}


@given(st.data())
def test_any_split_of_the_octets_gives_the_same_events(data: st.DataObject) -> None:
    parts = [b"250 ok\r\n", b"250-x\r\n", b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"\r"]
    wire = b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    def told(pieces: list[bytes]) -> list[ClientEvent]:
        protocol = greeted()
        for stage in (Stage.MAIL, Stage.RCPT, Stage.RCPT, Stage.DATA):
            protocol.send(stage)
        events: list[ClientEvent] = []
        for piece in pieces:
            events += hear(protocol, piece)
            if events and not isinstance(events[-1], Answered):
                break
        return events

    assert told(pieces) == told([wire])


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_no_input_raises(pieces: list[bytes], lmtp: bool) -> None:
    protocol = greeted(lmtp=lmtp)
    protocol.send(Stage.MAIL, "FROM:<>")
    for piece in pieces:
        hear(protocol, piece)
