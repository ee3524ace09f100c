"""Who may send mail to any domain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

from gatepost import Derived, Entries, Plugin, Session

_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network

#: Where IPv4 addresses stand among those of IPv6 (RFC 4291, 2.5.5.2).
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass
class Relay(Plugin):
    """Let the clients of our own networks send mail to any domain.

    It only marks them: the session is `relaying` from then on, `domains` accepts their recipients,
    and plugins with `unless = ["relay"]` leave them alone.  Nobody may relay unasked, not even
    this machine itself: list `127.0.0.1` and `::1` where it should.  An IPv4 client that comes
    through an IPv6 socket (`::ffff:192.0.2.1`) is the same as any other, and so is a network that
    is written like that.

        [[plugin]]
        use = "relay"
        networks = ["192.0.2.0/24", "2001:db8::/32"]
        [[plugin]]
        use = "domains"
        domains = ["example.org"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@example.org>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@elsewhere.example>
        S: 250 2.1.5 Recipient ok
    """

    #: networks (`192.0.2.0/24`) and single addresses, of IPv4 and IPv6
    networks: Entries | Iterable[str]
    unix: bool = False  #: whether clients of our Unix sockets may relay: all who can open them

    def __post_init__(self) -> None:
        self._networks = Derived(self.networks, _network, _Prefixes, option="networks")

    def connect(self, session: Session) -> None:
        why = self._reason(session)
        if why:
            session.relaying = True
            session.found("relay", "pass", why)

    def _reason(self, session: Session) -> str:
        """What lets a client relay; empty: nothing does."""
        address = session.client.ip
        if address is None:
            # A client whose address could not be learned is not one of a Unix socket.
            local = session.server.ip is None and session.server.host != ""
            known = not session.client.is_unknown
            return "a Unix socket" if local and known and self.unix else ""
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        network = self._networks.current().around(address)
        return f"{address} is in {network}" if network else ""


class _Prefixes:
    """Networks by the length of their prefixes: to look one up costs the same however many."""

    def __init__(self, networks: list[_Network]) -> None:
        self._tables: dict[int, dict[int, dict[int, _Network]]] = {4: {}, 6: {}}
        for network in sorted(networks, key=lambda network: network.prefixlen, reverse=True):
            shift = network.max_prefixlen - network.prefixlen
            table = self._tables[network.version].setdefault(shift, {})
            table[int(network.network_address) >> shift] = network

    def around(self, address: _Address) -> _Network | None:
        """The smallest network that an address is in."""
        number = int(address)
        for shift, table in self._tables[address.version].items():
            network = table.get(number >> shift)
            if network is not None:
                return network
        return None


def _network(text: str) -> _Network:
    if "%" in text:
        raise ValueError("a zone cannot be checked: leave it out")
    try:
        network = ip_network(text)
    except ValueError:
        around = ip_network(text, strict=False)  # raises as well for what is no network at all
        raise ValueError(f"an address inside a network: write '{around}'") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        first = network.network_address.ipv4_mapped
        return IPv4Network((int(first or 0), network.prefixlen - _MAPPED.prefixlen))
    return network
