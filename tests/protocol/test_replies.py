from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.protocol.replies import (
    BAD_LINE,
    CODE_CHANGED,
    FLOOD,
    LINE_LIMIT,
    LINES_LIMIT,
    LONG_REPLY,
    NO_REPLY,
    REPLY_LIMIT,
    UNREAD_LIMIT,
    ProtocolViolation,
    ReplyReader,
)
from gatepost.reply import Reply

Read = list[Reply | ProtocolViolation]


def read(*pieces: bytes) -> Read:
    """All that a reader says of the pieces, up to the first violation."""
    reader = ReplyReader()
    said: Read = []
    for piece in pieces:
        reader.receive_data(piece)
        while (reply := reader.next_reply()) is not None:
            said.append(reply)
            if isinstance(reply, ProtocolViolation):
                return said
    return said


@pytest.mark.parametrize(
    ("wire", "reply"),
    [
        (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", "Ok")),
        (b"250 Ok\r\n", Reply(250, "", "Ok")),
        (b"250\r\n", Reply(250)),  # RFC 5321, 4.2: the text may be missing
        (b"250 \r\n", Reply(250)),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0")),
        (b"354 End with .\r\n", Reply(354, "", "End with .")),
        (b"354 2.0.0 go on\r\n", Reply(354, "2.0.0", "go on")),
        (b"421 4.3.2 Going down\r\n", Reply(421, "4.3.2", "Going down", final=True)),
        (b"550 4.1.1 other class\r\n", Reply(550, "", "4.1.1 other class")),
        (b"550 5.1.1234 no status\r\n", Reply(550, "", "5.1.1234 no status")),
        (b"550 5.1.1x no status\r\n", Reply(550, "", "5.1.1x no status")),
        (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, "", "a\nb\nc")),
        (b"250-\r\n250\r\n", Reply(250, "", "\n")),
        (b"550-5.7.1 a\r\n550 5.7.1 b\r\n", Reply(550, "5.7.1", "a\nb")),
        (b"550-5.7.1 a\r\n550 b\r\n", Reply(550, "5.7.1", "a\nb")),
        (b"550-5.7.1 a\r\n550 5.7.2 b\r\n", Reply(550, "5.7.1", "a\n5.7.2 b")),
        (b"550-a\r\n550 5.7.2 b\r\n", Reply(550, "", "a\n5.7.2 b")),
        (b"250 Gr\xc3\xbc\xc3\x9fe\r\n", Reply(250, "", "Grüße")),
        (b"250 \xff\r\n", Reply(250, "", "\N{REPLACEMENT CHARACTER}")),
    ],
)
def test_a_reply_is_read(wire: bytes, reply: Reply) -> None:
    assert read(wire) == [reply]


# standards.md T9 and T10.
@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (b"250 ok\n", BAD_LINE),
        (b"250 a\n250 b\r\n", BAD_LINE),
        (b"250 a\r250 b\r\n", BAD_LINE),
        (b"250 ok\r\r\n", BAD_LINE),
        (b"hello\r\n", NO_REPLY),
        (b"\r\n", NO_REPLY),
        (b"25 ok\r\n", NO_REPLY),
        (b"2500 ok\r\n", NO_REPLY),
        (b"150 ok\r\n", NO_REPLY),
        (b"600 ok\r\n", NO_REPLY),
        (b"250+ok\r\n", NO_REPLY),
        ("٢٥٠ ok\r\n".encode(), NO_REPLY),
        (b"\x16\x03\x01\x02\x00\r\n", NO_REPLY),
        (b"250-a\r\n550 b\r\n", CODE_CHANGED),
        (b"x" * (LINE_LIMIT + 1), BAD_LINE),
        (b"250 " + b"x" * (LINE_LIMIT - 5) + b"\r\n", BAD_LINE),
        (b"250-x\r\n" * (LINES_LIMIT + 1), LONG_REPLY),
        ((b"250-" + b"x" * 1000 + b"\r\n") * (REPLY_LIMIT // 1000 + 1), LONG_REPLY),
        (b"450-4.7.1 later\r\n" * 1_000_000, FLOOD),
    ],
)
def test_what_no_server_may_say_is_a_violation(wire: bytes, said: ProtocolViolation) -> None:
    assert read(wire) == [said]


def test_the_longest_line_is_read() -> None:
    text = "x" * (LINE_LIMIT - 6)
    assert read(f"250 {text}\r\n".encode()) == [Reply(250, "", text)]


def test_a_violation_is_the_last_that_is_read() -> None:
    reader = ReplyReader()
    reader.receive_data(b"250-a\r\n550 b\r\n250 c\r\n")
    assert reader.next_reply() == CODE_CHANGED
    reader.receive_data(b"250 d\r\n")
    assert reader.next_reply() == CODE_CHANGED
    assert reader.unread == 0


def test_a_server_that_never_stops_fills_no_memory() -> None:
    reader = ReplyReader()
    for _ in range(100):
        reader.receive_data(b"250 ok\r\n" * 10_000)
        assert reader.unread <= UNREAD_LIMIT
    assert reader.next_reply() == FLOOD


def test_octets_of_an_unfinished_reply_count_as_unread() -> None:
    reader = ReplyReader()
    reader.receive_data(b"250-a\r\n250")
    assert reader.next_reply() is None
    assert reader.unread == 10
    reader.clear()
    assert reader.unread == 0


def test_no_control_character_of_the_server_survives() -> None:
    wire = bytes(octet for octet in range(256) if octet not in b"\r\n")
    (reply,) = read(b"550-x\r\n550 $(id) `id` " + wire + b"\r\n")
    assert isinstance(reply, Reply)
    assert reply.text.replace("\n", "").isprintable()
    assert reply.code == 550


@given(st.data())
def test_any_split_of_the_octets_gives_the_same_replies(data: st.DataObject) -> None:
    parts = [
        b"250 2.0.0 Ok\r\n", b"250-a\r\n", b"250 b\r\n", b"550 5.1.1 No\r\n", b"354 Go\r\n",
        b"250", b"-", b" ", b"\r\n", b"\r", b"\n", b"x" * 1500, b"421 Bye\r\n",
    ]  # fmt: skip
    wire = b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=12)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    whole = read(wire)
    assert read(*pieces) == whole
    assert read(*(wire[i : i + 1] for i in range(len(wire)))) == whole


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_input_raises(pieces: list[bytes]) -> None:
    for reply in read(*pieces):
        if isinstance(reply, Reply):
            assert 200 <= reply.code <= 599
            assert bytes(reply).endswith(b"\r\n")


@given(
    st.integers(200, 599),
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40), min_size=1),
)
def test_what_a_reply_encodes_is_read_back(code: int, lines: list[str]) -> None:
    reply = Reply(code, f"{'2' if code < 400 else code // 100}.0.0", "\n".join(lines))
    (back,) = read(bytes(reply))
    assert isinstance(back, Reply)
    assert (back.code, back.status, back.text) == (reply.code, reply.status, reply.text)
