"""The server's side of SMTP and LMTP: bytes in, events out, replies in, bytes out.

No sockets, no clock, no plugins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gatepost.protocol.commands import Context, parse, split
from gatepost.protocol.events import (
    AuthResponse,
    Bdat,
    Chunk,
    Connected,
    Data,
    EndOfChunk,
    EndOfData,
    Event,
    Line,
    Mail,
    Malformed,
    Spoiled,
)
from gatepost.protocol.flaws import LINE_FLAWS, TEXT_FLAWS
from gatepost.protocol.lines import ChunkReader, DataReader, Flaw, LineBuffer, TextFilter
from gatepost.protocol.states import (
    AT_REST,
    AUTH,
    CLOSED,
    CONNECT,
    DATA,
    HANDSHAKE,
    HELLO,
    IN_TURN,
    Circumstance,
    State,
    forbidden,
    out_of_turn,
    state_after,
)
from gatepost.reply import Reply

#: What DATA is told in a transaction with BODY=BINARYMIME (RFC 3030, 3).
_BINARY_BY_BDAT = Reply(503, "5.5.1", "A binary message comes by BDAT")
#: What is sent behind STARTTLS in clear may be anybody's: it is never read, and not forgiven.
_BEHIND_STARTTLS = Reply(503, "5.5.1", "Nothing may follow STARTTLS but a handshake", final=True)


class ServerProtocol:
    """One session as its bytes tell it.

    `line_limit` and `text_line_limit` are octets of a command line and of a line of a message,
    each with its CRLF.  With `repair`, stray CR and LF in a message are mended, not refused.  With
    `verbatim`, a command comes as a `Line` first, to be given back to `understand`.
    """

    __slots__ = (
        "_at_end",
        "_binary",
        "_context",
        "_filter",
        "_forbidden",
        "_pending",
        "_reader",
        "_repair",
        "_text_line_limit",
        "_verbatim",
        "farewell",
        "input",
        "state",
    )

    def __init__(
        self,
        *,
        lmtp: bool = False,
        line_limit: int = 2048,
        text_line_limit: int = 65_536,
        repair: bool = False,
        verbatim: bool = False,
    ) -> None:
        self.state: State = CONNECT
        self.farewell: Reply | None = None  #: the reply that has ended the session; None: none has
        self._context = Context(lmtp=lmtp)
        self.input = LineBuffer(line_limit)  #: what was received and no event has told of yet
        self._text_line_limit = text_line_limit
        self._repair = repair
        self._verbatim = verbatim
        self._forbidden: dict[type[Event], Reply] = {}  #: whatever the state
        self._binary = False  #: whether the message under way has no lines to be watched
        self._pending: Event | None = None
        self._reader: DataReader | ChunkReader | None = None  #: while octets of a message arrive
        self._at_end: Event = EndOfData()  #: what it means that the reader has come to its end
        self._filter: TextFilter | None = None  #: from the first octet of a message to its last

    @property
    def receiving(self) -> bool:
        """Whether octets of a message arrive, as opposed to command lines."""
        return self._reader is not None

    @property
    def lmtp(self) -> bool:
        """Whether LMTP is spoken."""
        return self._context.lmtp

    @property
    def offered(self) -> frozenset[str]:
        """The keywords of the extensions in force."""
        return self._context.offered or frozenset()

    def offer(self, extensions: frozenset[str]) -> None:
        """Put extensions in force, by their keywords, in place of those before."""
        _, early, lmtp, utf8 = self._context
        self._context = Context(extensions, early, lmtp, utf8)
        self.input.takes_auth = "AUTH" in extensions

    def offer_early(self, extensions: frozenset[str]) -> None:
        """Put extensions in force for clients that have not greeted yet."""
        self._context = self._context._replace(early=extensions)

    def forbid(self, circumstances: Iterable[Circumstance]) -> None:
        """Refuse what these circumstances forbid, and only that."""
        self._forbidden = forbidden(circumstances)

    def secured(self) -> None:
        """TLS is up: nothing that was heard before counts any more (RFC 3207, 4.2)."""
        self.input.clear()
        self._context = Context(lmtp=self._context.lmtp)
        if self.state is HANDSHAKE:
            self.state = HELLO

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the client; `next_event` makes sense of them."""
        if self.state is not CLOSED:
            self.input.append(data)

    def next_event(self) -> Event | None:
        """The next thing that the client did; None when more bytes are needed."""
        if self._pending is not None:
            raise RuntimeError(f"{self._pending} has not been answered")
        if self._reader is not None:
            return self._read_text(self._reader)
        if self.state is CONNECT:
            self._pending = Connected()
            return self._pending
        line = self.input.line()
        if line is None:
            return None
        if self.state is AUTH and not isinstance(line, Flaw):
            self._pending = AuthResponse(line.decode("latin-1"))
            return self._pending
        command = Malformed(LINE_FLAWS[line]) if isinstance(line, Flaw) else split(line)
        if isinstance(command, Malformed):
            self._pending = command
        elif self._verbatim:
            self._pending = Line(*command)
        else:
            return self.understand(*command)
        return self._pending

    def understand(self, verb: str, text: str) -> Event:
        """The event that a command line amounts to; it takes the place of a pending `Line`."""
        event = parse(verb, text, self._context)
        kind = type(event)
        if (
            kind not in IN_TURN[self.state]
            or kind in self._forbidden
            or (self._binary and kind is Data)
        ):
            return self._refuse(event)
        if isinstance(event, Bdat):
            self._pending = None
            self._begin_chunk(event)
        else:
            if verb == "DATA" and isinstance(event, Malformed):
                event = Malformed(self._ending_if_ahead(event.reply))
            self._pending = event
        return event

    def reply(self, reply: Reply, *more: Reply) -> bytes:
        """Answer the last event; the reply decides where the session goes from here.

        LMTP answers the end of a message with several replies, one a recipient (RFC 2033, 4.2).
        """
        event, self._pending = self._pending, None
        if event is None:
            raise RuntimeError("nothing to answer")
        if isinstance(event, Mail):
            self._ask_for_utf8(reply.positive and event.parameters.smtputf8)
            self._binary = event.parameters.body == "BINARYMIME"
        elif not reply.positive and isinstance(event, Data):
            reply = self._ending_if_ahead(reply)
        utf8 = self._context.utf8
        octets = reply.encode(utf8=utf8)
        if more:
            octets += b"".join(one.encode(utf8=utf8) for one in more)
            reply = next((one for one in more if one.final), reply)
        state = self.state = state_after(self.state, event, reply)
        if state is DATA:
            self._filter = self._new_filter()
            self._reader, self._at_end = DataReader(), EndOfData()
        elif state in AT_REST:
            self._filter = None
            if utf8:
                self._ask_for_utf8(False)
            self.input.takes_response = state is AUTH
            if state is HANDSHAKE and self.input.unread:
                self.close(_BEHIND_STARTTLS)
                return bytes(_BEHIND_STARTTLS)
            if state is CLOSED:  # what was sent ahead may be a second message: nobody reads it
                self.farewell = reply
                self.input.clear()
        return octets

    def close(self, farewell: Reply | None = None) -> None:
        """Read nothing more, whatever arrives; a farewell is what the client hears unasked."""
        self.state = CLOSED
        self.farewell = self.farewell or farewell
        self._reader = None
        self.input.clear()

    def _refuse(self, event: Event) -> Event:
        """What an event out of turn amounts to."""
        refusal = self._out_of_turn(event)
        if isinstance(event, Data):
            refusal = self._ending_if_ahead(refusal)
        self._pending = Malformed(refusal)
        if not isinstance(event, Bdat):
            return self._pending
        # The octets of a refused chunk are still read, and never parsed (RFC 3030, 2).
        self._reader, self._at_end, self._filter = ChunkReader(event.size), self._pending, None
        self._pending = None
        return Chunk(b"")

    def _out_of_turn(self, event: Event) -> Reply:
        if (refusal := self._forbidden.get(type(event))) is not None:
            return refusal
        if type(event) in IN_TURN[self.state]:
            return _BINARY_BY_BDAT
        refusal = out_of_turn(self.state, event)
        if isinstance(event, Malformed):  # of one who was turned away; it may have had to be last
            return replace(refusal, final=event.reply.final)
        # RFC 2033, 4.2: where nobody is left, LMTP knows no other code.
        return replace(refusal, code=503) if self._context.lmtp else refusal

    def _ending_if_ahead(self, refusal: Reply) -> Reply:
        """A refusal of DATA ends the session of a client that did not wait for it.

        The message that stands behind the DATA must not be taken for commands.
        """
        return replace(refusal, final=True) if self.input.unread else refusal

    def _ask_for_utf8(self, utf8: bool) -> None:
        if self._context.utf8 is not utf8:
            offered, early, lmtp, _ = self._context
            self._context = Context(offered, early, lmtp, utf8)

    def _begin_chunk(self, event: Bdat) -> None:
        self._reader = ChunkReader(event.size)
        self._at_end = EndOfData() if event.last else EndOfChunk()
        if self._filter is None:
            self._filter = self._new_filter()

    def _new_filter(self) -> TextFilter:
        return TextFilter(self._text_line_limit, repair=self._repair)

    def _read_text(self, reader: DataReader | ChunkReader) -> Event | None:
        while not reader.ended:
            if not (received := self.input.take(reader.most)):
                return None
            content, behind = reader.read(received)
            if behind:
                self.input.put_back(behind)
            if content and self._filter is not None:
                text = content if self._binary else self._filter.filter(content)
                if text:
                    return Chunk(text)
        if isinstance(self._at_end, EndOfData) and self._filter and (rest := self._filter.end()):
            return Chunk(rest)
        self._reader = None
        flaw = self._filter.flaw if self._filter else None
        self._pending = self._at_end
        if flaw:
            whole = isinstance(self._at_end, EndOfData)
            self._pending = Spoiled(TEXT_FLAWS[flaw], whole=whole)
        return self._pending
