"""The client's side of SMTP and LMTP: commands out, bytes in, answers to the commands out of them.

No sockets, no clock.  It keeps the turn and matches replies to commands; what to say when is the
matter of `gatepost.protocol.opening` and `gatepost.protocol.transfer`.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, NamedTuple, TypeAlias

from gatepost.protocol.replies import ProtocolViolation, ReplyReader
from gatepost.protocol.stages import BATCHED, REFUSALS, TRANSITIONS, ClientState, Stage
from gatepost.reply import Reply

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")

IN_CLEAR: Final = ProtocolViolation("octets in clear behind its go-ahead for TLS")
UNASKED: Final = ProtocolViolation("a reply that nothing had asked for")
OUT_OF_TURN: Final = ProtocolViolation("a reply that is out of turn")


class Answered(NamedTuple):
    """The server's reply to one step."""

    stage: Stage
    reply: Reply


class Farewell(NamedTuple):
    """The server ends the session without having been asked anything."""

    reply: Reply


ClientEvent: TypeAlias = Answered | Farewell | ProtocolViolation


class ClientProtocol:
    """One session with a server, as its bytes tell it.

    `hostname` is the name that we give; with `lmtp`, the session speaks LMTP (RFC 2033).
    """

    __slots__ = (
        "_ahead",
        "_awaited",
        "_reader",
        "_violation",
        "capabilities",
        "hostname",
        "lmtp",
        "pipelining",
        "secure",
        "state",
    )

    def __init__(self, hostname: str, *, lmtp: bool = False) -> None:
        self.hostname = hostname
        self.lmtp = lmtp
        self.state = ClientState.CONNECT
        self.secure = False  #: whether TLS is up
        self.capabilities: dict[str, str] = {}  #: what EHLO offered: keyword in capitals, the rest
        self.pipelining = False  #: whether commands may go out in batches (RFC 2920)
        self._ahead = self.state  #: the state once all that was sent has been granted
        self._awaited = deque((Stage.BANNER,))  #: what the server has not answered yet
        self._reader = ReplyReader()
        self._violation: ProtocolViolation | None = None

    @property
    def awaited(self) -> Stage | None:
        """The step that the server has to answer next; None when it has answered all."""
        return self._awaited[0] if self._awaited else None

    @property
    def at_rest(self) -> bool:
        """Whether the next message can begin: READY, all answered, nothing unread."""
        return (
            self.state is ClientState.READY
            and not self._awaited
            and not self._reader.unread
            and self._violation is None
        )

    def limit(self, name: str) -> int | None:
        """One of the limits that the server has announced: `RCPTMAX`, `MAILMAX` (RFC 9422)."""
        for entry in self.capabilities.get("LIMITS", "").upper().split():
            key, _, value = entry.partition("=")
            if key == name and value.isdecimal() and value.isascii() and len(value) < 7:
                return int(value) or None
        return None

    # -- Bytes in -------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the server; `next_event` makes sense of them."""
        if self.state is ClientState.SECURING:
            self._violate(IN_CLEAR)
        else:
            self._reader.receive_data(data)

    def next_event(self) -> ClientEvent | None:
        """What the server said next; None when more bytes are needed.

        A violation is final: it is all that one hears from then on.
        """
        if self._violation is not None:
            return self._violation
        reply = self._reader.next_reply()
        if reply is None:
            return None
        if isinstance(reply, ProtocolViolation):
            return self._violate(reply)
        return self._answered(reply) if self._awaited else self._unasked(reply)

    def _answered(self, reply: Reply) -> ClientEvent:
        stage = self._awaited.popleft()
        following = self._following(stage, reply)
        if following is None:
            return self._violate(OUT_OF_TURN)
        self.state = following
        if not self._awaited:
            self._ahead = following
            if following is ClientState.SECURING and self._reader.unread:
                return self._violate(IN_CLEAR)
            if stage is Stage.EHLO or stage is Stage.LHLO:
                self._learn(reply)
        return Answered(stage, reply)

    def _following(self, stage: Stage, reply: Reply) -> ClientState | None:
        """The state that a reply leads to; None for a reply that no sound server gives here."""
        code = reply.code
        if code == 421:
            return ClientState.CLOSED
        if code < 400 and (code >= 300) != (stage is Stage.DATA):
            return None
        if stage is Stage.END_OF_DATA and self.awaited is stage:  # LMTP: there is more to come
            return self.state
        if code < 400:
            return TRANSITIONS[self.state].get(stage)
        return REFUSALS.get(self.state, {}).get(stage, self.state)

    def _learn(self, reply: Reply) -> None:
        self.capabilities = _capabilities(reply) if reply.positive else {}
        self.pipelining = "PIPELINING" in self.capabilities

    def _unasked(self, reply: Reply) -> ClientEvent:
        if self.state in (ClientState.DATA, ClientState.BDAT) and reply.code >= 400:
            # It has seen enough of the message.  Nobody can tell where it reads on, so that the
            # session is over.
            self.state = ClientState.CLOSED
            return Answered(Stage.END_OF_DATA, reply)
        if reply.code == 421:
            self.state = ClientState.CLOSED
            return Farewell(reply)
        return self._violate(UNASKED)

    def _violate(self, violation: ProtocolViolation) -> ProtocolViolation:
        self._reader.clear()
        self._violation = violation
        self.state = ClientState.CLOSED
        return violation

    # -- Bytes out ------------------------------------------------------------------------------

    def send(self, stage: Stage, argument: str = "") -> bytes:
        """The line of a command; the server is held to answer it.

        Raises RuntimeError for a command out of turn and ValueError for a line that would be two:
        both are mistakes of ours, and not the server's.
        """
        awaited = self._awaited
        if awaited and not (self.pipelining and awaited[-1] in BATCHED):
            raise RuntimeError(f"{stage} has to wait for the reply to {awaited[-1]}")
        following = TRANSITIONS[self._ahead].get(stage)
        if following is None:
            raise RuntimeError(f"{stage} is out of turn in the state {self._ahead}")
        line = f"{stage} {argument}\r\n" if argument else f"{stage}\r\n"
        if line.find("\n") != len(line) - 1 or line.find("\r") != len(line) - 2:
            raise ValueError(f"a line break in {line!r}")
        self._expect(stage)
        self._ahead = following
        return line.encode()

    def hello(self) -> bytes:
        """EHLO, or LHLO where LMTP is spoken."""
        return self.send(Stage.LHLO if self.lmtp else Stage.EHLO, self.hostname)

    def secured(self) -> None:
        """TLS is up: all that was learnt before is forgotten (RFC 3207, 4.2)."""
        if self.state is not ClientState.SECURING:
            raise RuntimeError("the server has not been asked for TLS")
        self.capabilities = {}
        self.pipelining = False
        self.secure = True
        self.state = self._ahead = ClientState.HELLO

    def begin_chunk(self, size: int) -> bytes:
        """The line before a message that goes out as one chunk of `size` octets (RFC 3030, 2)."""
        if self.state is not ClientState.RCPT or self._awaited:
            raise RuntimeError(f"BDAT is out of turn in the state {self.state}")
        self.state = self._ahead = ClientState.BDAT
        return b"BDAT %d LAST\r\n" % size

    def end_of_data(self, replies: int) -> bytes:
        """What ends the message: a dot on its line after DATA, nothing after BDAT.

        The server owes so many replies: one, or in LMTP one for each accepted recipient.
        """
        if self.state not in (ClientState.DATA, ClientState.BDAT) or self._awaited:
            raise RuntimeError(f"no message ends in the state {self.state}")
        for _ in range(replies):
            self._expect(Stage.END_OF_DATA)
        return b".\r\n" if self.state is ClientState.DATA else b""

    def _expect(self, stage: Stage) -> None:
        if not self._awaited and self._reader.unread:
            # A reply that was there before its command must not pass for the answer to it.
            self._violate(UNASKED)
        self._awaited.append(stage)


def _capabilities(reply: Reply) -> dict[str, str]:
    """The extensions that a reply to EHLO offers (RFC 5321, 4.1.1.1)."""
    offered: dict[str, str] = {}
    for line in reply.text.split("\n")[1:]:
        keyword, _, parameters = line.partition(" ")
        if _KEYWORD.fullmatch(keyword):
            offered[keyword.upper()] = parameters.strip()
    return offered
