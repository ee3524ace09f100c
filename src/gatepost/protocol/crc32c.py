"""CRC32C: the checksum that a PROXY header may carry (RFC 4960, appendix B)."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78  #: Castagnoli's, its bits reversed


def _remainder(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (_POLYNOMIAL if octet & 1 else 0)
    return octet


_TABLE = tuple(map(_remainder, range(256)))


def crc32c(octets: bytes) -> int:
    """The checksum of some octets, as an unsigned number of 32 bits."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
