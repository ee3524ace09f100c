"""Users whom an LDAP directory knows."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import ssl
import time
import warnings
from collections import deque
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Pool,
    PoolBusy,
    Remembered,
    Session,
    Site,
    Verdict,
    client_context,
)

with warnings.catch_warnings():
    # ldap3 2.9.1 takes two tables of pyasn1 by names that have been changed since.
    warnings.filterwarnings("ignore", "(tagMap|typeMap) is deprecated", DeprecationWarning)
    import ldap3  # type: ignore[import-untyped]  # it comes without types

log = logging.getLogger(__name__)

#: Result codes (RFC 4511, 4.1.9).
SUCCESS: Final = 0
SIZE_LIMIT_EXCEEDED: Final = 4
INVALID_CREDENTIALS: Final = 49
#: Users whose names in the directory are remembered.
NAMES: Final = 10_000

_TROUBLE: Final = (OSError, UnicodeError, ldap3.core.exceptions.LDAPException)
_PORTS: Final = {"ldap": 389, "ldaps": 636, "ldapi": 0}
_PART = re.compile(r"\{(user|local|domain)\}")
#: Octets that mean nothing but themselves, in a filter as in a distinguished name.
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.@")


@dataclass
class AuthLdap(Plugin):
    """Ask an LDAP directory, by a bind in the user's name.

    There are two ways to the user's entry.  With `base`, it is searched for below that entry with
    `filter`, and a user who is not found is left to the next plugin.  With `dn`, its name is made
    of the user's, without a search; but then the directory does not say whether there is such a
    user, and no plugin behind this one is asked.

        [[plugin]]
        use = "auth_ldap"
        servers = ["ldaps://ldap1.example.org", "ldaps://ldap2.example.org"]
        base = "ou=people,dc=example,dc=org"
        filter = "(&(objectClass=inetOrgPerson)(|(uid={user})(mail={user})))"
        user_attribute = "uid"

    In `filter` and `dn`, `{user}` is the name that the client gave, `{local}` what stands before
    its `@` and `{domain}` what stands behind it; a name that has no such part is no user's.  What
    clients write is escaped and can mean nothing but itself.

    A wrong password (invalidCredentials) denies.  Whatever else happens defers: another result, a
    filter that finds several entries, servers that cannot be reached.  Referrals are not followed.
    An unknown user has to wait as long as others: for a bind that fails, and then for as long as
    users who exist have waited of late.
    """

    servers: tuple[str, ...]  #: in order: `ldaps://ldap.example`, `ldapi://%2Frun%2Fslapd%2Fldapi`
    base: str = ""  #: the entry below which users are searched for
    filter: str = "(uid={user})"  #: which entry there is the user's (RFC 4515)
    bind_dn: str = ""  #: in whose name to search; empty: anonymously
    bind_password: str = field(default="", repr=False)  #: the password of `bind_dn`
    user_attribute: str = ""  #: where the user's name stands; empty: it is what the client gave
    dn: str = ""  #: the name of the entry, instead of a search: `uid={user},ou=people,dc=example`
    tls: Literal["starttls", "off"] = "starttls"  #: what protects passwords on the way to `ldap://`
    verify: bool = True  #: whether certificates must be good for the server's name
    authorities: Path | None = None  #: a PEM file of the authorities to trust; else the system's
    remember: float = 60.0  #: seconds to remember a password that was right; 0: not at all
    wait: float = 20.0  #: seconds for one question, to all servers; let it be less than `timeout`
    at_once: int = 10  #: connections to the servers; more questions wait for their turn

    def __post_init__(self) -> None:
        self._check()
        try:
            context = client_context(verify=self.verify, authorities=self.authorities)
        except OSError as error:
            raise ValueError(f"option 'authorities': {self.authorities}: {error}") from error
        self._servers = tuple(_Server(url, self.tls, context) for url in self.servers)
        self._pool = Pool(self.at_once)
        self._remembered = Remembered(self.remember)
        self._names: dict[str, str] = {}
        self._seconds: deque[float] = deque(maxlen=100)  # for which users who exist have waited

    def _check(self) -> None:
        if not self.servers:
            raise ValueError("option 'servers' must name at least one server")
        if bool(self.base) == bool(self.dn):
            raise ValueError("option 'base' is needed, or option 'dn' instead of a search")
        option, template = ("dn", self.dn) if self.dn else ("filter", self.filter)
        if not {"user", "local"} & set(_PART.findall(template)):
            raise ValueError(f"option {option!r} must have {{user}} or {{local}} in it")
        if self.dn and self.user_attribute:
            raise ValueError("option 'user_attribute' is for a search: it does not go with 'dn'")
        if bool(self.bind_dn) != bool(self.bind_password):
            raise ValueError("option 'bind_dn' needs the option 'bind_password', and it the other")
        for option, number in ("wait", self.wait), ("at_once", self.at_once):
            if number <= 0:
                raise ValueError(f"option {option!r} must be more than 0")
        try:
            ldap3.operation.search.parse_filter(self.filter, None, False, False, None, False)
        except ldap3.core.exceptions.LDAPInvalidFilterError as error:
            raise ValueError(f"option 'filter': {error}") from error

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Password):
            return None
        user, password = credentials.user, credentials.password
        wanted = _filled(self.dn or self.filter, user)
        if wanted is None:
            return None
        if not password:
            return Deny()  # it would pass for an anonymous bind, and succeed (RFC 4513, 5.1.2)
        if self._remembered.knows(user, password):
            credentials.user = self._names.get(user, user)
            return Accept()
        try:
            async with asyncio.timeout(self.wait):
                until = time.monotonic() + self.wait
                answer = await self._pool.run(self._ask, wanted, password, until)
        except (OSError, PoolBusy) as trouble:  # a time-out is an OSError
            log.error("%s: the directory has no answer: %r", session.id, trouble)
            return Defer()
        await self._equal(answer)
        if answer.verdict == Accept():
            credentials.user = self._known(user, answer.name, password)
        return answer.verdict

    def shutdown(self, site: Site) -> None:
        self._pool.close()

    async def _equal(self, answer: _Answer) -> None:
        """Make it no matter of time whether a user exists: for some, a hash has been checked."""
        if answer.verdict is not None:
            self._seconds.append(answer.seconds)
        elif self._seconds:
            await asyncio.sleep(secrets.choice(self._seconds) - answer.seconds)

    def _known(self, user: str, name: str, password: str) -> str:
        """Remember a password that is right, and the user's name, which is returned."""
        if len(self._names) >= NAMES:
            self._names.clear()
            self._remembered.forget()
        self._names[user] = name or user
        self._remembered.remember(user, password)
        return self._names[user]

    # -- In a thread ------------------------------------------------------------------------------

    def _ask(self, wanted: str, password: str, until: float) -> _Answer:
        """What the first server says that can be reached; `until` is of the monotonic clock."""
        began = time.monotonic()
        for number, server in enumerate(self._servers):
            share = (until - time.monotonic()) / (len(self._servers) - number)
            try:
                with closing(_Link(server, share)) as link:
                    verdict, name = self._judge(link, wanted, password)
                return _Answer(verdict, name, time.monotonic() - began)
            except _TROUBLE as trouble:
                log.warning("%s: %r", server.url, trouble)
        raise ConnectionError("no server has one")

    def _judge(self, link: _Link, wanted: str, password: str) -> tuple[Verdict | None, str]:
        """What a server says, and the name that it knows the user by."""
        link.open()
        dn, name = (wanted, "") if self.dn else self._find(link, wanted)
        if not dn:  # what follows is asked for all, and it cannot succeed
            link.bind(f"cn={secrets.token_hex(16)},{self.base}", password)
            return None, ""
        code = link.bind(dn, password)
        if code == INVALID_CREDENTIALS:
            return Deny(), ""
        link.require(code == SUCCESS, "the bind of a user")
        if self.user_attribute and not name:
            raise ConnectionError(f"{dn!r} has no attribute {self.user_attribute}")
        return Accept(), name

    def _find(self, link: _Link, wanted: str) -> tuple[str, str]:
        """The distinguished name of the user's entry, and the user's name; two empty ones."""
        if self.bind_dn:
            link.require(link.bind(self.bind_dn, self.bind_password) == SUCCESS, "'bind_dn'")
        entries = link.search(self.base, wanted, self.user_attribute)
        if len(entries) > 1:
            raise ConnectionError("the option 'filter' finds several entries")
        return entries[0] if entries else ("", "")


class _Answer(NamedTuple):
    verdict: Verdict | None  #: None: there is no such user
    name: str  #: that the directory has for the user; empty: none
    seconds: float  #: that it took


# -- What clients write ---------------------------------------------------------------------------


def _filled(template: str, user: str) -> str | None:
    """The template with the user's name in it; None when the name lacks a part of that."""
    local, _, domain = user.partition("@")
    parts = {"user": user, "local": local, "domain": domain}
    if not all(parts[part] for part in _PART.findall(template)):
        return None
    return _PART.sub(lambda match: escaped(parts[match[1]]), template)


def escaped(text: str) -> str:
    """A text that stands for itself in filters (RFC 4515, 3) and in names (RFC 4514, 2.4)."""
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:02x}" for octet in text.encode())


# -- Servers --------------------------------------------------------------------------------------


class _Server:
    """Where a server is, and what protects the way there.  Raises ValueError for a bad URL."""

    def __init__(self, url: str, tls: str, context: ssl.SSLContext) -> None:
        try:
            parts = urlsplit(url)
            is_socket = parts.scheme == "ldapi"
            place = unquote(parts.netloc + parts.path) if is_socket else parts.hostname or ""
            port = None if is_socket else parts.port
        except ValueError as error:
            raise ValueError(f"option 'servers': {url!r}: {error}") from error
        rest = parts.query + parts.fragment + ("" if is_socket else parts.path.strip("/"))
        if parts.scheme not in _PORTS or is_socket != place.startswith("/") or not place or rest:
            raise ValueError(
                f"option 'servers': {url!r} is not like ldaps://host or ldapi://%2Fpath"
            )
        self.url = url
        self.starttls = parts.scheme == "ldap" and tls == "starttls"
        self._secure = parts.scheme == "ldaps"
        self._host, self._port = (
            f"ldapi://{place}" if is_socket else place,
            port or _PORTS[parts.scheme],
        )
        self._context = context

    def connection(self, seconds: float) -> Any:
        """A connection of ldap3, not yet open; `seconds` are for each step of opening it."""
        tls = ldap3.Tls()
        tls.wrap_socket = self._wrap  # its own checks the host's name with what Python 3.12 lacks
        server = ldap3.Server(
            self._host,
            self._port,
            use_ssl=self._secure,
            tls=tls,
            get_info=ldap3.NONE,
            connect_timeout=seconds,
        )
        return ldap3.Connection(server, auto_referrals=False, auto_escape=False, check_names=False)

    def _wrap(self, connection: Any, do_handshake: bool) -> None:
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)


class _Link:
    """A connection to a server, which has some seconds for all that is asked on it."""

    def __init__(self, server: _Server, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._connection = server.connection(max(seconds, 0.001))
        self._starttls = server.starttls

    def open(self) -> None:
        """Connect, and put TLS on the connection where it is wanted."""
        self._connection.open(read_server_info=False)
        if self._starttls:
            self._hurry()
            self._connection.start_tls(read_server_info=False)

    def bind(self, dn: str, password: str) -> int:
        """The result code of a bind by name and password, neither of which may be empty."""
        self._hurry()
        connection = self._connection
        connection.authentication = ldap3.SIMPLE
        connection.user, connection.password = dn, password.encode()
        connection.bind(read_server_info=False)
        return int(connection.result["result"])

    def search(self, base: str, wanted: str, attribute: str) -> list[tuple[str, str]]:
        """The names of two entries at most, and the first value of an attribute of each."""
        self._hurry()
        connection = self._connection
        attributes = [attribute] if attribute else None
        connection.search(base, wanted, attributes=attributes, size_limit=2)
        self.require(connection.result["result"] in (SUCCESS, SIZE_LIMIT_EXCEEDED), "the search")
        return [
            (entry["dn"], (entry["raw_attributes"].get(attribute) or [b""])[0].decode())
            for entry in connection.response
            if entry["type"] == "searchResEntry"  # and no reference to another server
        ]

    def require(self, condition: bool, what: str) -> None:
        """Raise ConnectionError, which tells the last result, when a condition does not hold."""
        if not condition:
            raise ConnectionError(f"{what} is answered {self._connection.result['description']}")

    def close(self) -> None:
        """Say goodbye and close the connection, whether it has been opened or not."""
        with suppress(*_TROUBLE):
            self._connection.unbind()
        if self._connection.socket is not None:  # ldap3 has it still when it could not connect
            self._connection.socket.close()

    def _hurry(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("there is no time left")
        self._connection.socket.settimeout(left)
