"""SocketAddress: where a socket is, as the configuration spells it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

#: Octets of a Unix socket's path: what the kernel's `sun_path` holds without its final NUL.
SOCKET_PATH_LIMIT = 107
UNIX = "unix:"

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


class SocketAddress(NamedTuple):
    """Where a socket is: an IP address and a port (0: any that is free), or a path."""

    host: str = ""  #: without brackets; empty for a Unix socket
    port: int = 0
    path: Path | None = None  #: of a Unix socket

    @classmethod
    def parse(cls, text: str) -> SocketAddress:
        """Read `127.0.0.1:2525`, `[::]:25` or `unix:/run/gatepost.sock`.

        One address has one spelling: `[0:0::0]:25` becomes `[::]:25`.  Raises ValueError; its text
        goes on where a name of the address leaves off.
        """
        if text.startswith(UNIX):
            path = text.removeprefix(UNIX)
            if not path or "\0" in path or len(path.encode()) > SOCKET_PATH_LIMIT:
                raise ValueError(
                    f"must have a path of 1 to {SOCKET_PATH_LIMIT} octets behind unix:"
                )
            return cls(path=Path(path))
        match = _HOST_AND_PORT.fullmatch(text)
        host = match and (match["six"] or match["four"])
        if match is None or not host or not is_ip(host, six=bool(match["six"])):
            raise ValueError(
                "must be an IP address with a port, 127.0.0.1:2525 or [::]:25, "
                f"or unix:/run/gatepost.sock, not {text!r}"
            )
        if int(match["port"]) > 65535:
            raise ValueError(f"must have a port up to 65535, not {match['port']}")
        return cls(str(ip_address(host)), int(match["port"]))

    @property
    def is_any_port(self) -> bool:
        """Whether the system is to choose the port."""
        return self.path is None and self.port == 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_ip(text: str, *, six: bool | None = None) -> bool:
    """Whether a text is an IP address, and one of version 6 or not where that matters."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return six is None or isinstance(address, IPv6Address) == six
