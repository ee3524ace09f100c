"""Networks: who is meant by `10.0.0.0/8`, `192.0.2.1` or `unix` in a list of trusted clients."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from gatepost.session import Endpoint

#: The entry that means clients on a Unix socket, which have no address.
UNIX = "unix"


def covers(networks: tuple[str, ...], client: Endpoint, server: Endpoint) -> bool:
    """Whether a client is one of those who are meant; `server` is our end of its connection."""
    ip = client.ip
    if ip is None:
        return UNIX in networks and is_unix(client, server)
    return any(ip in network for network in _parsed(networks))


def is_unix(client: Endpoint, server: Endpoint) -> bool:
    """Whether a client has come by a Unix socket of ours, and is not just one of no address."""
    return not client.is_unknown and server.ip is None and server.host != ""


def check_networks(networks: Iterable[str], *, option: str) -> None:
    """Raise ValueError, naming the option, for an entry that is no network."""
    for network in networks:
        try:
            _parsed((network,))
        except ValueError as error:
            raise ValueError(
                f"option {option!r} must be of networks, 10.0.0.0/8 or 192.0.2.1, "
                f"or unix for clients on a Unix socket, not {network!r}: {error}"
            ) from error


@lru_cache(maxsize=64)
def _parsed(networks: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks if network != UNIX)
