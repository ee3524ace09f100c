"""Dovecot, which knows who may log in."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from base64 import b64encode
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple, cast

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Session,
    Site,
    Token,
    Verdict,
)

log = logging.getLogger(__name__)

# The protocol is described in https://doc.dovecot.org/2.3/developer_manual/design/auth_protocol.
#: Octets of a line in it; Dovecot hangs up on who sends more, and so do we.
LINE_LIMIT: Final = 16_384
#: Octets of a response before base64, so that it fits into such a line.
RESPONSE_LIMIT: Final = 12_000
#: Seconds to connect and to be introduced, and to leave Dovecot alone when that failed.
CONNECTING: Final = 5.0
REST: Final = 1.0

#: What clients can be offered, by the mechanisms that Dovecot names.
OFFERS: Final = {"PLAIN": "PLAIN LOGIN", "OAUTHBEARER": "OAUTHBEARER", "XOAUTH2": "XOAUTH2"}

_SERVER = re.compile(r"unix:(/.+)|(?:\[([^]]+)\]|([^][:\s]+)):([0-9]{1,5})")
_CONTROL = re.compile("[\0-\x1f]")
_ESCAPED = re.compile("\x01(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "1": "\x01", "t": "\t", "r": "\r", "n": "\n"}


@dataclass
class AuthDovecot(Plugin):
    """Ask Dovecot, in its own protocol, who may log in.

    `use = "auth_dovecot"` asks the usual socket.  Give Dovecot's `service auth` a `unix_listener`
    that the server's user may open.  One connection is for all clients, and is made anew when it is
    lost.  While Dovecot cannot be reached, or does not answer within `wait` seconds, clients are to
    try again later.  Dovecot delays what it refuses, by 17 seconds at most, and `wait` must be more
    than that.  It is told `service=smtp`, both ends' addresses, and whether there is TLS.  Over
    `host:port`, passwords and tokens go in clear.

    The plugin answers for passwords, and for tokens where Dovecot's `auth_mechanisms` have
    `oauthbearer` or `xoauth2` among them.  The user's name is what Dovecot makes of it.  A user
    with `nologin` is refused.  A user with `proxy` has to wait, for it is another server that would
    check the password: let Dovecot give `proxy` to other services only.
    """

    #: where Dovecot listens: `unix:/path`, or `host:port` of an `inet_listener`
    server: str = "unix:/run/dovecot/auth-client"
    wait: float = 20.0  #: seconds for one question; let it be less than `timeout`
    at_once: int = 100  #: questions under way; more wait for their turn

    def __post_init__(self) -> None:
        match = _SERVER.fullmatch(self.server)
        if match is None or not 0 < int(match[4] or 1) < 65_536:
            raise ValueError("option 'server' must be 'unix:/path' or 'host:port'")
        if self.wait <= 0 or self.at_once < 1:
            raise ValueError("options 'wait' and 'at_once' must be more than 0")
        self._line = Line(match[1] or match[2] or match[3], int(match[4] or 0))
        self._places = asyncio.Semaphore(self.at_once)

    async def startup(self, site: Site) -> None:
        try:
            await self._line.connection()
        except OSError as error:
            log.warning("Dovecot at %s cannot be reached yet: %r", self.server, error)

    def shutdown(self, site: Site) -> None:
        self._line.close()

    def mechanisms(
        self, session: Session, offered: tuple[str, ...]
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        known = self._line.offers
        return (*offered, *known) if known else self._with_those_of_dovecot(offered)

    async def _with_those_of_dovecot(self, offered: tuple[str, ...]) -> tuple[str, ...]:
        with suppress(OSError):
            await self._line.connection()
        return (*offered, *(self._line.offers or ("PLAIN", "LOGIN")))

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Password | Token):
            return None
        responses = _responses(credentials)
        if not responses or max(map(len, responses.values())) > RESPONSE_LIMIT:
            return Deny()
        try:
            async with asyncio.timeout(self.wait), self._places:
                answer = await self._ask(responses, _parameters(session))
        except OSError as error:  # a time-out is one
            log.error("%s: no answer from Dovecot at %s: %r", session.id, self.server, error)
            return Defer()
        if answer is None:
            return None
        if answer.why:
            log.warning("%s: Dovecot at %s: %s", session.id, self.server, answer.why)
        credentials.user = answer.user or credentials.user
        return answer.verdict

    async def _ask(self, responses: dict[str, bytes], parameters: list[str]) -> Answer | None:
        """What Dovecot says; None when it has none of the mechanisms.  Raises OSError."""
        connection = await self._line.connection()
        try:
            return await connection.ask(responses, parameters)
        except ConnectionError:  # Dovecot may have been started anew since it was last asked
            connection = await self._line.connection()
            return await connection.ask(responses, parameters)


def _responses(credentials: Password | Token) -> dict[str, bytes]:
    """What a client would say, by the mechanism; nothing for what can be nobody's."""
    user = credentials.user
    secret = credentials.password if isinstance(credentials, Password) else credentials.token
    if _CONTROL.search(user + secret):  # it would mix up the parts of a response
        return {}
    if isinstance(credentials, Password):
        return {"PLAIN": f"\0{user}\0{secret}".encode()}  # RFC 4616, 2
    name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801, 4
    bearer = f"\x01auth=Bearer {secret}\x01\x01"
    return {
        "OAUTHBEARER": f"n,{'a=' * bool(name)}{name},{bearer}".encode(),  # RFC 7628, 3.1
        "XOAUTH2": f"user={user}{bearer}".encode(),
    }


def _parameters(session: Session) -> list[str]:
    """What Dovecot may know of the session; `nologin`: no other program asks for the outcome."""
    secured = ["secured"] if session.tls is not None else []
    known = ["service=smtp", "nologin", f"session={session.id}", *secured]
    for which, end in ("r", session.client), ("l", session.server):
        if end.ip is not None:
            address = str(end.ip).partition("%")[0]  # a zone means nothing to others
            known += [f"{which}ip={address}", f"{which}port={end.port}"]
    return known


class Answer(NamedTuple):
    """What Dovecot says of a question."""

    verdict: Verdict
    user: str = ""  #: who has been accepted; empty: who said so
    why: str = ""  #: where that is worth a line in the log

    @classmethod
    def read(cls, word: str, fields: list[str]) -> Answer:
        """Understand OK or FAIL, and what stands behind it."""
        known = {name: value for name, _, value in (field.partition("=") for field in fields)}
        code = known.get("code", "")
        if word == "OK" and "proxy" in known:
            return cls(Defer(), why="another server would have to be asked (proxy)")
        if word == "OK" and "nologin" in known:
            return cls(Deny(), why="refused: nologin")
        if word == "OK":
            return cls(Accept(), known.get("user", ""))
        if code == "temp_fail" or "temp" in known:  # the latter up to Dovecot 2.2
            return cls(Defer(), why="it cannot tell now")
        return cls(Deny(), why=f"refused: {code}" if code else "")


class Line:
    """The line to Dovecot: one connection, made when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self.offers: tuple[str, ...] = ()  #: what clients can be offered; empty: not known yet
        self._host = host
        self._port = port  #: 0: the host is the path of a Unix socket
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._not_before = 0.0

    async def connection(self) -> Connection:
        """The connection, with Dovecot introduced.  Raises OSError."""
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                self._connection = await self._connect()
                self.offers = self._connection.offers
            return self._connection

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.end("the server shuts down")

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            raise ConnectionError("it could not be reached a moment ago")
        try:
            async with asyncio.timeout(CONNECTING):
                if self._port:
                    _, made = await loop.create_connection(Connection, self._host, self._port)
                else:
                    _, made = await loop.create_unix_connection(Connection, self._host)
                with ExitStack() as on_failure:
                    on_failure.callback(made.end, "it was given up")
                    await made.introduced
                    on_failure.pop_all()
                return made
        except OSError:
            self._not_before = loop.time() + REST
            raise


class Connection(asyncio.Protocol):
    """One connection to Dovecot, with all the questions that are under way on it."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.introduced: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.offers: tuple[str, ...] = ()
        self.is_lost = False
        self._received = b""
        self._numbers = count(1)
        self._answers: dict[str, asyncio.Future[Answer]] = {}

    async def ask(self, responses: dict[str, bytes], parameters: list[str]) -> Answer | None:
        """What Dovecot says; None when it has none of the mechanisms.  Raises ConnectionError."""
        mechanism = next((name for name in responses if name in self.offers), None)
        if mechanism is None:
            return None
        number = str(next(self._numbers))
        response = f"resp={b64encode(responses[mechanism]).decode('ascii')}"
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._write("AUTH", number, mechanism, *parameters, response)
            return await answer
        finally:
            del self._answers[number]
            if answer.cancelled() and not self.is_lost:
                self._write("CANCEL", number)

    def end(self, reason: str) -> None:
        """Hang up; those who wait for an answer get none."""
        self.is_lost = True
        self._transport.abort()
        for waiting in (self.introduced, *self._answers.values()):
            if not waiting.done():
                waiting.set_exception(ConnectionError(reason))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write("VERSION", "1", "1")
        # Not the number of our process: in a container others have the same.
        self._write("CPID", str(secrets.randbelow(0x7FFFFFFF) + 1))

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        try:
            for line in lines:
                self._hear(line)
        except (IndexError, ValueError):
            self.end("it says what makes no sense")
        if len(self._received) > LINE_LIMIT:
            self.end("it says a line without end")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("it has hung up")

    def _hear(self, line: bytes) -> None:
        word, *parameters = map(_unescaped, line.decode("utf-8", "replace").split("\t"))
        if word == "VERSION" and parameters[0] != "1":
            raise ValueError("it speaks another version of the protocol")
        if word == "MECH" and parameters[0] not in self.offers:
            self.offers += tuple(OFFERS.get(parameters[0], "").split())
        elif word == "DONE" and not self.introduced.done():
            self.introduced.set_result(Answer(Accept()))
        elif word == "CONT":  # it says what is wrong with a token, and waits for an answer
            self._write("CONT", parameters[0], "AQ==")  # RFC 7628, 3.2.3
        elif word in ("OK", "FAIL"):
            answer = self._answers.get(parameters[0])
            if answer is not None and not answer.done():
                answer.set_result(Answer.read(word, parameters[1:]))

    def _write(self, *words: str) -> None:
        self._transport.write("\t".join(words).encode() + b"\n")


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), text)
