"""Ports for those who cannot leave the choice to the system."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

#: Below those that Linux gives to clients, thousands of whom may come and go meanwhile.
_RANGE = range(10_000, 32_000)


def some_ports() -> list[int]:
    """Ports that are most probably free, in no order."""
    return random.sample(_RANGE, 100)


def free_ports(number: int, host: str = "127.0.0.1") -> list[int]:
    """Ports of an address where nobody listens.  Raises OSError for an address that is not ours."""
    socket.create_server((host, 0), family=_family(host)).close()
    free: list[int] = []
    for port in some_ports():
        if len(free) < number:
            with suppress(OSError), socket.create_server((host, port), family=_family(host)):
                free.append(port)
    assert len(free) == number, "so many of a hundred ports are not free"
    return free


def free_port(host: str = "127.0.0.1") -> int:
    """A port where nobody listens, likewise."""
    return free_ports(1, host)[0]


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
