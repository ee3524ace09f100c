"""Passwords that an IMAP server knows."""

from __future__ import annotations

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from gatepost import (
    Accept,
    Address,
    Credentials,
    Defer,
    Deny,
    DomainList,
    Entries,
    Password,
    Peer,
    Plugin,
    Remembered,
    Session,
    Verdict,
    Wire,
)

log = logging.getLogger(__name__)

#: Response codes (RFC 5530) by which a server says NO for reasons of its own, or of our making.
NOT_NOW: Final = {b"UNAVAILABLE", b"SERVERBUG", b"INUSE", b"LIMIT", b"PRIVACYREQUIRED"}

_CODE = re.compile(rb"\[([A-Za-z-]+)")


@dataclass
class AuthImap(Plugin):
    """Ask an IMAP server whether a password is right.

    The plugin logs in there with the name and the password that it is given, and logs out again.
    OK accepts and NO denies; there is no telling an unknown user from a wrong password, so no
    plugin behind it is asked about users that it speaks of.  Whatever else happens defers: a server
    that cannot be reached or says BYE, and a NO with one of the response codes UNAVAILABLE,
    SERVERBUG, INUSE, LIMIT and PRIVACYREQUIRED.

    | `tls` | what protects the password on its way | `port` |
    |---|---|---|
    | `implicit` | TLS from the beginning | 993 |
    | `starttls` | TLS behind STARTTLS, without which nothing is asked | 143 |
    | `off` | nothing: for a server on the same machine | 143 |

    With several servers take the plugin several times, each time with the `domains` whose users
    are known there.  A server may count wrong passwords against the address that they come from,
    which is ours: tell it to trust us (Dovecot: `login_trusted_networks`).

        [[plugin]]
        use = "auth_imap"
        server = "imap.example.org"
        domains = ["example.org"]
    """

    server: str  #: the name or the address of the IMAP server
    port: int | None = None  #: when left out: as `tls` has it
    tls: Literal["implicit", "starttls", "off"] = "implicit"  #: what protects the password
    verify: bool = True  #: whether the certificate must be good for the server's name
    authorities: Path | None = None  #: a PEM file of the authorities to trust; else the system's
    #: speak only of users in these domains and `.suffix`es
    domains: Entries | Iterable[str] | None = None
    remember: float = 60.0  #: seconds to remember a password that was right; 0: not at all
    wait: float = 20.0  #: seconds for one question; let it be less than `timeout`
    at_once: int = 20  #: connections to the server; more questions wait for their turn

    def __post_init__(self) -> None:
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        port = self.port if self.port is not None else 993 if self.tls == "implicit" else 143
        self._peer = Peer(
            self.server,
            port,
            tls=self.tls,
            verify=self.verify,
            authorities=self.authorities,
            at_once=self.at_once,
        )
        self._ours = DomainList(self.domains or (), option="domains")
        self._remembered = Remembered(self.remember)

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Password) or not self._speaks_of(credentials.user):
            return None
        user, password = credentials.user, credentials.password
        if "\0" in user + password:
            return Deny()  # where the server counts NULs it would read another name
        if self._remembered.knows(user, password):
            return Accept()
        try:
            async with asyncio.timeout(self.wait):
                verdict = await self._ask(user.encode(), password.encode())
        except OSError as error:  # a time-out is one
            log.error("%s: no answer from %s: %r", session.id, self._peer, error)
            return Defer()
        if isinstance(verdict, Accept):
            self._remembered.remember(user, password)
        return verdict

    def _speaks_of(self, user: str) -> bool:
        if self.domains is None:
            return True
        try:
            return self._ours.covers(Address.parse(user, utf8=True))
        except ValueError:
            return False

    async def _ask(self, user: bytes, password: bytes) -> Verdict:
        """What the server says of a password; raises OSError when it says nothing of it."""
        async with self._peer.connect() as wire:
            greeting = await wire.hear()
            if not greeting.upper().startswith(b"* OK"):
                # PREAUTH is no welcome: nobody's password would be checked (and see RFC 9051, 11.2)
                raise ConnectionError("it does not greet with OK")
            imap = _Conversation(wire)
            if self.tls == "starttls":
                _require_ok(await imap.command(b"STARTTLS"), to="STARTTLS")
                await wire.secure()
            told = _require_ok(await imap.command(b"CAPABILITY"), to="CAPABILITY")
            answer = await imap.command(*_login(told.capabilities, user, password))
            verdict = _judged(answer)
            wire.say(b"bye LOGOUT")
            return verdict


# -- What is said ---------------------------------------------------------------------------------


def _login(capabilities: set[bytes], user: bytes, password: bytes) -> tuple[bytes, ...]:
    """A command, and what follows each time the server says `+`.

    What people type goes as base64 or as literals, in which no octet ends anything.
    """
    if b"AUTH=PLAIN" in capabilities:
        return b"AUTHENTICATE PLAIN", b64encode(b"\0" + user + b"\0" + password)
    if b"LOGINDISABLED" in capabilities:
        raise ConnectionError("it takes no passwords on this connection")
    return b"LOGIN {%d}" % len(user), b"%b {%d}" % (user, len(password)), password


class Answer(NamedTuple):
    """What a server says to one command."""

    status: bytes  #: OK, NO or BAD
    text: bytes
    capabilities: set[bytes]  #: those that it has told of meanwhile


class _Conversation:
    """Commands and their answers, one after the other (RFC 9051, 2.2)."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._number = 0

    async def command(self, text: bytes, *pieces: bytes) -> Answer:
        """Say a command, and a further piece each time that the server asks for one."""
        self._number += 1
        tag = b"g%d" % self._number
        self._wire.say(tag + b" " + text)
        left = list(pieces)
        capabilities: set[bytes] = set()
        while not (line := await self._wire.hear()).startswith(tag + b" "):
            first, _, rest = line.upper().partition(b" ")
            if first == b"+" and left:
                self._wire.send(left.pop(0) + b"\r\n")
            elif first != b"*" or rest.startswith(b"BYE"):
                raise ConnectionError("it says goodbye" if first == b"*" else "it speaks no IMAP")
            elif rest.startswith(b"CAPABILITY "):
                capabilities.update(rest.split())
        _, status, *words = line.split(b" ", 2)
        if left and status.upper() == b"OK":
            raise ConnectionError("it says OK before it has heard all")
        return Answer(status.upper(), b"".join(words), capabilities)


# -- What comes back ------------------------------------------------------------------------------


def _require_ok(answer: Answer, *, to: str) -> Answer:
    if answer.status != b"OK":
        raise ConnectionError(f"it refuses {to}")
    return answer


def _judged(answer: Answer) -> Verdict:
    """The verdict on a password; raises ConnectionError for an answer that is none."""
    if answer.status == b"OK":
        return Accept()
    match = _CODE.match(answer.text)
    code = match[1].upper() if match else b""
    if answer.status != b"NO" or code in NOT_NOW:
        # Its words stay here: they may repeat what we have said.
        known = code.decode() if code in NOT_NOW else "neither OK nor NO"
        raise ConnectionError(f"it answers {known}")
    return Deny()
