"""One client, from banner to goodbye: events become hooks, verdicts become replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from gatepost.config import Listen
from gatepost.hooks.chain import BROKEN, Chain, PluginFailure
from gatepost.hooks.replies import reply_to
from gatepost.limits import Limits
from gatepost.message import Message
from gatepost.protocol.events import (
    Auth,
    AuthResponse,
    Bdat,
    Chunk,
    Connected,
    Data,
    Ehlo,
    EndOfChunk,
    EndOfData,
    Event,
    Expn,
    Helo,
    Help,
    Lhlo,
    Line,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Spoiled,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
    XForward,
)
from gatepost.protocol.server import ServerProtocol
from gatepost.protocol.states import AT_REST, CLOSED, HANDSHAKE
from gatepost.reply import Reply
from gatepost.server.courtesies import Courtesies
from gatepost.server.guesses import Guesses
from gatepost.server.patience import Patience
from gatepost.server.reception import Reception
from gatepost.server.standing import Standing
from gatepost.session import Session, Transaction
from gatepost.site import Site
from gatepost.tls import Tls

#: Events that are answered before other clients get a turn.
BATCH = 20

#: A listener that asks for nothing: what those have in mind who name none.
_ORDINARY = Listen("127.0.0.1:0")
#: Those who have failed to authenticate elsewhere than on a listener.
_GUESSES = Guesses()

TOO_MANY_MESSAGES = Reply(
    421, "4.7.0", "Too many messages on one connection", final=True, limit="messages"
)

_Replies: TypeAlias = Reply | tuple[Reply, ...] | None


class Conversation:
    """Bytes in, bytes out; in between the plugins are asked."""

    __slots__ = (
        "_chain", "_courtesies", "_listen", "_patience", "_protocol", "_reception", "_site",
        "_standing", "ended", "more", "over", "session",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        chain: Chain,
        site: Site,
        *,
        listen: Listen = _ORDINARY,
        guesses: Guesses | None = None,
        repair: bool = False,
    ) -> None:
        self.session = session
        self.over = False  #: whether everything is said
        self.more = True  #: whether something that arrived is still to be answered
        self._chain = chain
        self._site = site
        self._listen = listen
        self._protocol = ServerProtocol(
            lmtp=listen.protocol == "lmtp",
            line_limit=site.limits.line,
            text_line_limit=site.limits.text_line,
            repair=repair,
            verbatim=bool(chain.turns["argument"]),
        )
        self._patience = Patience(site.limits, session)
        self._standing = Standing(
            session,
            chain,
            site,
            protocol=self._protocol,
            listen=listen,
            guesses=guesses or _GUESSES,
        )
        self._courtesies = Courtesies(session, chain, site, self._protocol, standing=self._standing)
        self._reception: Reception | None = None
        self.ended = False  #: those who listen know that it is over

    @property
    def limits(self) -> Limits:
        """How much the client may ask for."""
        return self._site.limits

    @property
    def receiving(self) -> bool:
        """Whether a message is arriving, as opposed to commands."""
        return self._protocol.receiving

    @property
    def wants_tls(self) -> bool:
        """Whether the client was told to go ahead with a TLS handshake."""
        return self._protocol.state is HANDSHAKE

    @property
    def between_messages(self) -> bool:
        """Whether no message is under way."""
        return self._protocol.state in AT_REST

    @property
    def committed(self) -> bool:
        """Whether some plugin may be taking a message right now: this is not to be broken off."""
        return self._reception is not None and self._reception.committed

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent."""
        self._protocol.receive_data(data)
        self.more = True

    def count_ahead(self) -> int:
        """Note on the session how many octets the client has sent ahead of its turn."""
        self.session.unread = self._protocol.input.unread
        return self.session.unread

    async def respond(self) -> bytes:
        """What to send back; `more` tells whether it is to be asked again at once."""
        protocol, session, judge = self._protocol, self.session, self._patience.judge
        out: list[bytes] = []
        self.more = False
        for _ in range(BATCH):
            if (event := protocol.next_event()) is None:
                break
            if isinstance(event, Line):
                event = await self._understood(event)
            session.unread = protocol.input.unread
            try:
                answer = self._answer(event)
                replies = await answer if answer is not None else None
            except PluginFailure:
                replies = _broken(event)
            if isinstance(replies, Reply):
                out.append(protocol.reply(judge(event, replies)))
            elif replies is not None:
                out.append(protocol.reply(*[judge(event, reply) for reply in replies]))
            if protocol.state in AT_REST:
                self.over, session.farewell = protocol.state is CLOSED, protocol.farewell
                if self._reception is not None:
                    await self._drop_reception()
            if not session.unread and replies is not None:
                break  # an event without a reply may be followed by one without further octets
        else:
            self.more = True
        return b"".join(out)

    async def secured(self, tls: Tls) -> bytes:
        """TLS is up.  What to send back, as of `respond`."""
        await self._standing.secured(tls)
        return await self.respond()

    def _answer(self, event: Event) -> Awaitable[_Replies] | None:
        """What earns the reply to an event; None for a chunk that belongs to no message."""
        kind = type(event)
        if self._reception is not None and kind in _RECEPTION:
            return _RECEPTION[kind](self._reception, event)
        if kind in _COURTESIES:
            return _COURTESIES[kind](self._courtesies, event)
        if kind in _STANDING:
            return _STANDING[kind](self._standing, event)
        return self._mail(event) if isinstance(event, Mail) else None

    def forget_ahead(self) -> None:
        """The client is gone: what it has sent ahead is not looked at any more."""
        self._protocol.close()

    async def end(self) -> bytes:
        """The connection is gone: tell those who listen.  There is nothing more to send."""
        self.ended = True
        self.forget_ahead()
        await self._drop_reception()
        await self._chain.tell("disconnect", self.session)
        return b""

    def close(self, reply: Reply) -> bytes:
        """The server has had enough: what to send before it hangs up."""
        self._protocol.close(reply)
        self.over, self.more, self.session.farewell = True, False, reply
        return bytes(self._patience.note(reply))

    async def _understood(self, line: Line) -> Event:
        try:
            text = await self._chain.pass_on("argument", self.session, line.verb, line.text)
        except PluginFailure:
            # Whatever follows DATA or BDAT must not be taken for commands.
            is_message = line.verb in ("DATA", "BDAT")
            return Malformed(_broken(Connected() if is_message else line))
        return self._protocol.understand(line.verb, text)

    async def _drop_reception(self) -> None:
        if self._reception is not None:
            await self._reception.over()
            self._reception = None

    async def _mail(self, event: Mail) -> Reply:
        session, limits = self.session, self._site.limits
        session.messages += 1
        if session.messages > limits.messages:
            return TOO_MANY_MESSAGES
        setting = self._chain.setting
        message_size = await setting("message_size", limits.message_size, event.sender)
        transaction = Transaction(
            session,
            event.sender,
            event.parameters,
            message=Message(
                memory=limits.memory,
                header_limit=limits.header_size,
                header_lines=limits.header_lines,
            ),
            number=session.messages,
        )
        self._reception = Reception(
            transaction,
            self._chain,
            self._site,
            lmtp=self._listen.protocol == "lmtp",
            patience=self._patience,
            message_size=message_size,
            recipients=await setting("recipients", limits.recipients, event.sender),
        )
        return await self._reception.mail(event)


def _broken(event: Event) -> Reply:
    """The reply to an event on which a plugin failed."""
    hook = "connect" if isinstance(event, Connected) else "message"
    return reply_to(hook, BROKEN, {"greeting": ""})


#: What concerns no message.
_COURTESIES: dict[type[Event], Callable[[Courtesies, Any], Awaitable[Reply]]] = {
    Connected: Courtesies.connected,
    Helo: Courtesies.helo,
    Ehlo: Courtesies.helo,
    Lhlo: Courtesies.helo,
    Rset: Courtesies.plain,
    Noop: Courtesies.plain,
    Vrfy: Courtesies.plain,
    Expn: Courtesies.plain,
    Help: Courtesies.help,
    Quit: Courtesies.plain,
    Unrecognized: Courtesies.unrecognized,
    XClient: Courtesies.xclient,
    Malformed: Courtesies.malformed,
}
#: What concerns who the client is.
_STANDING: dict[type[Event], Callable[[Standing, Any], Awaitable[Reply]]] = {
    StartTls: Standing.starttls,
    Auth: Standing.auth,
    AuthResponse: Standing.auth_response,
    XForward: Standing.xforward,
}
#: What happens to the message under way.
_RECEPTION: dict[type[Event], Callable[[Reception, Any], Awaitable[_Replies]]] = {
    Rcpt: Reception.rcpt,
    Data: Reception.data,
    Bdat: Reception.bdat,
    Chunk: Reception.chunk,
    EndOfChunk: Reception.end_of_chunk,
    EndOfData: Reception.end,
    Spoiled: Reception.spoiled,
}
