"""The ClientHello: read as RFC 8446, 4.1.2 writes it down, in any pieces, and nothing else."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.server.client_hello import LONGEST, MOST_RECORDS, BadHello, ClientHello, read_hello


def vector(octets: bytes, width: int) -> bytes:
    return len(octets).to_bytes(width) + octets


def extension(kind: int, octets: bytes) -> bytes:
    return kind.to_bytes(2) + vector(octets, 2)


def server_name(name: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(bytes((kind,)) + vector(name, 2), 2))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector(b"".join(vector(name, 1) for name in protocols), 2))


def message(*extensions: bytes, behind: bytes = b"") -> bytes:
    """A handshake message with a ClientHello."""
    body = (
        b"\x03\x03" + bytes(32) + vector(bytes(32), 1) + vector(b"\x13\x01", 2) + vector(b"\0", 1)
    )
    body += vector(b"".join(extensions), 2) + behind
    return b"\x01" + vector(body, 3)


def records(message: bytes, *, size: int = 16_384) -> bytes:
    """The message in records that each hold so many octets of it."""
    pieces = (message[start : start + size] for start in range(0, len(message), size))
    return b"".join(b"\x16\x03\x01" + vector(piece, 2) for piece in pieces)


def hello(*extensions: bytes) -> bytes:
    return records(message(*extensions))


GREASE = extension(0x0A0A, b"")
PADDING = extension(21, bytes(200))
NAMED = server_name(b"MX.example.org")


@pytest.mark.parametrize(
    ("octets", "read"),
    [
        (hello(), ClientHello()),
        (hello(NAMED), ClientHello("mx.example.org")),
        (hello(alpn(b"smtp")), ClientHello("", (b"smtp",))),
        (hello(alpn(b"h2", b"http/1.1")), ClientHello("", (b"h2", b"http/1.1"))),
        (hello(GREASE, alpn(b"smtp"), PADDING, NAMED), ClientHello("mx.example.org", (b"smtp",))),
        (hello(PADDING) + b"whatever follows", ClientHello()),
        (hello(server_name(b"192.0.2.1")), ClientHello("192.0.2.1")),
        (hello(alpn(b"\xff" * 255)), ClientHello("", (b"\xff" * 255,))),
    ],
)
def test_good_ones(octets: bytes, read: ClientHello) -> None:
    assert read_hello(octets) == read


def test_one_without_any_extensions() -> None:
    """As clients of TLS 1.2 may send it (RFC 5246, 7.4.1.2)."""
    body = b"\x03\x03" + bytes(32) + vector(b"", 1) + vector(b"\xc0\x2f", 2) + vector(b"\0", 1)
    assert read_hello(records(b"\x01" + vector(body, 3))) == ClientHello()


@pytest.mark.parametrize("name", ["mx.example.org", None])
@pytest.mark.parametrize("protocols", [["smtp", "http/1.1"], []])
def test_what_openssl_writes_is_read(name: str | None, protocols: list[str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    expected = ClientHello(name or "", tuple(protocol.encode() for protocol in protocols))
    assert read_hello(outgoing.read()) == expected


# -- Pieces ---------------------------------------------------------------------------------------


@given(st.integers(min_value=1))
def test_until_all_of_it_is_there_more_is_needed(size: int) -> None:
    octets = records(message(NAMED, alpn(b"smtp"), PADDING), size=20 + size % 500)
    for end in range(len(octets)):
        assert read_hello(octets[:end]) is None
    assert read_hello(octets) == ClientHello("mx.example.org", (b"smtp",))


def test_it_is_not_in_too_many_records() -> None:
    whole = message(NAMED)
    size = -(-len(whole) // MOST_RECORDS)
    assert read_hello(records(whole, size=size)) == ClientHello("mx.example.org")
    with pytest.raises(BadHello, match="too many pieces"):
        read_hello(records(whole, size=size - 1))


def test_many_records_are_refused_before_the_rest_is_there() -> None:
    with pytest.raises(BadHello, match="too many pieces"):
        read_hello(records(message(NAMED)[:MOST_RECORDS], size=1))


def test_a_long_one_is_read_and_a_longer_one_refused_at_once() -> None:
    start = b"\x16\x03\x01\x40\x00\x01"
    assert read_hello(start + LONGEST.to_bytes(3)) is None
    with pytest.raises(BadHello, match="impossible length"):
        read_hello(start + (LONGEST + 1).to_bytes(3))
    left = LONGEST - len(message())
    assert read_hello(records(message(extension(21, bytes(left))))) == ClientHello()


def test_no_more_is_ever_waited_for_than_the_longest() -> None:
    octets = records(b"\x01" + LONGEST.to_bytes(3) + bytes(LONGEST), size=LONGEST // 8)
    with pytest.raises(BadHello):
        read_hello(octets)


# -- Bad ones -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "alert"),
    [
        (b"EHLO client.example\r\n", 10),
        (b"\x80\x2e\x01\x00\x02", 10),  # as SSL 2 began
        (b"\x17\x03\x03\x00\x01", 10),  # data of an application
        (b"\x16\x02", 10),
        (b"\x16\x03\x01\x00\x00", 50),  # RFC 8446, 5.1: no handshake record is empty
        (b"\x16\x03\x01\x40\x01", 50),
        (records(b"\x02" + bytes(3)), 10),  # a ServerHello
        (records(b"\x01" + bytes(3)), 50),
        (records(b"\x01" + vector(b"\x03\x03" + bytes(31), 3)), 50),
        (records(message(behind=b"\0")), 50),
        (hello(b"\x00"), 50),
        (hello(b"\x00\x10\x00\x05\x00"), 50),
        (hello(alpn(b"smtp"), alpn(b"http/1.1")), 50),
        (hello(alpn()), 50),
        (hello(alpn(b"")), 50),
        (hello(alpn(b"smtp", b"")), 50),
        (hello(extension(16, b"")), 50),
        (hello(extension(16, b"\x00\x05\x05smtp")), 50),
        (hello(extension(16, b"\x00\x05\x04smtp\x00")), 50),
        (hello(extension(0, b"")), 50),  # it is a server that sends this
        (hello(server_name(b"")), 50),
        (hello(server_name(b"mx.example.org", kind=1)), 50),
        (hello(server_name("mx.exämple.org".encode())), 50),
        (hello(server_name(b"mx example\r\n")), 50),
        (hello(server_name(b"mx\0.example.org")), 50),
        (hello(extension(0, vector((b"\0" + vector(b"a", 2)) * 2, 2))), 50),
    ],
)
def test_bad_ones(octets: bytes, alert: int) -> None:
    with pytest.raises(BadHello) as error:
        read_hello(octets)
    assert error.value.alert == alert


@given(st.binary())
def test_any_octets_are_a_hello_or_none_or_too_few(octets: bytes) -> None:
    with suppress(BadHello):
        assert isinstance(read_hello(octets), ClientHello | None)


@given(
    name=st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=255),
    protocols=st.lists(st.binary(min_size=1, max_size=255), max_size=20),
    size=st.integers(400, 16_384),
)
def test_what_is_written_is_read(name: str, protocols: list[bytes], size: int) -> None:
    extensions = [server_name(name.encode()), *([alpn(*protocols)] if protocols else [])]
    assert read_hello(records(message(*extensions), size=size)) == ClientHello(
        name, tuple(protocols)
    )


@given(place=st.integers(9, 400), octet=st.integers(0, 255))
def test_one_wrong_octet_raises_nothing_else(place: int, octet: int) -> None:
    octets = bytearray(hello(NAMED, alpn(b"smtp"), PADDING))
    octets[min(place, len(octets) - 1)] = octet
    with suppress(BadHello):
        assert isinstance(read_hello(octets), ClientHello | None)
