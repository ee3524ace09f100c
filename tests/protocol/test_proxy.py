"""The PROXY protocol's header: what each one says, and what is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.protocol.crc32c import crc32c
from gatepost.protocol.proxy import BLOCK_LIMIT, LINE_LIMIT, ProxyReader
from gatepost.protocol.proxy_header import ProxyError, ProxyHeader, ProxyTls

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPECIFIED, TCP4, UDP4, TCP6, UDP6, UNIX, UNIX_DATAGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
ADDRESSES = {
    UNSPECIFIED: b"",
    TCP4: bytes([192, 0, 2, 1, 198, 51, 100, 7]) + pack(">HH", 56324, 25),
    TCP6: IPv6Address("2001:db8::1").packed
    + IPv6Address("2001:db8::25").packed
    + pack(">HH", 1, 2),
    UNIX: b"/run/client".ljust(108, b"\0") + b"/run/proxy".ljust(108, b"\0"),
}
CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.7", 25)


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def header_of(octets: bytes) -> ProxyHeader:
    behind = b"EHLO a\r\n"
    assert result([octets[:-1]]) == (None, b"")
    whole = result([octets + behind])
    assert result([octets, behind]) == whole
    assert result(octet_by_octet(octets + behind)) == whole
    assert not isinstance(whole, str)
    header, rest = whole
    assert header is not None
    assert rest == behind
    return header


def refused_at(octets: bytes) -> int:
    """How many octets are taken before one of them ends it; it makes no difference how they come.

    The words say nothing of the octets themselves, for those who read the log.
    """
    whole = result([octets])
    assert isinstance(whole, str)
    assert whole.isprintable()
    pieces = iter(octet_by_octet(octets))
    assert result(pieces) == whole
    return len(octets) - len(list(pieces)) - 1


def result(pieces: Iterable[bytes]) -> tuple[ProxyHeader | None, bytes] | str:
    """What comes of octets in pieces: the header and what stands behind it, or a refusal."""
    reader = ProxyReader()
    try:
        for piece in pieces:
            reader.receive(piece)
    except ProxyError as error:
        return str(error)
    return reader.header, reader.rest


def block(
    protocol: int = TCP4,
    *vectors: bytes,
    command: int = PROXY,
    addresses: bytes | None = None,
    length: int | None = None,
) -> bytes:
    """A header of version 2, made by its definition and not by the code that is tested."""
    content = (ADDRESSES[protocol] if addresses is None else addresses) + b"".join(vectors)
    length = len(content) if length is None else length
    return SIGNATURE + pack(">BBH", command, protocol, length) + content


def vector(kind: int, value: bytes) -> bytes:
    return pack(">BH", kind, len(value)) + value


def with_checksum(header: bytes) -> bytes:
    """The same header, the zeros of its last vector replaced by the checksum."""
    assert header.endswith(vector(0x03, bytes(4)))
    return header[:-4] + pack(">I", crc32c(header))


# -- Version 1 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        # The example of proxy-protocol.txt, 2.1, and its longest lines.
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443",
            ("192.168.0.1", 56324),
            ("192.168.0.11", 443),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
            ("255.255.255.255", 65535),
            ("255.255.255.255", 65535),
        ),
        (
            f"PROXY TCP6 {'ffff:' * 7}ffff {'FFFF:' * 7}FFFF 65535 65535",
            (f"{'ffff:' * 7}ffff", 65535),
            (f"{'ffff:' * 7}ffff", 65535),
        ),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0", ("0.0.0.0", 0), ("0.0.0.0", 0)),
        ("PROXY TCP6 :: ::1 0 1", ("::", 0), ("::1", 1)),
        ("PROXY TCP6 2001:DB8:0:0:0:0:0:1 fe80::1 5 6", ("2001:db8::1", 5), ("fe80::1", 6)),
        # A socket for both families gives IPv4 clients such an address.
        ("PROXY TCP6 ::ffff:192.0.2.1 ::FFFF:c000:207 5 6", ("192.0.2.1", 5), ("192.0.2.7", 6)),
    ],
)
def test_a_line(line: str, source: tuple[str, int], destination: tuple[str, int]) -> None:
    assert header_of(line.encode() + b"\r\n") == ProxyHeader(1, source, destination)


@pytest.mark.parametrize(
    "behind",
    ["", " ", "  ", f" {'ffff:' * 7}ffff {'ffff:' * 7}ffff 65535 65535", " \0\t\xff", " TCP4 x"],
)
def test_a_line_of_a_proxy_that_does_not_know(behind: str) -> None:
    assert header_of(f"PROXY UNKNOWN{behind}\r\n".encode("latin-1")) == ProxyHeader(1)


def test_a_line_may_have_107_octets_and_no_more() -> None:
    assert LINE_LIMIT == 107
    filling = b"x" * (LINE_LIMIT - len(b"PROXY UNKNOWN \r\n"))
    assert header_of(b"PROXY UNKNOWN " + filling + b"\r\n") == ProxyHeader(1)
    assert refused_at(b"PROXY UNKNOWN x" + filling + b"\r\n") == LINE_LIMIT - 1
    assert refused_at(b"PROXY TCP4 " + b"1" * 200) == LINE_LIMIT - 1


@pytest.mark.parametrize(
    "fields",
    [
        # addresses
        "TCP4 256.0.0.1 192.0.2.2 1 2", "TCP4 192.0.2.01 192.0.2.2 1 2",
        "TCP4 1.2.3 192.0.2.2 1 2",
        "TCP4 192.0.2.1. 192.0.2.2 1 2", "TCP4 192.0.2.1 .192.0.2.2 1 2",
        "TCP4 1.2.3.4.5 1.2.3.4 1 2",
        "TCP4 3221225985 192.0.2.2 1 2", "TCP6 2001:db8::1::2 :: 1 2", "TCP6 12345:: :: 1 2",
        "TCP6 1:2:3:4:5:6:7 :: 1 2", "TCP6 1:2:3:4:5:6:7:8:9 :: 1 2", "TCP6 : :: 1 2",
        "TCP6 192.0.2.1 192.0.2.2 1 2", "TCP6 2001:db8::1 192.0.2.2 1 2",
        # ports
        "TCP4 192.0.2.1 192.0.2.2 65536 2", "TCP4 192.0.2.1 192.0.2.2 1 99999",
        "TCP4 192.0.2.1 192.0.2.2 01 2", "TCP4 192.0.2.1 192.0.2.2 1 00",
        "TCP4 192.0.2.1 192.0.2.2 100000 2", "TCP6 :: :: a 2",
        # fields and blanks
        "TCP4 192.0.2.1 192.0.2.2 1", "TCP4 192.0.2.1 192.0.2.2 1 ",
        "TCP4 192.0.2.1 192.0.2.2 1 2 ",
        "TCP4 192.0.2.1 192.0.2.2 1 2 3", "TCP4  192.0.2.1 192.0.2.2 1 2",
        "TCP4 192.0.2.1  192.0.2.2 1 2", "TCP4 192.0.2.1 192.0.2.2 1  2", "TCP4 ", "TCP6 ",
    ],
)  # fmt: skip
def test_a_line_that_is_malformed(fields: str) -> None:
    line = f"PROXY {fields}\r\n".encode()
    assert refused_at(line) == len(line) - 1


@pytest.mark.parametrize(
    ("beginning", "octet"),
    [
        # Clients that are no proxies.
        ("", "EHLO client.example\r\n"), ("", "\x16\x03\x01\x02"), ("", "\n"), ("", "\0"),
        ("", " "),
        ("P", "OST / HTTP/1.1\r\n"), ("", "proxy TCP4 "), ("\r\n", "EHLO"), ("\r", "\r"),
        # Words.
        ("PROXY ", " TCP4"), ("PROXY", "\tTCP4"), ("PROXY", "\r\n"), ("PROXY ", "tcp4"),
        ("PROXY TCP", "5 "), ("PROXY TCP4", "\r\n"), ("PROXY TCP6", "\t"), ("PROXY U", "DP4"),
        ("PROXY UNKNOWN", "X\r\n"), ("PROXY UNKNOWN", "\n"), ("PROXY UNIX", ""),
        # Octets that stand in no address and no port.
        ("PROXY TCP4 ", "a"), ("PROXY TCP4 ", "-1"), ("PROXY TCP4 ", ":"), ("PROXY TCP4 ", "\t"),
        ("PROXY TCP6 fe80::1", "%eth0"), ("PROXY TCP6 ", "[::1]"), ("PROXY TCP6 ", "g"),
        ("PROXY TCP4 1", "\xb2"), ("PROXY TCP4 192.0.2.1 192.0.2.2 1 ", "+2"),
        # Only CRLF ends the line.
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "\n"), ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r", "E"),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r", "\r"),
        ("PROXY UNKNOWN a", "\nb\r\n"), ("PROXY UNKNOWN a\r", "b\r\n"), ("PROXY UNKNOWN\r", "E"),
    ],
)  # fmt: skip
def test_no_header_is_told_by_its_first_octet_that_is_wrong(beginning: str, octet: str) -> None:
    if octet:
        assert refused_at((beginning + octet).encode("latin-1")) == len(beginning)
    else:
        assert refused_at(beginning.encode()) < len(beginning)


# -- Version 2 ------------------------------------------------------------------------------------


def test_a_block_of_ipv4() -> None:
    # The octets of proxy-protocol.txt, 2.2, one by one.
    octets = (
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
        b"\x21\x11\x00\x0c"
        b"\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x00\x19"
    )
    assert octets == block()
    assert header_of(octets) == ProxyHeader(2, CLIENT, SERVER)


def test_a_block_of_ipv6() -> None:
    assert header_of(block(TCP6)) == ProxyHeader(2, ("2001:db8::1", 1), ("2001:db8::25", 2))


def test_a_block_of_ipv4_clients_on_a_socket_for_both_families() -> None:
    addresses = b"".join(bytes(10) + b"\xff\xff" + bytes([192, 0, 2, last]) for last in (1, 2))
    header = header_of(block(TCP6, addresses=addresses + pack(">HH", 5, 6)))
    assert header == ProxyHeader(2, ("192.0.2.1", 5), ("192.0.2.2", 6))


@pytest.mark.parametrize(
    ("octets", "path"),
    [
        (b"/run/client", "/run/client"),
        (b"/run/client\0garbage", "/run/client"),
        (b"/" + b"x" * 107, "/" + "x" * 107),  # no final NUL (2.2)
        (b"", ""),
        (b"\0abstract", ""),
        ("/run/büro".encode(), "/run/büro"),
    ],
)
def test_a_block_of_unix_sockets(octets: bytes, path: str) -> None:
    addresses = octets.ljust(108, b"\0") + b"/run/proxy".ljust(108, b"\0")
    header = header_of(block(UNIX, addresses=addresses))
    assert header == ProxyHeader(2, (path, 0), ("/run/proxy", 0))


def test_a_block_of_a_proxy_that_does_not_know() -> None:
    assert header_of(block(UNSPECIFIED)) == ProxyHeader(2)
    header = header_of(block(UNSPECIFIED, vector(0x02, b"mx.example")))
    assert header == ProxyHeader(2, tlvs=((0x02, b"mx.example"),), authority="mx.example")


@pytest.mark.parametrize("protocol", [UNSPECIFIED, TCP4, UDP4, TCP6, UNIX_DATAGRAM, 0x13, 0xFF])
@pytest.mark.parametrize("content", [b"", b"\xff", ADDRESSES[TCP4], b"\xff" * BLOCK_LIMIT])
def test_of_a_connection_of_the_proxy_itself_all_is_ignored(protocol: int, content: bytes) -> None:
    octets = block(protocol, command=LOCAL, addresses=content)
    assert header_of(octets) == ProxyHeader(2, local=True)


@pytest.mark.parametrize("at", range(1, 12))
def test_a_signature_that_is_wrong_in_one_octet(at: int) -> None:
    octets = bytearray(block())
    octets[at] ^= 0x01
    assert refused_at(bytes(octets)) == at


@pytest.mark.parametrize("octet", [0x00, 0x01, 0x11, 0x10, 0x22, 0x2F, 0x30, 0x31, 0xFF])
def test_a_version_or_a_command_that_is_none(octet: int) -> None:
    assert refused_at(block(command=octet)) == 12


@pytest.mark.parametrize(
    "octet",
    [UDP4, UDP6, UNIX_DATAGRAM, 0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xFF],
)
def test_a_family_or_a_transport_that_carries_no_mail(octet: int) -> None:
    assert refused_at(block(octet, addresses=bytes(300))) == 13


@pytest.mark.parametrize("protocol", [TCP4, TCP6, UNIX])
def test_a_block_that_is_too_short_for_its_addresses(protocol: int) -> None:
    octets = block(protocol)
    assert refused_at(block(protocol, length=len(octets) - 17)) == 15
    assert refused_at(block(protocol, length=0)) == 15


def test_a_block_has_a_limit() -> None:
    room = BLOCK_LIMIT - len(ADDRESSES[TCP4]) - 3
    assert header_of(block(TCP4, vector(0xE0, bytes(room)))).tlvs == ((0xE0, bytes(room)),)
    assert refused_at(block(length=BLOCK_LIMIT + 1)) == 15
    assert refused_at(block(command=LOCAL, length=0xFFFF)) == 15


def test_a_path_has_no_control_characters() -> None:
    refused_at(block(UNIX, addresses=b"/run/\x1b[2J".ljust(216, b"\0")))
    refused_at(block(UNIX, addresses=b"/run/\xff".ljust(216, b"\0")))


# -- What version 2 says besides ------------------------------------------------------------------


def test_what_is_known_of_the_client() -> None:
    header = header_of(
        block(
            TCP4,
            vector(0x01, b"smtp"),
            vector(0x02, "bücher.example".encode()),
            vector(0x04, b"\xff" * 5),
            vector(0x05, b"\x00\xff" * 64),
            vector(0x30, b"blue"),
            vector(0xE0, b""),
            vector(0xE0, b"again"),
        )
    )
    assert header.alpn == b"smtp"
    assert header.authority == "bücher.example"
    assert header.unique_id == b"\x00\xff" * 64
    assert header.tls is None
    assert header.tlvs == (
        (0x01, b"smtp"),
        (0x02, "bücher.example".encode()),
        (0x05, b"\x00\xff" * 64),
        (0x30, b"blue"),
        (0xE0, b""),
        (0xE0, b"again"),
    )


def test_what_is_known_of_tls() -> None:
    value = pack(">BI", 0x07, 0) + b"".join(
        [
            vector(0x21, b"TLSv1.3"),
            vector(0x22, "Bücherwurm".encode()),
            vector(0x23, b"TLS_AES_256_GCM_SHA384"),
            vector(0x24, b"RSA-SHA256"),
            vector(0x25, b"RSA2048"),
            vector(0x04, b"padding"),
            vector(0x77, b"unknown"),
        ]
    )
    header = header_of(block(TCP4, vector(0x20, value)))
    assert header.tls == ProxyTls(
        7, 0, "TLSv1.3", "Bücherwurm", "TLS_AES_256_GCM_SHA384", "RSA-SHA256", "RSA2048"
    )
    assert header.tlvs == ((0x20, value),)


@pytest.mark.parametrize(
    ("client", "verify", "encrypted", "verified"),
    [
        (0x00, 0, False, False),
        (0x01, 0, True, False),  # no certificate was shown: that is no success
        (0x03, 0, True, True),
        (0x05, 0, True, True),
        (0x07, 0, True, True),
        (0x07, 18, True, False),
        (0xF8, 0, False, False),
    ],
)
def test_a_certificate_that_nobody_showed_is_not_good(
    client: int, verify: int, encrypted: bool, verified: bool
) -> None:
    tls = header_of(block(TCP4, vector(0x20, pack(">BI", client, verify)))).tls
    assert tls is not None
    assert (tls.encrypted, tls.verified) == (encrypted, verified)


@pytest.mark.parametrize(
    "behind",
    [
        # cut off
        b"\x02", b"\x02\x00", b"\x02\x00\x01", vector(0xE0, b"abc")[:-1],
        vector(0x04, b"") + b"\x04",
        vector(0xE0, b"") + b"\xe0\xff\xff",
        # said twice
        vector(0x01, b"") * 2, vector(0x02, b"a") * 2, vector(0x05, b"a") * 2,
        vector(0x20, pack(">BI", 1, 0)) * 2,
        vector(0x02, b"a") + vector(0xE0, b"") + vector(0x02, b"b"),
        # values
        vector(0x02, b"\xff"), vector(0x02, b"a\r\nb"), vector(0x02, b"a\0"),
        vector(0x02, b"\xc2\x85"),
        vector(0x02, "a\u202eb".encode()), vector(0x05, bytes(129)),
        vector(0x20, b""), vector(0x20, bytes(4)), vector(0x20, bytes(5) + b"\x21"),
        vector(0x20, bytes(5) + b"\x21\x00\x02a"), vector(0x20, bytes(5) + vector(0x21, b"a") * 2),
        vector(0x20, bytes(5) + vector(0x21, b"\x1b")),
        vector(0x20, bytes(5) + vector(0x22, b"\xff")),
        vector(0x20, bytes(5) + vector(0x23, b"\n")), vector(0x20, bytes(5) + vector(0x24, b"\n")),
        vector(0x20, bytes(5) + vector(0x25, b"\n")),
        # the checksum
        vector(0x03, b""), vector(0x03, bytes(3)), vector(0x03, bytes(5)), vector(0x03, bytes(4)),
    ],
)  # fmt: skip
def test_a_vector_that_is_wrong(behind: bytes) -> None:
    octets = block(TCP4, behind)
    assert refused_at(octets) == len(octets) - 1


def test_the_checksum_of_octets() -> None:
    # The first is the well-known check value, the others are RFC 3720's (B.4), which writes the
    # octets of each number backwards.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C


@pytest.mark.parametrize("protocol", [UNSPECIFIED, TCP4, TCP6, UNIX])
def test_a_checksum_covers_every_octet(protocol: int) -> None:
    octets = with_checksum(block(protocol, vector(0xE0, b"abc"), vector(0x03, bytes(4))))
    assert header_of(octets).tlvs == ((0xE0, b"abc"),)
    for at in range(16, len(octets)):
        changed = bytearray(octets)
        changed[at] ^= 0x10
        # What was the checksum's own type makes it a vector that nobody knows.
        if at != len(octets) - 7:
            refused_at(bytes(changed))


def test_a_checksum_may_stand_before_other_vectors() -> None:
    before, behind = vector(0x02, b"mx.example"), vector(0x04, b"")
    octets = block(TCP4, before, vector(0x03, bytes(4)), behind)
    at = 16 + len(ADDRESSES[TCP4]) + len(before) + 3
    octets = octets[:at] + pack(">I", crc32c(octets)) + octets[at + 4 :]
    assert header_of(octets).authority == "mx.example"
    refused_at(octets[:-1] + b"\x01")


# -- Laws -----------------------------------------------------------------------------------------

IPV4 = st.integers(0, (1 << 32) - 1).map(IPv4Address)
IPV6 = st.integers(0, (1 << 128) - 1).map(IPv6Address)
PORTS = st.integers(0, 65535)
NAMES = st.text(st.characters(codec="utf-8"), max_size=40).filter(str.isprintable)


@st.composite
def lines(draw: st.DrawFn) -> tuple[bytes, ProxyHeader]:
    family, addresses = draw(st.sampled_from([("TCP4", IPV4), ("TCP6", IPV6)]))
    hosts = draw(st.tuples(addresses, addresses))
    ports = draw(st.tuples(PORTS, PORTS))
    line = f"PROXY {family} {hosts[0]} {hosts[1]} {ports[0]} {ports[1]}\r\n"
    source, destination = (
        (str(getattr(host, "ipv4_mapped", None) or host), port)
        for host, port in zip(hosts, ports, strict=True)
    )
    return line.encode(), ProxyHeader(1, source, destination)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, ProxyHeader]:
    protocol = draw(st.sampled_from([TCP4, TCP6]))
    addresses: st.SearchStrategy[IPv4Address | IPv6Address] = IPV4 if protocol == TCP4 else IPV6
    hosts = draw(st.tuples(addresses, addresses))
    ports = draw(st.tuples(PORTS, PORTS))
    authority = draw(NAMES)
    unique_id = draw(st.binary(max_size=128))
    others = draw(st.lists(st.tuples(st.integers(0xE0, 0xEF), st.binary(max_size=20)), max_size=3))
    tlvs = ((0x02, authority.encode()), (0x05, unique_id), *others)
    octets = block(
        protocol,
        *(vector(kind, value) for kind, value in tlvs),
        vector(0x03, bytes(4)),
        addresses=hosts[0].packed + hosts[1].packed + pack(">HH", *ports),
    )
    source, destination = (
        (str(getattr(host, "ipv4_mapped", None) or host), port)
        for host, port in zip(hosts, ports, strict=True)
    )
    header = ProxyHeader(
        2, source, destination, tlvs=tlvs, authority=authority, unique_id=unique_id
    )
    return with_checksum(octets), header


def split(octets: bytes, cuts: list[int]) -> list[bytes]:
    cuts = sorted(cut % (len(octets) + 1) for cut in cuts)
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


CUTS = st.lists(st.integers(0, 5000), max_size=8)
#: Octets that are a header nearly.
NEARLY = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda line, behind: f"PROXY {line}{behind}".encode(),
        st.text("TCP46UNKOW0123456789abf:. \r", max_size=60),
        st.sampled_from(["", "\r\n", "\r\nEHLO"]),
    ),
    st.builds(
        lambda command, protocol, content, length: (
            SIGNATURE + pack(">BBH", command, protocol, max(0, len(content) + length)) + content
        ),
        st.sampled_from([LOCAL, PROXY, 0x11]),
        st.sampled_from([*ADDRESSES, UDP4]),
        st.binary(max_size=300),
        st.integers(-3, 3),
    ),
    st.builds(
        lambda kind, value, tail: block(TCP4, vector(kind, value), tail),
        st.sampled_from([1, 2, 3, 4, 5, 0x20]),
        st.binary(max_size=150),
        st.binary(max_size=5),
    ),
)


@given(st.one_of(lines(), blocks()), st.binary(max_size=50), CUTS)
def test_what_is_built_is_read_however_it_is_split(
    built: tuple[bytes, ProxyHeader], rest: bytes, cuts: list[int]
) -> None:
    octets, header = built
    assert result(split(octets + rest, cuts)) == (header, rest)


@given(NEARLY, CUTS)
def test_any_octets_are_a_header_or_refused_however_they_are_split(
    octets: bytes, cuts: list[int]
) -> None:
    whole = result([octets])
    assert result(split(octets, cuts)) == whole
    assert result(octet_by_octet(octets)) == whole
    if not isinstance(whole, str) and whole[0] is None:
        assert whole[1] == b""


@given(NEARLY, st.binary(max_size=20))
def test_what_was_refused_is_not_mended_by_what_follows(octets: bytes, more: bytes) -> None:
    reader = ProxyReader()
    with contextlib.suppress(ProxyError):
        reader.receive(octets)
        return
    with pytest.raises(ProxyError):
        reader.receive(more)
    assert reader.header is None


@pytest.mark.parametrize(
    "filling", [b"P", b"\r", b"PROXY UNKNOWN ", SIGNATURE + b"\x20\x00\xff\xff"]
)
def test_what_is_kept_is_bounded(filling: bytes) -> None:
    reader = ProxyReader()
    taken = 0
    with contextlib.suppress(ProxyError):
        reader.receive(filling)
        while taken < 10 * BLOCK_LIMIT:
            reader.receive(b"x")
            taken += 1
    assert taken <= BLOCK_LIMIT
