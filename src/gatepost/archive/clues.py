"""Clues: what a record is found by, other than its id: addresses, users, clients."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from gatepost.archive.records import Record

#: The letter that a clue begins with says what it is.
_CLIENT, _SENDER, _RECIPIENT, _USER = "c", "s", "r", "u"
#: Where IPv4 addresses stand among those of IPv6 (RFC 4291, 2.5.5.2).
_MAPPED = "00000000000000000000ffff"


class Clues(NamedTuple):
    """A stretch of clues: whatever stands between the first and the last of them."""

    first: str
    last: str


def clues_of(record: Record) -> set[str]:
    """What a record is found by; nothing where it tells nothing."""
    clues: set[str] = set()
    if not record.tells:
        return clues
    with suppress(OSError):  # a Unix socket, or a client of which a proxy could tell nothing
        clues.add(_client(record.client))
    if record.user:
        clues.add(_USER + record.user.lower())
    if record.message:
        clues.add(_SENDER + record.sender.lower())
    clues.update([_RECIPIENT + recipient.lower() for recipient in record.recipients])
    return clues


def of_network(network: IPv4Network | IPv6Network) -> Clues:
    """The clients of a network."""
    first, last = network.network_address.packed, network.broadcast_address.packed
    return Clues(_of_octets(first), _of_octets(last))


def of_sender(address: str) -> Clues:
    """The messages from an address, without angle brackets; empty: the null path."""
    return _only(_SENDER, address)


def of_recipient(address: str) -> Clues:
    """The messages to an address, or those that were refused for it."""
    return _only(_RECIPIENT, address)


def of_user(user: str) -> Clues:
    """What a user sent who has authenticated."""
    return _only(_USER, user)


def _only(letter: str, text: str) -> Clues:
    return Clues(letter + text.lower(), letter + text.lower())


def _client(address: str) -> str:
    """That of an IP address; raises OSError for what is none."""
    if ":" in address:
        return _of_octets(inet_pton(AF_INET6, address.partition("%")[0]))
    return _of_octets(inet_pton(AF_INET, address))


def _of_octets(octets: bytes) -> str:
    """That of an address in digits of equal number, so that a network is a stretch of them."""
    return f"{_CLIENT}{'' if len(octets) == 16 else _MAPPED}{octets.hex()}"
