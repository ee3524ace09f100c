from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.protocol.lines import DataReader
from gatepost.protocol.stuffing import Stuffing, Survey, header_is_ascii

TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\xe9", b""])).map(b"".join)
ANY = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\xe9", b""])).map(b"".join)


def split(octets: bytes, cuts: list[int]) -> list[bytes]:
    cuts = sorted(min(cut, len(octets)) for cut in cuts)
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


def stuffed(pieces: list[bytes]) -> bytes:
    stuffing = Stuffing()
    return b"".join([*map(stuffing.stuff, pieces), stuffing.end()])


def surveyed(pieces: list[bytes]) -> Survey:
    survey = Survey()
    for piece in pieces:
        survey.add(piece)
    return survey


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a", b"a\r\n"),
        (b".", b"..\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a.\r\n", b"a.\r\n"),
        (b"a\r\n.b\r\n..\r\n", b"a\r\n..b\r\n...\r\n"),
        (b"\r\n.\r\n", b"\r\n..\r\n"),
    ],
)
def test_a_dot_that_begins_a_line_is_doubled(message: bytes, wire: bytes) -> None:
    assert stuffed([message]) == wire
    assert stuffed([message[i : i + 1] for i in range(len(message))]) == wire


@given(TEXT, st.lists(st.integers(0, 40), max_size=8))
def test_unstuffing_undoes_stuffing(message: bytes, cuts: list[int]) -> None:
    wire = stuffed(split(message, cuts)) + b".\r\n"
    # RFC 5321, 4.5.2: of a line that begins with a dot and goes on, the dot is removed.
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    unstuffed = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])
    assert unstuffed in (message, message + b"\r\n")
    assert unstuffed == message or not message.endswith(b"\r\n")


@given(TEXT, st.lists(st.integers(0, 40), max_size=8))
def test_our_server_reads_what_our_client_stuffs(message: bytes, cuts: list[int]) -> None:
    reader = DataReader()
    content, behind = reader.read(stuffed(split(message, cuts)) + b".\r\nQUIT\r\n")
    assert reader.ended
    assert behind == b"QUIT\r\n"
    assert content in (message, message + b"\r\n")


@given(ANY, st.lists(st.integers(0, 40), max_size=8))
def test_a_survey_sees_the_same_in_any_split(message: bytes, cuts: list[int]) -> None:
    survey = surveyed(split(message, cuts))
    assert survey.size == len(message)
    assert survey.eight_bit == (b"\xe9" in message)
    rest = message.replace(b"\r\n", b"")
    assert survey.stray == (b"\r" in rest or b"\n" in rest)


@given(ANY, st.lists(st.integers(0, 40), max_size=8))
def test_the_header_ends_at_the_first_empty_line(message: bytes, cuts: list[int]) -> None:
    header = (b"\r\n" + message).partition(b"\r\n\r\n")[0]
    assert header_is_ascii(split(message, cuts)) == header.isascii()
