"""ProxyHeader: what a proxy says of a client, by haproxy's PROXY protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

#: An IP address and a port, or the path of a Unix socket and 0; no path: the socket has no name.
Peer: TypeAlias = tuple[str, int]

# Bits of `ProxyTls.client` (proxy-protocol.txt, 2.2.6).
_OVER_TLS = 0x01
_CERTIFICATE = 0x02 | 0x04  # on this connection, or earlier in its TLS session


class ProxyError(ValueError):
    """Octets that are no PROXY header; nothing else can follow but the end of the connection."""


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """The TLS between a client and its proxy (proxy-protocol.txt, 2.2.6)."""

    client: int  #: bits that say what the client used
    verify: int  #: 0 if a certificate was found good, or if HAProxy was shown none
    version: str = ""  #: `TLSv1.3`
    common_name: str = ""  #: of the client's certificate
    cipher: str = ""  #: `TLS_AES_256_GCM_SHA384`
    signature_algorithm: str = ""  #: of the proxy's own certificate: `RSA-SHA256`
    key_algorithm: str = ""  #: of the proxy's own certificate: `RSA2048`

    @property
    def encrypted(self) -> bool:
        """Whether the client came to the proxy over TLS."""
        return bool(self.client & _OVER_TLS)

    @property
    def verified(self) -> bool:
        """Whether the client showed a certificate, and the proxy found it good."""
        return bool(self.client & _CERTIFICATE) and self.verify == 0


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """One PROXY header; what it does not say is empty."""

    version: Literal[1, 2]
    source: Peer | None = None  #: the client; None: the proxy cannot tell, or speaks for itself
    destination: Peer | None = None  #: where the client connected to
    #: the proxy speaks for itself, as in a health check; HAProxy says so of clients on its Unix
    #: sockets as well
    local: bool = False
    #: what a header of version 2 says besides, by type (2.2), without checksum and padding
    tlvs: tuple[tuple[int, bytes], ...] = ()
    authority: str = ""  #: the host that the client asked for, in TLS its SNI
    alpn: bytes = b""  #: the protocol that was agreed on in TLS (RFC 7301)
    unique_id: bytes = b""  #: the proxy's name for this connection, at most 128 octets
    tls: ProxyTls | None = None  #: how the client came to the proxy; None: it was not told
