"""Dovecot, which knows who may log in."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from base64 import b64encode
from contextlib import ExitStack, suppress
from dataclasses import dataclass
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

#: Octets of a line; Dovecot hangs up on who sends more, and so do we.
LINE_LIMIT: Final = 16_384
#: Octets of a response before base64, so that it fits into such a line.
RESPONSE_LIMIT: Final = 12_000
#: Seconds to connect and to be introduced.
CONNECTING: Final = 5.0
#: Seconds in which Dovecot is left alone when it could not be reached: at first, and at most.
SHORTEST_REST: Final = 0.25
LONGEST_REST: Final = 8.0

_SERVER = re.compile(
    r"unix:(?P<path>/.+)|(?:\[(?P<literal>[^]]+)\]|(?P<host>[^][:\s]+)):(?P<port>[0-9]{1,5})"
)
_ESCAPED = re.compile("\x01(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "t": "\t", "r": "\r", "n": "\n"}
_PASSWORDS = ("PLAIN", "LOGIN")
_TOKENS = ("OAUTHBEARER", "XOAUTH2")


@dataclass
class AuthDovecot(Plugin):
    """Ask Dovecot, in its own protocol, who may log in.

    Dovecot needs a socket for it that the server's user may open:

        service auth {
          unix_listener auth-gatepost {
            mode = 0600
            user = gatepost
          }
        }

    One connection is for all clients, and is made anew when it is lost.  While Dovecot cannot be
    reached, or does not answer within `wait` seconds, clients are to try again later.  It delays
    what it refuses, the longer the more often, by 17 seconds at most, and `wait` must be more than
    that.  It is told `service=smtp`, the addresses and ports of both ends, and whether there is
    TLS.  Over `host:port`, passwords and tokens go in clear.

    The plugin answers for passwords, and for tokens where Dovecot's `auth_mechanisms` have
    `oauthbearer` or `xoauth2` among them.  The user's name is what Dovecot makes of it.  A user
    with `nologin` is refused.  A user with `proxy` has to wait, for it is another server that would
    check the password: let Dovecot give `proxy` to other services only.

        server = "unix:/run/dovecot/auth-gatepost"
    """

    #: where Dovecot listens: a `unix_listener`, or `host:port` of an `inet_listener`
    server: str = "unix:/run/dovecot/auth-client"
    wait: float = 20.0  #: seconds for one question; let it be less than `timeout`
    at_once: int = 100  #: questions under way; more wait for their turn

    def __post_init__(self) -> None:
        match = _SERVER.fullmatch(self.server)
        if match is None or not 0 < int(match["port"] or 1) < 65_536:
            raise ValueError("option 'server' must be 'unix:/path' or 'host:port'")
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        if self.at_once < 1:
            raise ValueError("option 'at_once' must be at least 1")
        host = match["path"] or match["literal"] or match["host"]
        self._line = Line(host, int(match["port"] or 0))
        self._places = asyncio.Semaphore(self.at_once)

    async def startup(self, site: Site) -> None:
        try:
            await self._line.connection()
        except OSError as error:
            log.warning("Dovecot at %s cannot be reached yet: %r", self.server, error)

    def shutdown(self, site: Site) -> None:
        self._line.close()

    async def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        if not self._line.mechanisms:
            with suppress(OSError):
                await self._line.connection()
        return (*offered, *(self._line.mechanisms or _PASSWORDS))

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        responses = _responses(credentials)
        if not responses:
            return None
        if not _fits(credentials) or max(map(len, responses.values())) > RESPONSE_LIMIT:
            return Deny()
        try:
            async with asyncio.timeout(self.wait), self._places:
                answer = await self._ask(session, responses)
        except OSError as error:  # a time-out is one
            log.error("%s: no answer from Dovecot at %s: %r", session.id, self.server, error)
            return Defer()
        return _meaning(session, credentials, answer) if answer is not None else None

    async def _ask(self, session: Session, responses: dict[str, bytes]) -> Answer | None:
        """What Dovecot says; None when it has none of the mechanisms."""
        parameters = _parameters(session)
        try:
            return await (await self._line.connection()).ask(responses, parameters)
        except Lost:  # Dovecot may have been started anew since it was last asked
            return await (await self._line.connection()).ask(responses, parameters)


# -- What is asked --------------------------------------------------------------------------------


def _responses(credentials: Credentials) -> dict[str, bytes]:
    """What a client would say, by the mechanism; the first that Dovecot has is taken."""
    user = credentials.user
    if isinstance(credentials, Password):
        return {"PLAIN": f"\0{user}\0{credentials.password}".encode()}  # RFC 4616, 2
    if isinstance(credentials, Token):
        name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801, 4
        bearer = f"\x01auth=Bearer {credentials.token}\x01\x01"
        return {
            "OAUTHBEARER": f"n,{f'a={name}' if name else ''},{bearer}".encode(),  # RFC 7628, 3.1
            "XOAUTH2": f"user={user}{bearer}".encode(),
        }
    return {}


def _fits(credentials: Credentials) -> bool:
    """Whether the parts of a response stay apart in it."""
    if isinstance(credentials, Token):
        return f"{credentials.user}{credentials.token}".isprintable()
    return not isinstance(credentials, Password) or (
        "\0" not in f"{credentials.user}{credentials.password}"
    )


def _parameters(session: Session) -> list[str]:
    """What Dovecot may know of the session; `nologin`: no other program asks for the outcome."""
    known = ["service=smtp", "nologin", f"session={session.id}"]
    for which, end in ("r", session.client), ("l", session.server):
        if end.ip is not None:
            address = str(end.ip).partition("%")[0]  # a zone means nothing to others
            known += [f"{which}ip={address}", f"{which}port={end.port}"]
    if session.tls is not None:
        known.append("secured")
        if session.tls.certificate is not None:
            known.append("valid-client-cert")
    return known


# -- What is answered -----------------------------------------------------------------------------


class Answer(NamedTuple):
    """What Dovecot says of a question."""

    word: str  #: OK, FAIL or CONT
    fields: dict[str, str]  #: what it adds: names, and values where they have one


def _meaning(session: Session, credentials: Credentials, answer: Answer) -> Verdict:
    fields = answer.fields
    if answer.word == "OK" and "proxy" in fields:
        log.error("%s: Dovecot wants another server to be asked (proxy)", session.id)
        return Defer()
    if answer.word == "OK" and "nologin" not in fields:
        credentials.user = fields.get("user") or credentials.user
        return Accept()
    code = fields.get("code", "")
    # Dovecot up to 2.2 says `temp`.
    if answer.word == "CONT" or code == "temp_fail" or "temp" in fields:
        log.error("%s: Dovecot cannot tell now", session.id)
        return Defer()
    if code or answer.word == "OK":
        log.info("%s: Dovecot refuses: %s", session.id, code or "nologin")
    return Deny()


# -- The connection -------------------------------------------------------------------------------


class Lost(ConnectionError):
    """The connection is gone, or what comes over it makes no sense."""


class Line:
    """The line to Dovecot: one connection, made when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self.mechanisms: tuple[str, ...] = ()  #: what clients can be offered; empty: not known yet
        self._host = host
        self._port = port  #: 0: the host is the path of a Unix socket
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._rest = 0.0
        self._not_before = 0.0

    async def connection(self) -> Connection:
        """The connection, with Dovecot introduced.  Raises OSError."""
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                self._connection = await self._connect()
                self.mechanisms = self._connection.offers
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
                connection = await self._dial(loop)
        except OSError:
            self._rest = min(max(2 * self._rest, SHORTEST_REST), LONGEST_REST)
            self._not_before = loop.time() + self._rest
            raise
        self._rest = 0.0
        return connection

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> Connection:
        if self._port:
            _, connection = await loop.create_connection(Connection, self._host, self._port)
        else:
            _, connection = await loop.create_unix_connection(Connection, self._host)
        with ExitStack() as on_failure:
            on_failure.callback(connection.end, "it took too long")
            await connection.introduced
            on_failure.pop_all()
        return connection


class Connection(asyncio.Protocol):
    """One connection to Dovecot, with all the questions that are under way on it.

    The protocol is described in https://doc.dovecot.org, "Dovecot Authentication Protocol".
    """

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.introduced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_lost = False
        self._version = ""
        self._mechanisms: set[str] = set()
        self._received = b""
        self._last = 0  #: number of the last question
        self._answers: dict[str, asyncio.Future[Answer]] = {}

    @property
    def offers(self) -> tuple[str, ...]:
        """The mechanisms that clients can be offered."""
        passwords = _PASSWORDS if "PLAIN" in self._mechanisms else ()
        return (*passwords, *(name for name in _TOKENS if name in self._mechanisms))

    async def ask(self, responses: dict[str, bytes], parameters: list[str]) -> Answer | None:
        """What Dovecot says of a response; None when it has none of the mechanisms.

        Raises Lost.
        """
        mechanism = next((name for name in responses if name in self._mechanisms), None)
        if mechanism is None:
            return None
        response = b64encode(responses[mechanism]).decode("ascii")
        self._last = self._last % 0xFFFFFFFF + 1
        number, answer = str(self._last), None
        try:
            answer = await self._say(
                number, "AUTH", number, mechanism, *parameters, f"resp={response}"
            )
            if answer.word == "CONT":
                # It says what is wrong with a token, and wants to hear that we heard (RFC 7628, 3.2.3).
                answer = await self._say(number, "CONT", number, b64encode(b"\x01").decode("ascii"))
        finally:
            del self._answers[number]
            if not self.is_lost and (answer is None or answer.word == "CONT"):
                self._write("CANCEL", number)
        return answer

    def end(self, reason: str) -> None:
        """Hang up; those who wait for an answer get none."""
        self._transport.abort()
        self._fail(Lost(reason))

    # -- What asyncio calls -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._write("VERSION", "1", "1")
        # Not the number of our process: in a container others have the same.
        self._write("CPID", str(secrets.randbelow(0x7FFFFFFF) + 1))

    def data_received(self, data: bytes) -> None:
        """Dovecot has said something."""
        *lines, self._received = (self._received + data).split(b"\n")
        try:
            for line in lines:
                self._hear(line)
        except (IndexError, ValueError):
            self.end("it says what makes no sense")
        if max(map(len, (*lines, self._received))) > LINE_LIMIT:
            self.end("it says too long a line")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._fail(Lost("it has hung up"))

    # -- Lines ------------------------------------------------------------------------------------

    def _hear(self, line: bytes) -> None:
        word, *parameters = map(_unescaped, line.decode("utf-8", "replace").split("\t"))
        if word == "VERSION":
            self._version = parameters[0]
        elif word == "MECH" and parameters[0] in ("PLAIN", *_TOKENS):
            self._mechanisms.add(parameters[0])
        elif word == "DONE" and not self.introduced.done():
            if self._version != "1":
                raise ValueError("it speaks another version")
            self.introduced.set_result(None)
        elif word in ("OK", "FAIL", "CONT"):
            number, *fields = parameters
            answer = self._answers.get(number)
            if answer is not None and not answer.done():
                pairs = (field.partition("=") for field in fields)
                answer.set_result(Answer(word, {name: value for name, _, value in pairs}))

    async def _say(self, number: str, *words: str) -> Answer:
        """Say something that is answered under this number."""
        if self.is_lost:
            raise Lost("it has hung up")
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._write(*words)
        return await answer

    def _write(self, *words: str) -> None:
        self._transport.write("\t".join(words).encode() + b"\n")

    def _fail(self, error: Lost) -> None:
        self.is_lost = True
        for waiting in (self.introduced, *self._answers.values()):
            if not waiting.done():
                waiting.set_exception(error)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), text)
