"""The letter: where its header ends, and that every octet comes out as it went in."""

from __future__ import annotations

import os
import resource
import signal
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.message import Headers, Message

FIELDS = b"From: <anne@a.example>\r\nSubject: hi\r\n\tthere\r\n"

#: Octets as headers are made of, well formed or not.
WILD = st.lists(
    st.sampled_from(
        [
            b"A: b",
            b"Sub",
            b"ject:",
            b" ",
            b"\t",
            b"\r\n",
            b"\r",
            b"\n",
            b":",
            b"hello",
            b"\xe9",
            b"x y",
        ]
    ),
    max_size=20,
).map(b"".join)


def received(data: bytes, *cuts: int, memory: int = 262_144, header_limit: int = 9999) -> Message:
    message = Message(memory=memory, header_limit=header_limit)
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        message.append(data[start:end])
    message.finish()
    return message


def body_of(message: Message) -> bytes:
    return b"".join(message.body())


@pytest.mark.parametrize(
    ("data", "block", "body"),
    [
        (b"", b"", b""),
        (b"\r\n", b"", b""),
        (b"\r\nhello\r\n", b"", b"hello\r\n"),
        (b"\r\nSubject: no header\r\n", b"", b"Subject: no header\r\n"),
        (b"A: b\r\n\r\nhello\r\n", b"A: b\r\n", b"hello\r\n"),
        (b"A: b\r\n\r\n\r\nhello", b"A: b\r\n", b"\r\nhello"),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\n", b"A: b\r\n", b""),
        (b"A: b", b"A: b", b""),
        (b"A : b\r\n c\r\n\td\r\n\r\nx", b"A : b\r\n c\r\n\td\r\n", b"x"),
        (b"A: b\r\n \r\n\r\nx", b"A: b\r\n \r\n", b"x"),
        # A line that is no field begins the body, and no empty line is invented.
        (b"hello\r\nA: b\r\n", b"", b"hello\r\nA: b\r\n"),
        (b"hello", b"", b"hello"),
        (b"A: b\r\nhello\r\nC: d\r\n\r\nx", b"A: b\r\n", b"hello\r\nC: d\r\n\r\nx"),
        (b"A: b\r\nhello", b"A: b\r\n", b"hello"),
        (b"A: b\r\nC\xe9: d\r\n\r\n", b"A: b\r\n", b"C\xe9: d\r\n\r\n"),
        (b"A: b\r\n: d\r\n\r\n", b"A: b\r\n", b": d\r\n\r\n"),
        (b"A: b\r\nC d: e\r\n\r\n", b"A: b\r\n", b"C d: e\r\n\r\n"),
        (b" folded: nowhere\r\nA: b\r\n\r\n", b"", b" folded: nowhere\r\nA: b\r\n\r\n"),
        # Nothing but CRLF ends a line.
        (b"A: b\n\nC: d\r\n\r\nx", b"A: b\n\nC: d\r\n", b"x"),
        (b"A: b\r\rC: d\r\n\r\nx", b"A: b\r\rC: d\r\n", b"x"),
        (b"A: b\r\n\nx\r\n", b"A: b\r\n", b"\nx\r\n"),
        (b"A: b\r\n\r", b"A: b\r\n", b"\r"),
    ],
)
def test_where_the_header_ends(data: bytes, block: bytes, body: bytes) -> None:
    for cuts in [(), *((cut,) for cut in range(len(data))), tuple(range(1, len(data)))]:
        message = received(data, *cuts)
        assert (bytes(message.headers), body_of(message)) == (block, body), cuts
        assert message.headers_complete
        assert bytes(message) == data
        assert message.size == len(data)
        assert message.body_size == len(body)


@given(WILD, st.lists(st.integers(0, 60)), st.integers(0, 60))
def test_any_split_gives_the_same_message(data: bytes, cuts: list[int], limit: int) -> None:
    whole = received(data, header_limit=limit)
    split = received(data, *sorted(min(cut, len(data)) for cut in cuts), header_limit=limit)
    assert split.oversized_header == whole.oversized_header
    assert bytes(split) == bytes(whole) == (b"" if whole.oversized_header else data)
    assert bytes(split.headers) == bytes(whole.headers)
    assert body_of(split) == body_of(whole)
    assert split.separated == whole.separated


@given(WILD, st.sampled_from(["prepend", "add", "replace", "remove", "body"]))
def test_what_was_changed_is_read_as_it_was_meant(data: bytes, change: str) -> None:
    message = Message.parse(data)
    body = body_of(message)
    match change:
        case "prepend":
            message.headers.prepend("X", "y")
            indented = body[:1] in (b" ", b"\t") and not message.separated
            assert bytes(message) == b"X: y\r\n" + indented * b"\r\n" + data
        case "add":
            message.headers.add("X", "y")
        case "replace":
            message.headers.replace("A", "y")
        case "remove":
            message.headers.remove("A")
        case _:
            body = b"Subject: of the body\r\n\r\n"
            message.replace_body(body)
    again = Message.parse(bytes(message))
    assert body_of(again) == body
    assert list(again.headers) == list(message.headers)
    assert len(bytes(message)) == message.size


def test_the_header_is_complete_with_its_empty_line() -> None:
    message = Message()
    for octet in b"A: b\r\nC: d\r\n\r":
        message.append(bytes([octet]))
        assert not message.headers_complete
    assert message.size == len(b"A: b\r\nC: d\r\n\r")
    message.append(b"\n")
    assert message.headers_complete
    assert message.separated
    assert message.headers.get("c") == "d"


def test_only_the_new_field_is_new() -> None:
    data = FIELDS + b"\r\nhello\r\n.\r\n" + bytes(range(256))
    message = Message.parse(data)
    message.headers.prepend("Received", "from a by b; now")
    assert bytes(message) == b"Received: from a by b; now\r\n" + data


def test_a_field_that_was_there_first_stays_on_top() -> None:
    message = Message()
    message.headers.add("X-Policy", "early")
    message.append(FIELDS + b"\r\nhello")
    assert bytes(message) == b"X-Policy: early\r\n" + FIELDS + b"\r\nhello"


@pytest.mark.parametrize("step", [1, 7, 100, 2000])
@pytest.mark.parametrize(
    ("header", "oversized"),
    [
        (b"A: " + b"b" * 995 + b"\r\n", False),
        (b"A: " + b"b" * 996 + b"\r\n", True),
        (b"A: b\r\n" * 165 + b"A: bbbbb\r\n", False),
        (b"A: b\r\n" * 165 + b"A: bbbbbb\r\n", True),
        (b"A: b\r\n" * 1000, True),
        (b"A" * 10_000 + b": no name\r\n", False),
    ],
)
def test_an_oversized_header_is_not_kept(header: bytes, oversized: bool, step: int) -> None:
    message = Message(header_limit=1000)
    data = header + b"\r\n" + b"x" * 10_000
    for start in range(0, len(data), step):
        message.append(data[start : start + step])
    message.finish()
    assert bool(message.oversized_header) == oversized
    assert message.headers_complete != oversized
    assert bytes(message) == (b"" if oversized else data)


def test_a_header_may_fill_its_limit() -> None:
    message = Message(header_limit=len(FIELDS))
    message.append(FIELDS + b"\r\n" + b"x" * 100)
    assert not message.oversized_header
    assert message.headers_complete
    message = Message(header_limit=len(FIELDS) - 1)
    message.append(FIELDS + b"\r\n" + b"x" * 100)
    assert message.oversized_header


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("line", [b"A: b\r\n", b"\tb\r\n"], ids=["fields", "folds"])
def test_a_header_has_only_so_many_lines(line: bytes, step: int) -> None:
    for lines, oversized in ((10, False), (11, True)):
        message = Message(header_lines=10)
        data = b"A: b\r\n" + line * (lines - 1) + b"\r\n" + b"x\r\n" * 100
        for start in range(0, len(data), step):
            message.append(data[start : start + step])
        message.finish()
        assert bool(message.oversized_header) == oversized
        assert bytes(message) == (b"" if oversized else data)


@pytest.mark.parametrize(
    "header",
    [
        b"A: b\r\n" * 170_000,
        b"A: " + b"b" * 1_000_000,
        b"\n" * 1_000_000,
        b"A" * 1_000_000,
        b"A: b\r\n c" + b"\r\n c" * 250_000,
        b"A:" + b"\r\n\t" * 333_000,
    ],
    ids=["fields", "one field", "line feeds", "one name", "one folded field", "only folds"],
)
def test_a_header_in_single_octets_takes_linear_time(header: bytes) -> None:
    message = Message(header_limit=2_000_000, header_lines=1_000_000)
    begun = time.process_time()
    for octet in header:
        message.append(b"%c" % octet)
    message.finish()
    assert bytes(message) == header
    assert time.process_time() - begun < 20  # one or two seconds; hours where it is quadratic


def test_a_body_goes_to_a_file_beyond_its_memory(tmp_path: Path) -> None:
    message = Message(memory=1000, directory=tmp_path)
    before = open_files()
    message.append(FIELDS + b"\r\n" + b"a" * 1000)
    assert open_files() == before
    message.append(b"b")
    assert open_files() == before + 1
    assert list(tmp_path.iterdir()) == []
    message.append(b"c" * 5000)
    message.finish()
    assert bytes(message) == FIELDS + b"\r\n" + b"a" * 1000 + b"b" + b"c" * 5000
    assert message.body_size == 6001
    message.drop()
    assert open_files() == before


def test_a_message_that_is_forgotten_leaves_no_file_open() -> None:
    before = open_files()
    message = received(b"\r\n" + b"x" * 100, memory=10)
    assert open_files() == before + 1
    del message
    assert open_files() == before


@given(st.binary(max_size=300), st.integers(0, 200), st.integers(1, 50), st.integers(1, 70))
def test_octets_come_out_in_pieces_of_the_size_asked_for(
    body: bytes, memory: int, step: int, size: int
) -> None:
    data = b"A: b\r\n\r\n" + body
    message = received(data, *range(step, len(data), step), memory=memory)
    pieces = list(message.chunks(size))
    assert b"".join(pieces) == b"".join(message) == bytes(message) == data
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.mark.parametrize("memory", [0, 100_000])
def test_readers_do_not_disturb_each_other(memory: int) -> None:
    data = FIELDS + b"\r\n" + os.urandom(90_000)
    message = received(data, memory=memory)
    first, second = message.chunks(1000), message.chunks(777)
    halves = [b"", b""]
    for one, other in zip(first, second, strict=False):
        halves[0] += one
        halves[1] += other
    assert halves[0] + b"".join(first) == data
    assert data.startswith(halves[1])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: message.open().read(), range(8))) == [data] * 8


@given(
    st.sampled_from([0, 1000]),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 2), st.integers(0, 130))),
)
def test_the_open_file_reads_like_the_octets(
    memory: int, moves: list[tuple[int, int, int]]
) -> None:
    data = b"A: b\r\nC: d\r\n\r\n" + bytes(range(90))
    message = received(data, memory=memory)
    with message.open() as file:
        assert file.readable()
        assert file.seekable()
        place = 0
        for offset, whence, size in moves:
            place = (offset, place, len(data))[whence] + (offset if whence == 1 else 0)
            place = len(data) - offset if whence == 2 and offset <= len(data) else place
            file.seek(place)
            piece = file.read(size)
            assert piece == data[place : place + size]
            place += len(piece)
            assert file.tell() == place
        assert file.seek(-5, os.SEEK_END) == len(data) - 5
        assert file.read() == data[-5:]
        file.seek(0)
        assert b"".join(file) == data
        with pytest.raises(ValueError, match=r"negative|cannot seek"):
            file.seek(-1)


@pytest.mark.parametrize("memory", [0, 1000])
def test_a_body_can_be_made_from_itself(memory: int) -> None:
    message = received(FIELDS + b"\r\n" + b"hello\r\n" * 10, memory=memory)
    reader = message.body()
    message.replace_body(piece.upper() for piece in message.body())
    assert bytes(message) == FIELDS + b"\r\n" + b"HELLO\r\n" * 10
    assert b"".join(reader) in (b"hello\r\n" * 10, b"HELLO\r\n" * 10)
    message.replace_body(b"")
    assert bytes(message) == FIELDS + b"\r\n"


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (b"", b"\r\nA: x"),
        (b"C: d", b"C: d\r\n\r\nA: x"),
        (b"C: d\r\n", b"C: d\r\n\r\nA: x"),
        (b"C: d\r\nhello", b"C: d\r\n\r\nA: x"),
        (b"C: d\r\n\r\nhello", b"C: d\r\n\r\nA: x"),
    ],
)
def test_a_new_body_never_becomes_header(data: bytes, changed: bytes) -> None:
    message = Message.parse(data)
    message.replace_body([b"A", b": x"])
    assert bytes(message) == changed


def test_a_dropped_message_keeps_its_headers_only() -> None:
    message = received(FIELDS + b"\r\nhello", memory=0)
    reader = message.open()
    message.drop()
    message.drop()
    assert (bytes(message), message.body_size) == (FIELDS + b"\r\n", 0)
    with pytest.raises(ValueError, match="closed"):
        reader.read()


@pytest.fixture
def small_disk() -> Iterator[int]:
    """A limit on the size of files, which the kernel reports like a full disk: an OSError."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_an_os_error_and_loses_nothing(small_disk: int) -> None:
    message = Message(memory=100)
    message.append(b"\r\n" + b"a" * 9000)
    for _ in range(2):
        with pytest.raises(OSError, match="File too large"):
            message.append(b"b" * 2000)
    assert bytes(message) == b"\r\n" + b"a" * 9000
    with pytest.raises(OSError, match="File too large"):
        message.replace_body([b"c" * 6000] * 2)
    message.append(b"d" * 1000)
    assert bytes(message) == b"\r\n" + b"a" * 9000 + b"d" * 1000


def test_a_directory_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    message = Message(memory=10, directory=tmp_path / "gone")
    message.append(b"\r\n" + b"a" * 10)
    with pytest.raises(FileNotFoundError):
        message.append(b"b")
    assert bytes(message) == b"\r\n" + b"a" * 10


def test_small_pieces_do_not_weigh_more_than_their_octets() -> None:
    message = Message(memory=200_000)
    message.append(b"\r\n")
    tracemalloc.start()
    for number in range(50_000):
        message.append(b"%04d" % (number % 10_000))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert message.body_size == 200_000
    assert used < 300_000


def test_headers_are_found_here_too() -> None:
    assert isinstance(Message.parse(b"A: b\r\n\r\n").headers, Headers)


def open_files() -> int:
    return len(os.listdir("/dev/fd"))
