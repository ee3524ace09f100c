"""Passwords that another submission server knows."""

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
    Site,
    Verdict,
    Wire,
)

log = logging.getLogger(__name__)

_REPLY_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


@dataclass
class AuthSmtp(Plugin):
    """Ask another submission server whether a password is right.

    The plugin authenticates there by PLAIN or LOGIN with the name and the password that it is
    given, and leaves; no mail is sent.  235 accepts.  5xx denies, but only in answer to a name or
    a password: what is refused before that is refused to everybody.  There is no telling an unknown
    user from a wrong password, so no plugin behind it is asked about users that it speaks of.
    Whatever else happens defers.

    | `tls` | what protects the password on its way | `port` |
    |---|---|---|
    | `implicit` | TLS from the beginning | 465 |
    | `starttls` | TLS behind STARTTLS, without which nothing is asked | 587 |
    | `off` | nothing: for a server on the same machine | 587 |

    With several servers take the plugin several times, each time with the `domains` whose users
    are known there.  A server may count wrong passwords against the address that they come from,
    which is ours: exempt it there.

        [[plugin]]
        use = "auth_smtp"
        server = "submission.example.org"
        domains = ["example.org"]
    """

    server: str  #: the name or the address of the submission server
    port: int | None = None  #: when left out: as `tls` has it
    tls: Literal["implicit", "starttls", "off"] = "implicit"  #: what protects the password
    verify: bool = True  #: whether the certificate must be good for the server's name
    authorities: Path | None = None  #: a PEM file of the authorities to trust; else the system's
    hostname: str = ""  #: the name to give at EHLO; empty: the server's own
    #: speak only of users in these domains and `.suffix`es
    domains: Entries | Iterable[str] | None = None
    remember: float = 60.0  #: seconds to remember a password that was right; 0: not at all
    wait: float = 20.0  #: seconds for one question; let it be less than `timeout`
    at_once: int = 20  #: connections to the server; more questions wait for their turn

    def __post_init__(self) -> None:
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        if not self.hostname.isascii() or not self.hostname.isprintable() or " " in self.hostname:
            raise ValueError("option 'hostname' must be the name of a host")
        port = self.port if self.port is not None else 465 if self.tls == "implicit" else 587
        self._peer = Peer(
            self.server,
            port,
            tls=self.tls,
            verify=self.verify,
            authorities=self.authorities,
            at_once=self.at_once,
        )
        self._hello = self.hostname or "localhost"
        self._ours = DomainList(self.domains or (), option="domains")
        self._remembered = Remembered(self.remember)

    def startup(self, site: Site) -> None:
        self._hello = self.hostname or site.hostname

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
            _require(220, await _reply(wire), to="the connection")
            offered = await self._greet(wire)
            if self.tls == "starttls":
                if b"STARTTLS" not in offered:
                    raise ConnectionError("it offers no STARTTLS")
                _require(220, await _said(wire, b"STARTTLS"), to="STARTTLS")
                await wire.secure()
                offered = await self._greet(wire)
            verdict = await _authenticated(wire, offered.get(b"AUTH", ()), user, password)
            wire.say(b"QUIT")
            return verdict

    async def _greet(self, wire: Wire) -> dict[bytes, tuple[bytes, ...]]:
        """What the server offers: each keyword with its parameters."""
        reply = await _said(wire, b"EHLO " + self._hello.encode())
        _require(250, reply, to="EHLO")
        lines = [line.upper().split() for line in reply.lines[1:]]
        return {words[0]: tuple(words[1:]) for words in lines if words}


async def _authenticated(
    wire: Wire, offered: tuple[bytes, ...], user: bytes, password: bytes
) -> Verdict:
    """The verdict on a password, by the first mechanism that is offered."""
    responses = {
        b"PLAIN": [b"\0" + user + b"\0" + password],
        b"LOGIN": [user, password],
    }
    mechanism = next((name for name in responses if name in offered), None)
    if mechanism is None:
        raise ConnectionError("it offers neither PLAIN nor LOGIN")
    # Without an initial response, so that no command is longer than 512 octets (RFC 4954, 4).
    reply = await _said(wire, b"AUTH " + mechanism)
    for response in responses[mechanism]:
        _require(334, reply, to="AUTH")
        reply = await _said(wire, b64encode(response))
        if 500 <= reply.code <= 599:
            return Deny()
    _require(235, reply, to="AUTH")
    return Accept()


# -- Replies --------------------------------------------------------------------------------------


class _Reply(NamedTuple):
    code: int
    lines: list[bytes]


async def _said(wire: Wire, line: bytes) -> _Reply:
    """The reply to a line."""
    wire.say(line)
    return await _reply(wire)


async def _reply(wire: Wire) -> _Reply:
    """The server's next reply (RFC 5321, 4.2)."""
    lines: list[bytes] = []
    codes: set[bytes] = set()
    more = True
    while more:
        match = _REPLY_LINE.fullmatch(await wire.hear())
        codes |= {match[1]} if match else set()
        if match is None or len(codes) > 1:
            raise ConnectionError("it speaks no SMTP")
        lines.append(match[3] or b"")
        more = match[2] == b"-"
    return _Reply(int(codes.pop()), lines)


def _require(code: int, reply: _Reply, *, to: str) -> None:
    if reply.code != code:
        # Its words stay here: they may repeat what we have said.
        raise ConnectionError(f"it answers {to} with {reply.code}")
