"""Config: what the server is told to do, as values."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from gatepost.config.tls import TlsSettings
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.networks import check_networks
from gatepost.plugin import Plugin

StrayLineEnds: TypeAlias = Literal["refuse", "repair"]

#: Octets of a Unix socket's path: what the kernel's `sun_path` holds without its final NUL.
SOCKET_PATH_LIMIT = 107
UNIX = "unix:"

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[(?:IPv6:)?(?P<address>[0-9A-Fa-f.:]+)\]")


class SocketAddress(NamedTuple):
    """Where a socket is: an IP address and a port (0: any that is free), or a path."""

    host: str = ""  #: without brackets; empty for a Unix socket
    port: int = 0
    path: Path | None = None  #: of a Unix socket

    @classmethod
    def parse(cls, text: str) -> SocketAddress:
        """Read `127.0.0.1:2525`, `[::]:25` or `unix:/run/gatepost.sock`.

        Raises ValueError; its text goes on where a name of the address leaves off.
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
        if match is None or not host or not _is_ip(host, six=bool(match["six"])):
            raise ValueError(
                "must be an IP address with a port, 127.0.0.1:2525 or [::]:25, "
                f"or unix:/run/gatepost.sock, not {text!r}"
            )
        if int(match["port"]) > 65535:
            raise ValueError(f"must have a port up to 65535, not {match['port']}")
        return cls(host, int(match["port"]))

    @property
    def is_any_port(self) -> bool:
        """Whether the system is to choose the port."""
        return self.path is None and self.port == 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"{UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listen:
    """One [[listen]] table: where clients may connect, and what is spoken there.

    Raises ValueError for an address that is none.
    """

    address: str  #: `127.0.0.1:2525`, `[::]:25` or `unix:/run/gatepost.sock`
    name: str = "smtp"  #: what plugins and logs call it
    protocol: Literal["smtp", "lmtp"] = "smtp"  #: what is spoken there
    tls: Literal["off", "starttls", "implicit"] = "off"  #: how the connection becomes secure
    require_tls: bool = False  #: with STARTTLS: take nothing in clear (RFC 3207, 4)
    require_auth: bool = False  #: take no mail from those who have not authenticated
    auth_without_tls: bool = False  #: let passwords and tokens go over the wire in clear
    #: proxies that tell by the PROXY protocol who the client is; nobody else may connect then
    proxy_protocol_from: tuple[str, ...] = ()
    xclient_from: tuple[str, ...] = ()  #: networks whose XCLIENT is believed; `unix` is one
    xforward_from: tuple[str, ...] = ()  #: networks whose XFORWARD is believed; `unix` is one

    def __post_init__(self) -> None:
        try:
            SocketAddress.parse(self.address)
        except ValueError as error:
            raise ValueError(f"option 'address' {error}") from error
        for option in ("proxy_protocol_from", "xclient_from", "xforward_from"):
            check_networks(getattr(self, option), option=option)
        if self.require_tls and self.tls == "off":
            raise ValueError("option 'require_tls' needs tls = \"starttls\"")

    @property
    def socket_address(self) -> SocketAddress:
        """The address in its parts."""
        return SocketAddress.parse(self.address)


@dataclass(frozen=True, slots=True)
class Dns:
    """The table [dns]: whom to ask.  Raises ValueError for what is no address of a server."""

    servers: tuple[str, ...] = ()  #: `127.0.0.1` or `127.0.0.1:5353`; empty: the system's

    def __post_init__(self) -> None:
        for server in self.servers:
            if not _is_ip(server) and not _is_ip_and_port(server):
                raise ValueError(
                    "option 'servers' must be of IP addresses, with or without a port: "
                    f"127.0.0.1 or [::1]:5353, not {server!r}"
                )


def own_hostname() -> str:
    """The name that this machine gives itself, or `localhost` when that fits in no banner."""
    name = socket.gethostname()
    if "." not in name:
        name = socket.getfqdn(name)
    return name if is_hostname(name) else "localhost"


def is_hostname(name: str) -> bool:
    """Whether a name may stand in a banner: a domain or an address literal (RFC 5321, 4.1.2)."""
    if literal := _LITERAL.fullmatch(name):
        return _is_ip(literal["address"], six=name.startswith("[IPv6:"))
    return len(name) <= 255 and _HOSTNAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Config:
    """All that the configuration says, checked."""

    hostname: str = field(default_factory=own_hostname)  #: the server's name for itself
    plugin_directories: tuple[Path, ...] = ()  #: where plugins that are files are looked for
    listen: tuple[Listen, ...] = ()  #: where clients may connect
    limits: Limits = field(default_factory=Limits)  #: how much one client may ask
    dns: Dns = field(default_factory=Dns)  #: whom to ask for names
    #: what a bare CR or LF in a message means: it is refused, or made a CRLF
    stray_line_ends: StrayLineEnds = "refuse"
    #: the server's name in Authentication-Results (RFC 8601); `none`: none are added or removed
    authserv_id: str = ""
    workers: int = 0  #: processes that take clients in; 0: one for each processor
    user: str = ""  #: whom to become once the sockets are bound; empty: stay who we are
    group: str = ""  #: the group to be in then; empty: that user's own
    #: where the running server keeps what is its own: the socket by which it is controlled
    state: Path = Path("state")
    drain: float = 60.0  #: seconds in which clients may finish when others take over at a reload
    grace: float = 10.0  #: seconds in which messages under way may be finished when it stops
    tls: TlsSettings | None = None  #: the certificates; None: there are none
    plugins: tuple[tuple[Plugin, Placement], ...] = ()  #: in the order in which they are asked
    directory: Path = field(default_factory=Path.cwd)  #: where relative paths start


def _is_ip_and_port(text: str) -> bool:
    try:
        return SocketAddress.parse(text).path is None
    except ValueError:
        return False


def _is_ip(text: str, *, six: bool | None = None) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return six is None or isinstance(address, IPv6Address) == six
