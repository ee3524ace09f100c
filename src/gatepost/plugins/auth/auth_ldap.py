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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
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

#: What ldap3 raises; LookupError and ValueError are what it makes of octets that are no LDAP.
_TROUBLE: Final = (OSError, LookupError, ValueError, ldap3.core.exceptions.LDAPException)
_PORTS: Final = {"ldap": 389, "ldaps": 636}
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
        option, template = ("dn", self.dn) if self.dn else ("filter", self.filter)
        if not self.servers:
            raise ValueError("option 'servers' must name at least one server")
        if bool(self.base) == bool(self.dn):
            raise ValueError("option 'base' is needed, or option 'dn' instead of a search")
        if not {"user", "local"} & set(_PART.findall(template)):
            raise ValueError(f"option {option!r} must have {{user}} or {{local}} in it")
        if self.dn and self.user_attribute:
            raise ValueError("option 'user_attribute' is for a search: it does not go with 'dn'")
        if bool(self.bind_dn) != bool(self.bind_password):
            raise ValueError("option 'bind_dn' needs 'bind_password', and that needs 'bind_dn'")
        if self.wait <= 0 or self.at_once <= 0:
            raise ValueError("options 'wait' and 'at_once' must be more than 0")
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
        if user in self._names and self._remembered.knows(user, password):
            credentials.user = self._names[user]
            return Accept()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.wait):
                until = began + self.wait
                verdict, name = await self._pool.run(self._ask, wanted, password, until)
        except (OSError, PoolBusy) as trouble:  # a time-out is an OSError
            log.error("%s: the directory has no answer: %r", session.id, trouble)
            return Defer()
        await self._equal(verdict, time.monotonic() - began)
        if verdict == Accept():
            if len(self._names) >= NAMES:
                self._names.clear()
            credentials.user = self._names[user] = name or user
            self._remembered.remember(user, password)
        return verdict

    def shutdown(self, site: Site) -> None:
        self._pool.close()

    async def _equal(self, verdict: Verdict | None, seconds: float) -> None:
        """Make it no matter of time whether a user exists: for some, a hash has been checked."""
        if verdict is not None:
            self._seconds.append(seconds)
        elif self._seconds:
            await asyncio.sleep(secrets.choice(self._seconds) - seconds)

    # -- In a thread ------------------------------------------------------------------------------

    def _ask(self, wanted: str, password: str, until: float) -> tuple[Verdict | None, str]:
        """The verdict of the first server that has one, and the name that it knows the user by.

        Raises OSError when none has one before `until`, a time of the monotonic clock.
        """
        for number, server in enumerate(self._servers):
            seconds = (until - time.monotonic()) / (len(self._servers) - number)
            if seconds <= 0:
                break
            try:
                with _connected(server, seconds) as link:
                    return self._judge(link, wanted, password)
            except _TROUBLE as trouble:
                log.warning("%s: %r", server.url, trouble)
        raise ConnectionError("no server has one")

    def _judge(self, link: Any, wanted: str, password: str) -> tuple[Verdict | None, str]:
        dn, name = wanted, ""
        if not self.dn:
            if self.bind_dn:
                code = _bind(link, self.bind_dn, self.bind_password)
                _require(link, code == SUCCESS, "the bind of 'bind_dn'")
            dn, name = _find(link, self.base, wanted, self.user_attribute)
        # Who is not found gets no answer before a bind, either; this one cannot succeed.
        code = _bind(link, dn or f"cn={secrets.token_hex(16)},{self.base}", password)
        if not dn:
            return None, ""
        if code == INVALID_CREDENTIALS:
            return Deny(), ""
        _require(link, code == SUCCESS, "the bind of a user")
        if self.user_attribute and not name:
            raise ConnectionError(f"{dn!r} has no attribute {self.user_attribute}")
        return Accept(), name


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
            self.host = unquote(parts.netloc + parts.path if is_socket else parts.hostname or "")
            self.port = 0 if is_socket else parts.port or _PORTS[parts.scheme]
            rest = parts.query + parts.fragment + ("" if is_socket else parts.path.strip("/"))
            bad = rest or "@" in parts.netloc or self.host.startswith("/") != is_socket
        except (ValueError, KeyError):
            bad = True
        if bad or not self.host:
            told = url.rpartition("@")[2]  # before it may stand a password
            form = "ldaps://host or ldapi://%2Fpath"
            raise ValueError(f"option 'servers': {told!r} is not of the form {form}")
        self.url, self.secure = url, parts.scheme == "ldaps"
        self.starttls = parts.scheme == "ldap" and tls == "starttls"
        self.context = context

    def wrap(self, connection: Any, do_handshake: bool) -> None:
        """Put TLS on a connection of ldap3, whose own way needs what Python 3.12 has removed."""
        connection.socket = self.context.wrap_socket(connection.socket, server_hostname=self.host)


@contextmanager
def _connected(server: _Server, seconds: float) -> Iterator[Any]:
    """A connection of ldap3 on which each answer may take some seconds."""
    tls = ldap3.Tls()
    tls.wrap_socket = server.wrap
    there = ldap3.Server(
        server.host if server.port else f"ldapi://{server.host}",
        server.port,
        use_ssl=server.secure,
        tls=tls,
        get_info=ldap3.NONE,
        connect_timeout=seconds,  # the socket keeps it
    )
    link = ldap3.Connection(there, auto_referrals=False, auto_escape=False, check_names=False)
    try:
        link.open(read_server_info=False)
        if server.starttls and not link.start_tls(read_server_info=False):
            raise ConnectionError("TLS does not start")
        yield link
    finally:
        with suppress(*_TROUBLE):
            link.unbind()
        if link.socket is not None:  # ldap3 has it still when it could not connect
            link.socket.close()


def _bind(link: Any, dn: str, password: str) -> int:
    """The result code of a bind by name and password, neither of which may be empty."""
    link.authentication, link.user, link.password = ldap3.SIMPLE, dn, password.encode()
    link.bind(read_server_info=False)
    return int(link.result["result"])


def _find(link: Any, base: str, wanted: str, attribute: str) -> tuple[str, str]:
    """The name of the only entry, and the first value of its attribute; each may be empty."""
    link.search(base, wanted, attributes=[attribute] if attribute else None, size_limit=2)
    code = link.result["result"]
    _require(link, code in (SUCCESS, SIZE_LIMIT_EXCEEDED), "the search")
    # What is no entry is a reference to another server.
    entries = [found for found in link.response if found["type"] == "searchResEntry"]
    if len(entries) > 1 or code == SIZE_LIMIT_EXCEEDED:
        raise ConnectionError("the option 'filter' finds several entries")
    if not entries:
        return "", ""
    values = entries[0]["raw_attributes"].get(attribute) or [b""]
    return entries[0]["dn"], values[0].decode()


def _require(link: Any, condition: bool, what: str) -> None:
    if not condition:
        raise ConnectionError(f"{what} is answered {link.result['description']}")
