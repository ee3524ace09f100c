"""Config: what the server is told to do, as values."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from gatepost.config.log import LogSettings
from gatepost.config.metrics import MetricsSettings
from gatepost.config.otel import OtelSettings
from gatepost.config.socket_address import SocketAddress, is_ip
from gatepost.config.tls import TlsSettings
from gatepost.config.trail import TrailSettings
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.networks import check_networks
from gatepost.plugin import Plugin

StrayLineEnds: TypeAlias = Literal["refuse", "repair"]

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[(?:IPv6:)?(?P<address>[0-9A-Fa-f.:]+)\]")


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
            if not is_ip(server) and not _is_ip_and_port(server):
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
        return is_ip(literal["address"], six=name.startswith("[IPv6:"))
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
    log: LogSettings = field(default_factory=LogSettings)  #: what is logged, and where it goes
    trail: TrailSettings = field(default_factory=TrailSettings)  #: what is kept of decisions
    metrics: MetricsSettings = field(default_factory=MetricsSettings)  #: where figures are served
    otel: OtelSettings = field(default_factory=OtelSettings)  #: where traces are sent
    tls: TlsSettings | None = None  #: the certificates; None: there are none
    plugins: tuple[tuple[Plugin, Placement], ...] = ()  #: in the order in which they are asked
    directory: Path = field(default_factory=Path.cwd)  #: where relative paths start


def _is_ip_and_port(text: str) -> bool:
    try:
        return SocketAddress.parse(text).path is None
    except ValueError:
        return False
