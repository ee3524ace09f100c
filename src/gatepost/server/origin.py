"""Origin: where a client has come from, and to, as the transport or a proxy before us tells."""

from __future__ import annotations

from asyncio import BaseTransport
from typing import NamedTuple

from gatepost.protocol.proxy_header import ProxyHeader
from gatepost.session import Endpoint, Session
from gatepost.tls import Tls


class Origin(NamedTuple):
    """Both ends of a connection, and the TLS that a proxy has taken off it."""

    client: Endpoint
    server: Endpoint
    header: ProxyHeader | None = None  #: what the proxy has told; None: there is none

    @property
    def tls(self) -> Tls | None:
        """The TLS that the proxy has taken off the connection."""
        header = self.header
        if header is None or header.tls is None or not header.tls.encrypted:
            return None
        return Tls(header.tls.version, header.tls.cipher, server_name=header.authority)

    @property
    def address(self) -> str:
        """The client's IP address; empty where there is none."""
        return self.client.host if self.client.ip is not None else ""

    def session(self, listener: str) -> Session:
        """A new session of the client, which has come through the listener of that name."""
        return Session(self.client, self.server, listener, tls=self.tls, proxy=self.header)


def origin_of(transport: BaseTransport) -> Origin:
    """What the transport itself knows."""
    return Origin(
        _endpoint(transport.get_extra_info("peername")),
        _endpoint(transport.get_extra_info("sockname")),
    )


def _endpoint(name: object) -> Endpoint:
    """What the transport calls an address: a tuple for TCP, a path for a Unix socket."""
    if isinstance(name, tuple):
        host = str(name[0]).partition("%")[0]
        return Endpoint(host.removeprefix("::ffff:"), int(name[1]))
    return Endpoint(str(name or ""))
