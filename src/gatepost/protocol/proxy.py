"""The PROXY protocol: a header before a client's own octets, in which a proxy says who it is.

haproxy's proxy-protocol.txt defines it, version 1 in its section 2.1 and version 2 in 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

from gatepost.protocol.crc32c import crc32c
from gatepost.protocol.proxy_header import Peer, ProxyError, ProxyHeader, ProxyTls

#: Octets of a header of version 1 with its CRLF (2.1).
LINE_LIMIT: Final = 107
#: Octets of a header of version 2 behind its first 16.  All of it is to fit into one segment of
#: 536 octets (2); long names may make it longer, but 65,535 would only be an attack.
BLOCK_LIMIT: Final = 4096
#: Octets of a connection's name (2.2.5).
UNIQUE_ID_LIMIT: Final = 128

_STARTS = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r")
_PART = re.compile(
    rb"PROXY (?:TCP4 [0-9. ]*+|TCP6 [0-9A-Fa-f:. ]*+|UNKNOWN(?: [^\r\n]*+)?)(?:\r\n?)?"
)
_LINE = re.compile(
    r"PROXY TCP(?P<version>[46]) (?P<source>[^ ]+) (?P<destination>[^ ]+)"
    r" (?P<source_port>0|[1-9][0-9]{0,4}) (?P<destination_port>0|[1-9][0-9]{0,4})\r\n"
)

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_START_SIZE = 16
_LOCAL, _PROXY = 0x20, 0x21
#: The addresses of each family and transport, in which no mail comes by datagrams (2.2).
_ADDRESSES: Final = {
    0x00: Struct(""),
    0x11: Struct(">4s4sHH"),
    0x21: Struct(">16s16sHH"),
    0x31: Struct(">108s108s"),
}
_VECTOR = Struct(">BH")
_TLS_START = Struct(">BI")
_CHECKSUM = Struct(">I")

_ALPN, _AUTHORITY, _CRC32C, _NOOP, _UNIQUE_ID, _TLS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
_TLS_VERSION, _TLS_CN, _TLS_CIPHER, _TLS_SIGNATURE, _TLS_KEY = range(0x21, 0x26)
#: Types of which a second one would leave open which counts.
_ONCE = frozenset({_ALPN, _AUTHORITY, _CRC32C, _UNIQUE_ID, *range(0x20, 0x26)})


class ProxyReader:
    """Takes a connection's octets as they come, until the header is complete.

    While it is not, no more is kept than a header may have, and what was handed over last.
    """

    __slots__ = ("_octets", "header", "rest")

    def __init__(self) -> None:
        self.header: ProxyHeader | None = None  #: None as long as octets are missing
        self.rest = b""  #: what came behind the header: it is the client's
        self._octets = b""

    def receive(self, octets: bytes) -> None:
        """Take some octets.

        Raises ProxyError as soon as one of them has no place in a header, so that a client that
        knows nothing of the protocol is not waited for.
        """
        if self.header is not None:
            self.rest += octets
            return
        self._octets += octets
        is_block = self._octets[:1] == _SIGNATURE[:1]
        size = _block_size(self._octets) if is_block else _line_size(self._octets)
        if size is not None and len(self._octets) >= size:
            header = self._octets[:size]
            self.header = _read_block(header) if is_block else _read_line(header)
            self.rest, self._octets = self._octets[size:], b""


# -- Version 1: a line ----------------------------------------------------------------------------


def _line_size(octets: bytes) -> int | None:
    """The octets of a line with its CRLF; None: there is none yet."""
    text, crlf, _ = octets[:LINE_LIMIT].partition(b"\r\n")
    if not crlf and len(text) == LINE_LIMIT:
        raise ProxyError("the PROXY line is too long")
    line = text + crlf
    if not _PART.fullmatch(line) and not any(start.startswith(line) for start in _STARTS):
        raise ProxyError("there is no PROXY header")
    return len(line) if crlf else None


def _read_line(line: bytes) -> ProxyHeader:
    if line.startswith(b"PROXY UNKNOWN"):
        return ProxyHeader(1)
    match = _LINE.fullmatch(line.decode("ascii"))
    if match is None:
        raise ProxyError("the PROXY line is malformed")
    version = int(match["version"])
    return ProxyHeader(
        1,
        _peer(match["source"], match["source_port"], version=version),
        _peer(match["destination"], match["destination_port"], version=version),
    )


def _peer(host: str, port: str, *, version: int) -> Peer:
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise ProxyError("the PROXY line has an address that is none")
    if int(port) > 65535:
        raise ProxyError("the PROXY line has a port that is none")
    return _host(address), int(port)


def _host(address: IPv4Address | IPv6Address) -> str:
    """An address as text: that of an IPv4 client on a socket for both families is an IPv4 one."""
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or address)
    return str(address)


# -- Version 2: a block ---------------------------------------------------------------------------


def _block_size(octets: bytes) -> int | None:
    """The octets of a whole block; None: too few are here to tell."""
    if not _SIGNATURE.startswith(octets[:12]):
        raise ProxyError("there is no PROXY header")
    command, protocol, length = octets[12:13], octets[13:14], octets[14:16]
    if command and command[0] not in (_LOCAL, _PROXY):
        raise ProxyError("the PROXY header has an unknown version or command")
    proxied = command == bytes([_PROXY])
    if protocol and proxied and protocol[0] not in _ADDRESSES:
        raise ProxyError("the PROXY header is not about a stream")
    if len(length) < 2:
        return None
    size = int.from_bytes(length, "big")
    if size > BLOCK_LIMIT or (proxied and size < _ADDRESSES[protocol[0]].size):
        raise ProxyError("the PROXY header has a length that cannot be")
    return _START_SIZE + size


def _read_block(block: bytes) -> ProxyHeader:
    if block[12] == _LOCAL:
        return ProxyHeader(2, local=True)  # 2.2: what follows is discarded, whatever it is
    addresses = _ADDRESSES[block[13]]
    peers = _peers(*addresses.unpack_from(block, _START_SIZE))
    tlvs = dict[int, bytes]()
    others = list[tuple[int, bytes]]()
    for kind, start, value in _vectors(block, _START_SIZE + addresses.size):
        if kind == _CRC32C:
            _check(block, start, value)
        if kind in _ONCE:
            tlvs[kind] = value
        if kind not in (_CRC32C, _NOOP):
            others.append((kind, value))
    unique_id = tlvs.get(_UNIQUE_ID, b"")
    if len(unique_id) > UNIQUE_ID_LIMIT:
        raise ProxyError("the PROXY header names the connection at too great length")
    return ProxyHeader(
        2,
        *peers,
        tlvs=tuple(others),
        authority=_text(tlvs.get(_AUTHORITY, b"")),
        alpn=tlvs.get(_ALPN, b""),
        unique_id=unique_id,
        tls=_read_tls(tlvs[_TLS]) if _TLS in tlvs else None,
    )


def _peers(
    source: bytes = b"", destination: bytes = b"", *ports: int
) -> tuple[Peer | None, Peer | None]:
    """Source and destination; None for both where the header has none."""
    if not ports:
        return (_path(source), _path(destination)) if source else (None, None)
    return (_host(ip_address(source)), ports[0]), (_host(ip_address(destination)), ports[1])


def _path(octets: bytes) -> Peer:
    return _text(octets.partition(b"\0")[0]), 0


def _vectors(octets: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Type, position and value of each vector from a position on, up to the end (2.2)."""
    seen = set[int]()
    while at < len(octets):
        start = at + _VECTOR.size
        if start > len(octets):
            raise ProxyError("the PROXY header ends within a vector")
        kind, size = _VECTOR.unpack_from(octets, at)
        at = start + size
        if at > len(octets):
            raise ProxyError("the PROXY header ends within a vector")
        if kind in seen and kind in _ONCE:
            raise ProxyError("the PROXY header says something twice")
        seen.add(kind)
        yield kind, start, octets[start:at]


def _check(block: bytes, start: int, value: bytes) -> None:
    """Compare the checksum, which counts as zero itself (2.2.3)."""
    zero = bytes(_CHECKSUM.size)
    if value != _CHECKSUM.pack(crc32c(block[:start] + zero + block[start + len(zero) :])):
        raise ProxyError("the PROXY header has a wrong checksum")


def _read_tls(value: bytes) -> ProxyTls:
    if len(value) < _TLS_START.size:
        raise ProxyError("the PROXY header ends within what it says of TLS")
    client, verify = _TLS_START.unpack_from(value)
    told = {kind: text for kind, _, text in _vectors(value, _TLS_START.size) if kind in _ONCE}
    return ProxyTls(
        client,
        verify,
        version=_text(told.get(_TLS_VERSION, b"")),
        common_name=_text(told.get(_TLS_CN, b"")),
        cipher=_text(told.get(_TLS_CIPHER, b"")),
        signature_algorithm=_text(told.get(_TLS_SIGNATURE, b"")),
        key_algorithm=_text(told.get(_TLS_KEY, b"")),
    )


def _text(octets: bytes) -> str:
    """Text in UTF-8 that can stand in a line of a log."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise ProxyError("the PROXY header has text that is not UTF-8") from None
    if not text.isprintable():
        raise ProxyError("the PROXY header has control characters in a text")
    return text
