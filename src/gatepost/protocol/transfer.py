"""Transfer: one message on its way to one next hop, from MAIL to the reply that counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gatepost.protocol.client import Answered, ClientProtocol
from gatepost.protocol.envelope import Envelope, Wording
from gatepost.protocol.stages import ClientState, Stage
from gatepost.protocol.stuffing import Stuffing, Survey
from gatepost.reply import Reply

#: A message of so many octets goes out in one piece.
ONE_PIECE: Final = 65_536


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: a reply for each recipient, in the envelope's order.

    A recipient has the message exactly when its reply is positive.
    """

    replies: tuple[Reply, ...]
    stage: Stage  #: the last step that decided about a recipient
    judged: bool = False  #: whether the next hop got to say anything of this message itself

    @property
    def delivered(self) -> bool:
        """Whether the next hop took the message for every recipient."""
        return all(reply.positive for reply in self.replies)


class Transfer:
    """The steps from MAIL to the reply behind the message, for a session at rest.

    What the methods return is to be sent.  When `wants_content` is set, the server waits for
    `pieces`.  The transfer is over when it is `done`; whoever loses the connection before says so
    with `fail`, and `outcome` is true in every case.
    """

    __slots__ = (
        "_accepted",
        "_asked",
        "_content",
        "_envelope",
        "_lines",
        "_next",
        "_protocol",
        "_replies",
        "_survey",
        "_wording",
        "done",
        "judged",
        "sent",
        "stage",
        "wants_content",
    )

    def __init__(
        self,
        protocol: ClientProtocol,
        envelope: Envelope,
        *,
        content: Iterable[bytes],
        survey: Survey,
    ) -> None:
        self._protocol = protocol
        self._envelope = envelope
        self._content = content
        self._survey = survey
        self._wording = Wording(
            envelope, survey, capabilities=protocol.capabilities, secure=protocol.secure
        )
        self._lines = self._commands()
        self._replies: list[Reply | None] = [None] * len(envelope.recipients)
        self._asked = 0  #: recipients that RCPT was answered for
        self._accepted: list[int] = []  #: those of them that wait for the message, by index
        self._next = 0  #: how many of the accepted have their final reply (LMTP)
        self.stage = Stage.MAIL
        self.judged = False  #: whether MAIL was answered, and not only with a farewell
        self.wants_content = False
        self.sent = False  #: whether the whole message has gone out: it may have arrived
        self.done = False

    @property
    def outcome(self) -> Outcome:
        """What became of the message; RuntimeError before that is known."""
        replies = tuple(reply for reply in self._replies if reply is not None)
        if len(replies) != len(self._replies):
            raise RuntimeError("the transfer is not over")
        return Outcome(replies, self.stage, self.judged)

    # -- What there is to send ------------------------------------------------------------------

    def start(self) -> bytes:
        """The first command, or with PIPELINING all up to DATA."""
        objection = self._wording.objection(self._content)
        if objection is not None:
            self.judged = True
            self.fail(objection, Stage.CHECK)
            return b""
        if self._protocol.pipelining:
            return b"".join(self._lines)
        return next(self._lines)

    def pieces(self) -> Iterator[bytes]:
        """The message as it goes over the wire, its end included.

        Raises RuntimeError if it is not the message that was surveyed; the connection is of no use
        then, and nothing is delivered over it.
        """
        self.wants_content = False
        wire = self._stuffed() if self._protocol.state is ClientState.DATA else self._chunk()
        if self._survey.size <= ONE_PIECE:
            wire = iter((b"".join(wire),))
        yield from wire

    def _commands(self) -> Iterator[bytes]:
        yield self._protocol.send(Stage.MAIL, self._wording.mail())
        for index in range(len(self._envelope.recipients)):
            yield self._protocol.send(Stage.RCPT, self._wording.rcpt(index))
        if not self._chunked():
            yield self._protocol.send(Stage.DATA)

    def _chunked(self) -> bool:
        """Whether to use BDAT.

        LMTP servers differ in how many replies a refused BDAT earns, so it gets DATA where it can.
        """
        if self._protocol.lmtp:
            return self._envelope.binary
        return "CHUNKING" in self._protocol.capabilities

    def _chunk(self) -> Iterator[bytes]:
        yield self._protocol.begin_chunk(self._survey.size)
        yield from self._counted()
        yield self._end()

    def _stuffed(self) -> Iterator[bytes]:
        stuffing = Stuffing()
        for piece in self._counted():
            yield stuffing.stuff(piece)
        yield stuffing.end() + self._end()

    def _counted(self) -> Iterator[bytes]:
        left = self._survey.size
        for piece in self._content:
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise RuntimeError("the message has changed since it was surveyed")

    def _end(self) -> bytes:
        self.sent = True
        return self._protocol.end_of_data(len(self._accepted) if self._protocol.lmtp else 1)

    # -- What comes back ------------------------------------------------------------------------

    def receive(self, event: Answered) -> bytes:
        """Take the server's next answer."""
        stage, reply = event.stage, event.reply
        if reply.code == 421:
            self.fail(reply, stage)
            return b""
        self.judged = True
        if stage is Stage.RCPT:
            self._answered_rcpt(reply)
        elif stage is Stage.END_OF_DATA:
            self._answered_content(reply)
        elif not reply.positive:  # to MAIL or DATA; after RSET nobody is left to decide about
            self._decide(reply, stage)
        if self._protocol.awaited is not None:
            return b""
        if stage is Stage.RSET:
            self.done = True
            return b""
        return self._proceed()

    def fail(self, reply: Reply, stage: Stage) -> None:
        """It goes no further: all who have no reply get this one."""
        self._decide(reply, stage)
        self.done = True

    def _answered_rcpt(self, reply: Reply) -> None:
        index, self._asked = self._asked, self._asked + 1
        if reply.positive:
            self._accepted.append(index)
        elif self._replies[index] is None:
            self._replies[index] = reply
            self.stage = Stage.RCPT

    def _answered_content(self, reply: Reply) -> None:
        """The reply that counts: one for all, or in LMTP one for each (RFC 2033, 4.2)."""
        if not self._protocol.lmtp or self._protocol.state is ClientState.CLOSED:
            self._decide(reply, Stage.END_OF_DATA)
        else:
            index, self._next = self._accepted[self._next], self._next + 1
            self._replies[index] = reply
            self.stage = Stage.END_OF_DATA

    def _decide(self, reply: Reply, stage: Stage) -> None:
        for index, known in enumerate(self._replies):
            if known is None:
                self._replies[index] = reply
                self.stage = stage

    def _proceed(self) -> bytes:
        """All is answered: what comes next depends on where that has led."""
        state = self._protocol.state
        if state is ClientState.READY or state is ClientState.CLOSED:
            self.done = True
            return b""
        if state is ClientState.DATA and not self._accepted:
            return self._nothing()
        if None not in self._replies:
            return self._protocol.send(Stage.RSET)
        line = next(self._lines, None) if state is not ClientState.DATA else None
        self.wants_content = line is None
        return line or b""

    def _nothing(self) -> bytes:
        """The server says 354, and nobody is left to take a message: a lone dot ends it.

        In LMTP no reply would come to the dot, so that the session cannot go on (RFC 2033, 4.2).
        """
        if self._protocol.lmtp:
            self.done = True
            return b""
        return self._protocol.end_of_data(1)
