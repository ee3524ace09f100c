"""Dialogues: SMTP as RFC 5321 prints it, held with plugins on a real conversation, no socket."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gatepost.config import Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement, placed
from gatepost.identifier import SESSION_ID
from gatepost.limits import Limits
from gatepost.plugin import Plugin
from gatepost.server.conversation import Conversation
from gatepost.server.guesses import Guesses
from gatepost.session import Endpoint, Session
from gatepost.site import Site
from gatepost.testing.samples import A_TLS, MX
from gatepost.testing.script import HungUp, Said, Secured, Sent, Step, read_script

_USUAL: Final = Limits()


class DialogueFailure(AssertionError):
    """A dialogue did not go as written."""

    def __init__(self, number: int, complaint: str, so_far: Iterable[str]) -> None:
        self.number = number  #: of the line in the script
        self.complaint = complaint  #: what was expected, what was heard; some lines
        self.so_far = tuple(so_far)  #: what was really said, on `S:` and `C:` lines
        super().__init__(number, complaint, self.so_far)

    def __str__(self) -> str:
        dialogue = "".join(f"\n    {line}" for line in self.so_far)
        return f"line {self.number}: {self.complaint}\nThe dialogue so far:{dialogue}"


async def converse(
    plugins: Iterable[Plugin | tuple[Plugin, Placement]],
    script: str,
    *,
    client: str = "192.0.2.1",
    hostname: str = "mx.example",
    listen: Listen = MX,
    tls: bool = False,
    user: str = "",
    limits: Limits = _USUAL,
    repair: bool = False,
    directory: Path | None = None,
) -> Session:
    """Hold a dialogue, written as `gatepost.testing.script` says; return how the session ended.

    `client` is an IP address, empty for a Unix socket; `hostname` the server's name; `listen` what
    the client came through.  With `tls`, TLS is up from the beginning; `user` has authenticated
    before.  `repair` says whether stray CR and LF in messages are mended; `directory` is the
    configuration's, or else the working directory.  The plugins hear `startup` before and
    `shutdown` afterwards.

    Raises DialogueFailure, an AssertionError, at the first line that does not go as written and
    when the server says more than is written; ValueError for a script that cannot be read.
    """
    steps = list(read_script(script))
    chain = Chain(map(placed, plugins)).on(listen.name)
    site = Site(hostname, directory or Path.cwd(), limits)
    session = _session(listen, client, tls=tls, user=user)
    conversation = Conversation(
        session, chain, site, listen=listen, guesses=Guesses(), repair=repair
    )
    await chain.start(site)
    token = SESSION_ID.set(session.id)
    try:
        await _Exchange(conversation).hold(steps)
    finally:
        await conversation.end()
        SESSION_ID.reset(token)
        await chain.tell("shutdown", site)
    return session


def _session(listen: Listen, client: str, *, tls: bool, user: str) -> Session:
    """The session of a client that has come so far."""
    where = listen.socket_address
    return Session(
        Endpoint(client, 49152 if client else 0),
        Endpoint(where.host, where.port) if where.path is None else Endpoint(str(where.path)),
        listen.name,
        tls=A_TLS if tls else None,
        user=user,
        mechanism="PLAIN" if user else "",
        relaying=user != "",
    )


class _Exchange:
    """A dialogue as far as it has gone."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._unsent = b""
        self._heard: list[str] = []  #: lines that the server has said and no step was about yet
        self._so_far: list[str] = []
        self._number = 1

    async def hold(self, steps: Iterable[Step]) -> None:
        """Go through all steps."""
        for step in steps:
            self._number = step.number
            match step:
                case Sent():
                    self._send(step)
                case Said():
                    await self._listen()
                    self._expect(step)
                case Secured():
                    await self._listen()
                    await self._secure()
                case HungUp():
                    await self._listen()
                    self._expect_end()
        await self._listen()
        self._expect_silence()

    def _send(self, step: Sent) -> None:
        self._expect_silence()
        if self._conversation.over:
            self._fail("the client goes on", "the server had hung up")
        self._unsent += step.octets
        self._so_far.append(f"C: {step.text}".rstrip())

    async def _secure(self) -> None:
        self._expect_silence()
        if not self._conversation.wants_tls:
            self._fail("expected  a handshake", "heard     (nothing; TLS does not begin here)")
        self._hear(await self._conversation.secured(A_TLS))
        self._so_far.append("C: <tls>")

    async def _listen(self) -> None:
        """Deliver what the client has said, and hear what the server has to say."""
        conversation = self._conversation
        if self._unsent:
            conversation.receive_data(self._unsent)
            self._unsent = b""
        octets = b""
        while conversation.more:
            octets += await conversation.respond()
        self._hear(octets)

    def _hear(self, octets: bytes) -> None:
        self._heard += octets.decode("utf-8", "replace").split("\r\n")[:-1]

    def _expect(self, step: Said) -> None:
        count = self._lines_of_reply() if step.whole else 1
        lines = self._heard[:count] or ["(nothing)"]
        said = " ".join((lines[0][:3], *(line[4:] for line in lines))) if count > 1 else lines[0]
        if not step.matches(said.rstrip()) and not step.matches(said):
            self._fail(f"expected  {step.pattern}", f"heard     {_below(lines)}")
        self._so_far += [f"S: {line}" for line in lines]
        del self._heard[:count]

    def _lines_of_reply(self) -> int:
        """How many lines of what was heard belong to the first reply in there."""
        for count, line in enumerate(self._heard, 1):
            if line[3:4] != "-":
                return count
        return 1

    def _expect_end(self) -> None:
        self._expect_silence()
        if not self._conversation.over:
            self._fail("expected  <closed>", "heard     (nothing; the connection is open)")

    def _expect_silence(self) -> None:
        if self._heard:
            self._fail("unwritten is what the server also said", _below(self._heard))

    def _fail(self, *complaint: str) -> None:
        raise DialogueFailure(self._number, "\n    ".join(complaint), self._so_far)


def _below(lines: list[str]) -> str:
    return ("\n" + " " * 14).join(lines)
