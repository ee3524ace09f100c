"""Session, Transaction, Recipient: what is known so far.  The conversation writes it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeVar

from gatepost.address import Address
from gatepost.identifier import new_identifier
from gatepost.message import Message
from gatepost.notes import Notes
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.proxy_header import ProxyHeader
from gatepost.protocol.xclient import XClientFacts, XForwardFacts
from gatepost.reply import Reply
from gatepost.tls import Tls
from gatepost.trail import Outcome, Result, Trail

T = TypeVar("T")


class Endpoint(NamedTuple):
    """One end of a connection: an IP address and a port, or the path of a Unix socket and 0.

    Few clients on a Unix socket have a path of their own: the host is empty then.
    """

    host: str
    port: int = 0

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address as a number; None for a Unix socket."""
        return _ip(self.host)

    @property
    def is_unknown(self) -> bool:
        """Whether it is a client of which a proxy could not tell more."""
        return self.host == UNKNOWN

    def __str__(self) -> str:
        if not self.port:
            return self.host or "unix"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


NOWHERE = Endpoint("")
#: The host of a client of which a proxy cannot tell more; nobody trusts it with anything.
UNKNOWN = "unknown"
#: The "mechanism" of a user for whom a proxy vouches.
BY_XCLIENT = "XCLIENT"


@dataclass(slots=True, eq=False)
class Session:
    """One connection, from banner to goodbye."""

    client: Endpoint
    server: Endpoint = NOWHERE
    listener: str = ""  #: the name of the [[listen]] table that the client came through
    id: str = field(default_factory=new_identifier)  #: short, sortable, unique
    started: float = field(default_factory=time.time)  #: seconds since 1970
    verb: str = ""  #: how the client greeted: HELO, EHLO or LHLO; empty before that
    hello: str = ""  #: the name that the client gave itself
    relaying: bool = False  #: may send to any domain
    allowed: str = ""  #: why this client is exempt from checks; empty: it is not
    user: str = ""  #: who has authenticated; empty: nobody
    mechanism: str = ""  #: how: `SCRAM-SHA-256`; empty: not at all
    tls: Tls | None = None  #: what protects the connection; None: nothing
    client_name: str = ""  #: what DNS calls the client, as far as that is known
    proxy: ProxyHeader | None = None  #: what a proxy before us has told; None: there is none
    forwarded: XForwardFacts | None = None  #: whom a filter before us has this message from
    messages: int = 0  #: transactions begun so far
    unread: int = 0  #: octets that the client has sent ahead of its turn
    octets_in: int = 0  #: that the client has said, without those of TLS; known at the end
    octets_out: int = 0  #: that it was told, likewise
    farewell: Reply | None = None  #: the reply that ended it; None: none has, up to now
    notes: Notes = field(default_factory=Notes)
    trail: Trail = field(default_factory=Trail)

    def allow(self, reason: str) -> None:
        """Exempt the client from plugins that say `unless = ["allowed"]`.

        Being allowed never means being allowed to relay.
        """
        self.allowed = reason

    def become(self, facts: XClientFacts) -> None:
        """Be the session of another client: what was known of the one before is forgotten."""
        host = self.client.host if facts.address is None else facts.address or UNKNOWN
        if facts.name is not None or host != self.client.host:
            self.client_name = facts.name or ""
        self.client = Endpoint(host, _told(facts.port, self.client.port))
        self.server = self.server._replace(
            host=_told(facts.destination_address, self.server.host),
            port=_told(facts.destination_port, self.server.port),
        )
        self.hello = facts.hello or ""
        self.verb = {"SMTP": "HELO", "ESMTP": "EHLO"}.get(facts.protocol or "", "")
        self.user = facts.login or ""
        self.mechanism = BY_XCLIENT if facts.login else ""
        self.relaying = facts.login is not None and facts.login != ""
        self.allowed, self.forwarded, self.notes = "", None, Notes()
        self.trail.disown()

    def found(
        self,
        plugin: str,
        outcome: Outcome,
        text: str = "",
        *,
        method: str = "",
        word: str = "",
        properties: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Put a result that is no verdict on the trail.

        One with a `method` of RFC 8601 also goes into Authentication-Results: see `Result`.
        """
        self.trail.add(Result(plugin, outcome, text, method, word, properties))


@dataclass(slots=True, eq=False)
class Recipient:
    """One accepted or proposed recipient of a message."""

    address: Address
    parameters: RcptParameters = field(default_factory=RcptParameters)
    notes: Notes = field(default_factory=Notes)

    def __str__(self) -> str:
        return str(self.address)


@dataclass(slots=True, eq=False)
class Transaction:
    """One message in the making: sender, recipients, parameters, message."""

    session: Session
    sender: Address
    parameters: MailParameters = field(default_factory=MailParameters)
    recipients: list[Recipient] = field(default_factory=list)  #: those accepted so far
    message: Message = field(default_factory=Message)  #: empty until DATA
    number: int = 1  #: which message of its session it is
    chunked: bool = False  #: it comes by BDAT (RFC 3030), behind which a client need not wait
    arrived: int = 0  #: octets of the message that have come so far, kept or not
    #: what its end was told in LMTP, for each recipient that was accepted; empty in SMTP
    replies: dict[Recipient, Reply] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    @property
    def id(self) -> str:
        """The session's id, a dot and the number of the message: `k2x81a03c5m2.1`."""
        return f"{self.session.id}.{self.number}"

    def found(
        self,
        plugin: str,
        outcome: Outcome,
        text: str = "",
        *,
        method: str = "",
        word: str = "",
        properties: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Put a result about this message on the trail; otherwise as `Session.found`."""
        self.session.trail.add(Result(plugin, outcome, text, method, word, properties, self.number))


def _told(value: T | None, known: T) -> T:
    return known if value is None else value


@lru_cache(maxsize=4096)
def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
