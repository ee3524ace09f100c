"""A conversation without a socket: a message is offered, and everything that is said is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import NamedTuple, TypeAlias

from gatepost.protocol.extensions import keywords
from gatepost.protocol.stuffing import Stuffing
from gatepost.server.conversation import Conversation
from gatepost.trail import Decision

#: Shows one line of the dialogue: who speaks (`C` or `S`), and what.
ShowLine: TypeAlias = Callable[[str, str], None]
#: Shows a decision that was made before the next line of the server.
ShowDecision: TypeAlias = Callable[[Decision], None]

#: Lines of a message that are shown at most.
SHOWN_LINES = 12


@dataclass(frozen=True, slots=True)
class Letter:
    """What a client wants to send, and how it introduces itself."""

    hello: str
    sender: str  #: without angle brackets; empty for the null path
    recipients: tuple[str, ...]
    content: bytes  #: its lines end in CRLF

    @property
    def needs_utf8(self) -> bool:
        """Whether an address or the header holds more than ASCII (RFC 6531)."""
        header = self.content.partition(b"\r\n\r\n")[0]
        return not (header.isascii() and "".join((self.sender, *self.recipients)).isascii())

    def parameters(self, offered: frozenset[str]) -> Iterator[str]:
        """What stands behind MAIL FROM, as far as the server offers it."""
        if "SIZE" in offered:
            yield f" SIZE={len(self.content)}"
        if "8BITMIME" in offered and not self.content.isascii():
            yield " BODY=8BITMIME"
        if "SMTPUTF8" in offered and self.needs_utf8:
            yield " SMTPUTF8"


class Fate(NamedTuple):
    """What became of the message for one recipient."""

    recipient: str
    reply: str  #: the line that settled it

    @property
    def is_accepted(self) -> bool:
        """Whether the message was taken for this recipient."""
        return self.reply.startswith("2")


class Rehearsal:
    """The client's side of a conversation, held with a server that is only a function call away."""

    def __init__(
        self, conversation: Conversation, *, show_line: ShowLine, show_decision: ShowDecision
    ) -> None:
        self._conversation = conversation
        self._show_line = show_line
        self._show_decision = show_decision
        self._decisions = 0  #: shown so far
        self._heard: list[str] = []  #: what was said last

    async def hold(self, letter: Letter, *, verb: str) -> list[Fate]:
        """Offer the letter, greeting with `verb`: EHLO or LHLO."""
        await self._hear()
        if self._is_welcome:
            await self._say(f"{verb} {letter.hello}")
        if self._is_welcome:
            offered = keywords(tuple(line[4:] for line in self._heard[1:]))
            await self._say(f"MAIL FROM:<{letter.sender}>{''.join(letter.parameters(offered))}")
        fates = [Fate(recipient, self._heard[-1]) for recipient in letter.recipients]
        if self._is_welcome:
            fates = await self._send(letter)
        await self._say("QUIT")
        return fates

    async def _send(self, letter: Letter) -> list[Fate]:
        fates: list[Fate] = []
        for recipient in letter.recipients:
            await self._say(f"RCPT TO:<{recipient}>")
            fates.append(Fate(recipient, self._heard[-1]))
        if not any(fate.is_accepted for fate in fates):
            return fates
        await self._say("DATA")
        if self._is_welcome:
            self._show_content(letter.content)
            stuffing = Stuffing()
            await self._say(".", stuffing.stuff(letter.content) + stuffing.end())
        # SMTP answers once for all, LMTP once for each whom it has accepted (RFC 2033, 4.2).
        ends = [line for line in self._heard if line[3:4] != "-"]
        answers = chain(ends, repeat(ends[-1]))
        return [fate._replace(reply=next(answers)) if fate.is_accepted else fate for fate in fates]

    @property
    def _is_welcome(self) -> bool:
        """Whether the last answer was a yes, or a go on."""
        return self._heard[-1][:1] in ("2", "3")

    async def _say(self, line: str, octets_before: bytes = b"") -> None:
        """Send a line and hear the answer; nothing happens when the server has hung up."""
        if self._conversation.over:
            return
        self._show_line("C", line)
        octets = line.encode("utf-8", "surrogateescape")
        self._conversation.receive_data(octets_before + octets + b"\r\n")
        await self._hear()

    async def _hear(self) -> None:
        octets = b""
        while self._conversation.more:
            octets += await self._conversation.respond()
        decisions = self._conversation.session.trail.decisions
        for decision in decisions[self._decisions :]:
            self._show_decision(decision)
        self._decisions = len(decisions)
        self._heard = octets.decode("utf-8", "replace").split("\r\n")[:-1]
        for line in self._heard:
            self._show_line("S", line)

    def _show_content(self, content: bytes) -> None:
        lines = content.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n")
        for line in lines[:SHOWN_LINES]:
            self._show_line("C", f".{line}" if line.startswith(".") else line)
        if len(lines) > SHOWN_LINES:
            self._show_line("C", f"... {len(lines) - SHOWN_LINES} lines more ...")
