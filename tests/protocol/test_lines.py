"""The lexer against slow and obvious references: what ends a line, and what ends a message."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost.protocol import states
from gatepost.protocol.events import Bdat, Chunk
from gatepost.protocol.lines import ChunkReader, DataReader, Flaw, LineBuffer, TextFilter
from gatepost.protocol.server import ServerProtocol
from gatepost.reply import Reply

LIMIT = 12
ENVELOPE = (b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@example.org>\r\n")
LONG, STRAY, TLS = Flaw.LONG_LINE, Flaw.STRAY_LINE_END, Flaw.TLS_HELLO

#: Octets in which everything that matters is frequent.
tricky = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"x", b"\r\n.\r\n", b"\0", b"\xff", b"x" * 9]),
    max_size=24,
).map(b"".join)
cuts = st.lists(st.integers(0, 80), max_size=6)
laws = settings(deadline=None, max_examples=300)


def pieces(octets: bytes, places: Iterable[int]) -> list[bytes]:
    """The octets, cut at these places."""
    edges = [0, *sorted(min(place, len(octets)) for place in places), len(octets)]
    return [octets[start:end] for start, end in pairwise(edges)]


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [bytes((octet,)) for octet in octets]


# -- Command lines --------------------------------------------------------------------------------


def lines_of(received: Iterable[bytes], limit: int = LIMIT) -> list[bytes | Flaw]:
    """All lines, up to the first after which a session ends."""
    buffer = LineBuffer(limit)
    found: list[bytes | Flaw] = []
    for piece in received:
        buffer.append(piece)
        while (line := buffer.line()) is not None:
            found.append(line)
            if line in (STRAY, TLS):
                return found
    return found


@pytest.mark.parametrize(
    ("received", "lines"),
    [
        (b"NOOP\r\n", [b"NOOP"]),
        (b"a\r\nb\r\n\r\nc", [b"a", b"b", b""]),
        (b"NOOP\n", [STRAY]),
        (b"a\r\nb\nc\r\nd\r\n", [b"a", STRAY]),
        (b"a\rb\r\n", [b"a\rb"]),  # its parser knows that a CR has no place in a command
        (b"a\r\r\n", [b"a\r"]),
        (b"a\n\r\n", [STRAY]),
        (b"x" * 10 + b"\r\n", [b"x" * 10]),
        (b"x" * 11 + b"\r\n", [LONG]),
        (b"x" * 5000 + b"\r\nb\r\n", [LONG, b"b"]),
        (b"x" * 5000 + b"\r\r\nb\r\n", [LONG, b"b"]),
        (b"x" * 5000 + b"\nb\r\n", [STRAY]),
        (b"x" * 5000, []),
        (b"\x16\x03\x01\x02", [TLS]),
        (b"\x16\x03\x01\r\n", [TLS]),
        (b"\x16\x03\x01\n", [TLS]),
        (b"a\r\n\x16\x03", [b"a", TLS]),
        (b"x" * 5000 + b"\x16\x03\r\n", [LONG]),
        (b"", []),
    ],
)
def test_lines(received: bytes, lines: list[bytes | Flaw]) -> None:
    assert lines_of([received]) == lines
    assert lines_of(octet_by_octet(received)) == lines


command_octets = st.lists(
    st.sampled_from([b"\r\n", b"\r\n", b"\r", b"\n", b"a", b"bc", b"\x16", b"\x03", b"x" * 9]),
    max_size=24,
).map(b"".join)


@given(received=command_octets, places=cuts)
@example(received=b"x" * 20 + b"\x16\x03" + b"\r\n", places=[20])
@laws
def test_lines_are_the_same_in_any_split(received: bytes, places: list[int]) -> None:
    assert lines_of(pieces(received, places)) == lines_of(octet_by_octet(received))


def test_an_endless_line_is_not_kept() -> None:
    buffer = LineBuffer(2048)
    for _ in range(10_000):
        buffer.append(b"x" * 100)
        assert buffer.line() is None
        assert buffer.unread <= 2048
    buffer.append(b"\r\nNOOP\r\n")
    assert [buffer.line(), buffer.line(), buffer.line()] == [LONG, b"NOOP", None]


def test_what_is_unread_can_be_taken_and_forgotten() -> None:
    buffer = LineBuffer(LIMIT)
    buffer.append(b"DATA\r\nFrom:\r\n")
    assert buffer.line() == b"DATA"
    assert buffer.unread == 7
    assert buffer.take(7) == b"From:\r\n"
    assert buffer.unread == 0
    buffer.append(b"more")
    buffer.clear()
    assert buffer.take(7) == b""


@pytest.mark.parametrize("most", [3, 6, 7, 100])
def test_what_was_taken_too_much_is_put_back(most: int) -> None:
    buffer = LineBuffer(LIMIT)
    buffer.append(b"DATA\r\nx.NOOP\r\nRSET\r\n")
    assert buffer.line() == b"DATA"
    taken = buffer.take(most)
    assert (taken[:2], len(taken)) == (b"x.", min(most, 14))
    buffer.put_back(taken[2:])
    assert buffer.unread == 12
    assert [buffer.line(), buffer.line(), buffer.line()] == [b"NOOP", b"RSET", None]
    assert buffer.unread == 0


def test_many_small_chunks_cost_what_their_octets_cost() -> None:
    def seconds(count: int) -> float:
        protocol = ServerProtocol()
        for octets in (b"", b"EHLO x.example\r\n", *ENVELOPE, b"BDAT 1\r\nx" * count):
            protocol.receive_data(octets)
            started = process_time()
            while (event := protocol.next_event()) is not None:
                if not isinstance(event, Bdat | Chunk):
                    protocol.reply(Reply(250))
            protocol.offer(frozenset({"CHUNKING"}))
        assert protocol.state is states.BDAT
        return process_time() - started

    few, many = (min(seconds(count) for _ in range(3)) for count in (2_000, 64_000))
    assert many < 60 * few  # 32 times as much; a hundred times where each looks at all that follow


# -- The text of a message ------------------------------------------------------------------------


def filtered(
    received: Iterable[bytes], limit: int, *, repair: bool = False
) -> tuple[bytes, Flaw | None]:
    """What is kept of a whole text, and what is wrong with it."""
    text_filter = TextFilter(limit, repair=repair)
    kept = b"".join([text_filter.filter(piece) for piece in received]) + text_filter.end()
    return kept, text_filter.flaw


def flaw_of(text: bytes, limit: int, *, repair: bool) -> Flaw | None:
    """The same, slow and obvious."""
    if not repair and re.search(rb"(?<!\r)\n|\r(?!\n)", text):
        return STRAY
    return LONG if any(len(line) > limit for line in re.findall(rb"[^\n]*\n?", text)) else None


def mended(text: bytes) -> bytes:
    """The same, slow and obvious."""
    return b"\r\n".join(
        line.replace(b"\r", b" ") for line in text.replace(b"\r\n", b"\n").split(b"\n")
    )


@given(text=tricky, places=cuts)
@laws
def test_text_is_kept_whole_or_refused(text: bytes, places: list[int]) -> None:
    flaw = flaw_of(text, LIMIT, repair=False)
    for split in (pieces(text, places), octet_by_octet(text), [text]):
        kept, found = filtered(split, LIMIT)
        assert found is flaw
        if flaw is None:
            assert kept == text


@given(text=tricky, places=cuts)
@laws
def test_repaired_text_has_no_stray_line_ends(text: bytes, places: list[int]) -> None:
    flaw = flaw_of(text, LIMIT, repair=True)
    for split in (pieces(text, places), octet_by_octet(text), [text]):
        kept, found = filtered(split, LIMIT, repair=True)
        assert found is flaw
        if flaw is None:
            assert kept == mended(text)
            assert not re.search(rb"(?<!\r)\n|\r(?!\n)", kept)


@pytest.mark.parametrize("before", [b"", b"\r\n", b"short\r\n" * 3])
@pytest.mark.parametrize("behind", [b"\r\n", b"\r\nshort\r\n"])
@pytest.mark.parametrize(("length", "flaw"), [(998, None), (999, LONG), (1000, LONG)])
def test_the_longest_line(before: bytes, behind: bytes, length: int, flaw: Flaw | None) -> None:
    text = before + b"x" * length + behind
    for place in range(len(text) + 1):
        kept, found = filtered(pieces(text, [place]), 1000)
        assert found is flaw
        if flaw is None:
            assert kept == text


def test_a_line_that_never_ends_is_long_as_soon_as_it_is_over_the_limit() -> None:
    text_filter = TextFilter(1000)
    assert text_filter.filter(b"x" * 1000) == b"x" * 1000
    assert text_filter.flaw is None
    assert text_filter.filter(b"x") == b""
    assert text_filter.flaw is LONG


def test_a_flawed_text_is_swallowed() -> None:
    text_filter = TextFilter(1000)
    assert text_filter.filter(b"one\r\n") == b"one\r\n"
    assert text_filter.filter(b"two\nthree\r\n") == b""
    assert text_filter.filter(b"four\r\n") == b""
    assert text_filter.end() == b""
    assert text_filter.flaw is STRAY


def test_a_stray_line_end_weighs_more_than_a_long_line() -> None:
    assert filtered([b"x" * 20, b"\r\n", b"a\nb\r\n"], LIMIT)[1] is STRAY
    assert filtered([b"x" * 20 + b"\r"], LIMIT)[1] is STRAY


# -- The end of a message -------------------------------------------------------------------------


def read_all(received: Iterable[bytes]) -> tuple[bytes, bytes, bool]:
    """The message, what stands behind its end, and whether it has ended."""
    reader = DataReader()
    message = behind = b""
    for piece in received:
        if reader.ended:
            behind += piece
        else:
            content, behind = reader.read(piece)
            message += content
    return message, behind, reader.ended


def message_in(octets: bytes) -> tuple[bytes, bytes, bool]:
    """The same, slow and obvious: lines end with CRLF, and a dot alone on one ends it all."""
    lines = octets.split(b"\r\n")
    message = b""
    for number, line in enumerate(lines):
        is_last = number == len(lines) - 1
        if line == b"." and not is_last:
            return message, b"\r\n".join(lines[number + 1 :]), True
        message += line.removeprefix(b".") + (b"" if is_last else b"\r\n")
    return message, b"", False


@given(octets=tricky, places=cuts)
@laws
def test_a_message_ends_where_its_dot_stands_alone(octets: bytes, places: list[int]) -> None:
    message, behind, ended = message_in(octets)
    for split in (pieces(octets, places), octet_by_octet(octets), [octets]):
        got, left, found = read_all(split)
        assert found is ended
        if ended:
            assert (got, left) == (message, behind)
        else:
            assert message.startswith(got)
            assert len(message) - len(got) <= 3  # CRLF and CR, round a dot that may be the last


@pytest.mark.parametrize(
    ("octets", "message", "behind"),
    [
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"...\r\n.\r\n", b"..\r\n", b""),
        (b".a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n", b""),
        (b"a\n.\n\r\n.\r\n", b"a\n.\n\r\n", b""),
        (b"a\n.\r\n\r\n.\r\n", b"a\n.\r\n\r\n", b""),
        (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", b""),
        (b"a\r\n.\0\r\n.\r\n", b"a\r\n\0\r\n", b""),
        (b"\0.\r\n.\r\n", b"\0.\r\n", b""),
    ],
)
def test_messages(octets: bytes, message: bytes, behind: bytes) -> None:
    assert read_all([octets]) == (message, behind, True)
    assert read_all(octet_by_octet(octets)) == (message, behind, True)


@given(octets=st.binary(max_size=60), size=st.integers(0, 70), places=cuts)
@laws
def test_a_chunk_is_as_long_as_it_says(octets: bytes, size: int, places: list[int]) -> None:
    reader = ChunkReader(size)
    chunk = behind = b""
    for piece in pieces(octets, places):
        content, rest = reader.read(piece)
        chunk, behind = chunk + content, behind + rest
    assert (chunk, behind) == (octets[:size], octets[size:])
    assert reader.ended is (len(octets) >= size)
