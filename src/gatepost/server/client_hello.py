"""ClientHello: what a TLS client asks for first, read before OpenSSL sees it.

Python's `ssl` cannot refuse a client that names only other protocols (ALPN; RFC 7301, 3.2), and
hands a server name that is no ASCII to nobody but `sys.unraisablehook`.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

#: Octets of a ClientHello: real ones have 200 to 2,000, and a few more where a session is resumed.
LONGEST = 65_536
#: Records that a ClientHello may be spread over: one or two in practice.
MOST_RECORDS = 16

UNEXPECTED_MESSAGE = 10  # Alerts: RFC 8446, 6.
DECODE_ERROR = 50

CUT_SHORT = "the ClientHello has a field that is cut short"

_HANDSHAKE = 22  # ContentType: RFC 8446, 5.1.
_RECORD_HEADER = 5
_RECORD_LIMIT = 16_384
_CLIENT_HELLO = 1  # HandshakeType: RFC 8446, 4.
_MESSAGE_HEADER = 4
_SERVER_NAME = 0  # ExtensionType: RFC 6066, 1.1.
_HOST_NAME = 0
_PROTOCOLS = 16  # ExtensionType: RFC 7301, 6.
_EXTENSION_HEADER = Struct(">HH")


class ClientHello(NamedTuple):
    """What a client says of the host and the protocols that it came for."""

    server_name: str = ""  #: SNI (RFC 6066), in small letters; empty: none
    protocols: tuple[bytes, ...] = ()  #: ALPN (RFC 7301), in the client's order; empty: none


class BadHello(ValueError):
    """Octets that are no ClientHello, and the alert (RFC 8446, 6) that says so."""

    def __init__(self, reason: str, alert: int = DECODE_ERROR) -> None:
        super().__init__(reason)
        self.alert = alert


def read_hello(octets: bytes | bytearray) -> ClientHello | None:
    """The ClientHello at the start of a TLS connection (RFC 8446, 4.1.2); None: more is needed.

    Raises BadHello as soon as it can be none; 64 KiB and a bit are always enough to tell.
    """
    message = _message(octets)
    if message is None:
        return None
    fields = _Fields(message)
    fields.take(2 + 32)  # legacy_version, random
    fields.vector(1)  # legacy_session_id
    fields.vector(2)  # cipher_suites
    fields.vector(1)  # legacy_compression_methods
    if fields.left == 0:
        return ClientHello()  # TLS 1.2 knows hellos without extensions
    extensions = _extensions(fields.vector(2))
    fields.end()
    return ClientHello(
        _server_name(extensions.get(_SERVER_NAME)), tuple(_protocols(extensions.get(_PROTOCOLS)))
    )


def _message(octets: bytes | bytearray) -> bytes | None:
    """What the records hold (RFC 8446, 5.1) of the first message, when all of it is there."""
    parts: list[bytes] = []
    place = length = 0
    needed = _MESSAGE_HEADER
    for _ in range(MOST_RECORDS):
        header = octets[place : place + _RECORD_HEADER]
        _check_record(header)
        place += _RECORD_HEADER
        size = int.from_bytes(header[3:])
        part = bytes(octets[place : place + size])
        parts.append(part)
        length += len(part)
        place += size
        if needed == _MESSAGE_HEADER and length >= needed:
            needed += _announced(b"".join(parts))
        if len(header) < _RECORD_HEADER or len(part) < size:
            break  # the rest has yet to come; what is there may do all the same
        if length >= needed > _MESSAGE_HEADER:
            return b"".join(parts)[_MESSAGE_HEADER:needed]
    else:
        raise BadHello("the ClientHello is in too many pieces")
    return None


def _check_record(header: bytes | bytearray) -> None:
    if header and header[0] != _HANDSHAKE:
        raise BadHello("the client speaks no TLS", UNEXPECTED_MESSAGE)
    if len(header) > 1 and header[1] != 3:
        raise BadHello("the client speaks no TLS", UNEXPECTED_MESSAGE)
    if len(header) == _RECORD_HEADER and not 0 < int.from_bytes(header[3:]) <= _RECORD_LIMIT:
        raise BadHello("a record has an impossible length")


def _announced(start: bytes) -> int:
    """The length of the message, from its header."""
    if start[0] != _CLIENT_HELLO:
        raise BadHello("the client begins with something else", UNEXPECTED_MESSAGE)
    length = int.from_bytes(start[1:_MESSAGE_HEADER])
    if not 0 < length <= LONGEST:
        raise BadHello("the ClientHello has an impossible length")
    return length


def _extensions(octets: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    place = 0
    while place < len(octets):
        start = place + _EXTENSION_HEADER.size
        if start > len(octets):
            raise BadHello(CUT_SHORT)
        kind, length = _EXTENSION_HEADER.unpack_from(octets, place)
        place = start + length
        if place > len(octets):
            raise BadHello(CUT_SHORT)
        if kind in found:
            raise BadHello("the ClientHello has an extension twice")
        found[kind] = octets[start:place]
    return found


def _server_name(extension: bytes | None) -> str:
    if extension is None:
        return ""
    fields = _Fields(extension)
    names = _Fields(fields.vector(2))
    fields.end()
    kind, name = names.take(1)[0], names.vector(2)
    names.end()  # RFC 6066, 3: one name of each type, and there is only one type
    if kind != _HOST_NAME or not name or any(not 0x21 <= octet <= 0x7E for octet in name):
        raise BadHello("the client asks for a server without a proper name")
    return name.decode("ascii").lower()


def _protocols(extension: bytes | None) -> Iterator[bytes]:
    if extension is None:
        return
    fields = _Fields(extension)
    names = _Fields(fields.vector(2))
    fields.end()
    while True:  # RFC 7301, 3.1: one at least, and none empty
        name = names.vector(1)
        if not name:
            raise BadHello("the client offers a protocol without a name")
        yield name
        if not names.left:
            return


class _Fields:
    """Takes one field after the other from octets that are all there."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._place = 0

    @property
    def left(self) -> int:
        return len(self._octets) - self._place

    def take(self, length: int) -> bytes:
        if length > self.left:
            raise BadHello(CUT_SHORT)
        self._place += length
        return self._octets[self._place - length : self._place]

    def vector(self, width: int) -> bytes:
        """A field behind its length, a number of `width` octets (RFC 8446, 3.4)."""
        return self.take(int.from_bytes(self.take(width)))

    def end(self) -> None:
        if self.left:
            raise BadHello("the ClientHello has more octets than fields")
