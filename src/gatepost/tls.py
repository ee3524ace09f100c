"""Tls: what protects a connection, and the certificate that the client showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate; that a trusted authority signed it has been checked."""

    subject: str  #: the distinguished name (RFC 4514)
    names: tuple[str, ...]  #: the DNS names and mail addresses that it is good for
    fingerprint: str  #: SHA-256 of its DER form, in small hexadecimal digits
    der: bytes = field(repr=False)  #: the certificate itself (RFC 5280)


def _no_binding(_: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS of one connection, as it was negotiated."""

    version: str  #: `TLSv1.3`
    cipher: str  #: `TLS_AES_256_GCM_SHA384`
    bits: int = 0  #: of the cipher's key
    server_name: str = ""  #: the host that the client asked for (SNI, RFC 6066); empty: none
    certificate: Certificate | None = None  #: the client's own; None: it showed none
    #: the octets of a channel binding by its name, `tls-exporter` (RFC 9266) or
    #: `tls-server-end-point` (RFC 5929); None for one that cannot be had
    binding: Callable[[str], bytes | None] = field(default=_no_binding, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.version} {self.cipher}"
