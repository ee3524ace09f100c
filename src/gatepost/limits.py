"""Limits: how much one client may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from ipaddress import ip_network

#: What a server must be able to take.
_LEAST = {
    "recipients": (100, "RFC 5321, 4.5.3.1.8"),
    "line": (512, "RFC 5321, 4.5.3.1.4"),
    "text_line": (1000, "RFC 5321, 4.5.3.1.6"),
}
#: With another of the limits at 0 the server could take no mail.
_MAY_BE_ZERO = frozenset(
    {
        "message_size", "memory", "errors", "idle_commands", "connection_rate",
        "auth_failures_per_address",
    }
)  # fmt: skip
_MOST = {"ipv4_prefix": 32, "ipv6_prefix": 128}


@dataclass(frozen=True, slots=True)
class Limits:
    """The table [limits] of the configuration.

    Raises ValueError for a limit with which no mail could be taken.
    """

    message_size: int = 52_428_800  #: octets of a message; 0: no limit
    header_size: int = 1_048_576  #: octets of a message's header block
    header_lines: int = 10_000  #: lines of a message's header block
    text_line: int = 65_536  #: octets of a line of a message; never fewer than 1000
    memory: int = 262_144  #: octets of a message kept in memory; the rest goes to a file
    received: int = 100  #: Received fields that mean a loop
    recipients: int = 1000  #: of a message; never fewer than 100
    line: int = 2048  #: octets of a command line
    errors: int = 20  #: refused commands before 421
    auth_failures: int = 3  #: failed attempts to authenticate on one connection before 421
    #: of all workers together, per client's address or network: failed attempts to authenticate
    #: after which it is not heard for a quarter of an hour; 0: any
    auth_failures_per_address: int = 100
    idle_commands: int = 100  #: NOOP, RSET, VRFY, EHLO and the like in a row, before 421
    messages: int = 1000  #: per connection
    connections: int = 2000  #: of all workers together
    connections_per_address: int = 50  #: of all workers together, per client's address or network
    connection_rate: int = 0  #: new connections a minute, per client's address or network; 0: any
    ipv4_prefix: int = 32  #: bits of an IPv4 address that tell one client from another
    ipv6_prefix: int = 64  #: bits of an IPv6 address that do
    command_timeout: float = 300  #: seconds to wait for a command
    data_timeout: float = 600  #: seconds to wait for the next 64 KiB of a message
    handshake_timeout: float = 30  #: seconds for a TLS handshake, or for a PROXY header
    session_timeout: float = 3600  #: seconds that a connection may last

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, least = getattr(self, limit.name), _LEAST.get(limit.name)
            if least is not None and value < least[0]:
                raise ValueError(f"{limit.name}: never fewer than {least[0]} ({least[1]})")
            most = _MOST.get(limit.name, value)
            if value > most:
                raise ValueError(f"option {limit.name!r} must be {most} at most, not {value}")
            if value < 0 or (value == 0 and limit.name not in _MAY_BE_ZERO):
                wanted = "0 or more" if limit.name in _MAY_BE_ZERO else "more than 0"
                raise ValueError(f"option {limit.name!r} must be {wanted}, not {value}")

    def network_of(self, address: str) -> str:
        """What counts as one client: an IP address, or the network around it."""
        return _network(address, self.ipv6_prefix if ":" in address else self.ipv4_prefix)


@lru_cache(maxsize=4096)
def _network(address: str, prefix: int) -> str:
    return str(ip_network((address, prefix), strict=False))
