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


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    for port in some_ports():
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("none of a hundred ports is free")
