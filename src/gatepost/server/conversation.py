"""One client, from banner to goodbye: events become hooks, verdicts become replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from gatepost.hooks.chain import BROKEN, Chain, PluginFailure
from gatepost.hooks.replies import reply_to
from gatepost.limits import Limits
from gatepost.message import Message
from gatepost.protocol.commands import LMTP_VERBS, SMTP_VERBS
from gatepost.protocol.events import (
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
    Unrecognized,
    Vrfy,
)
from gatepost.protocol.extensions import core_capabilities, keywords
from gatepost.protocol.server import ServerProtocol
from gatepost.protocol.states import AT_REST, CLOSED
from gatepost.reply import Reply, printable
from gatepost.server.patience import Patience
from gatepost.server.reception import TOO_BIG, Reception
from gatepost.session import Session, Transaction
from gatepost.site import Site

#: Events that are answered before other clients get a turn.
BATCH = 100

TOO_MANY_MESSAGES = Reply(421, "4.7.0", "Too many messages on one connection", final=True)

_Replies: TypeAlias = Reply | tuple[Reply, ...] | None


class Conversation:
    """Bytes in, bytes out; in between the plugins are asked."""

    __slots__ = (
        "_chain",
        "_lmtp",
        "_patience",
        "_protocol",
        "_reception",
        "_site",
        "ended",
        "more",
        "over",
        "session",
    )

    def __init__(
        self,
        session: Session,
        chain: Chain,
        site: Site,
        *,
        lmtp: bool = False,
        repair: bool = False,
    ) -> None:
        self.session = session
        self.over = False  #: whether everything is said
        self.more = True  #: whether something that arrived is still to be answered
        self._chain = chain
        self._site = site
        self._lmtp = lmtp
        self._protocol = ServerProtocol(
            lmtp=lmtp,
            line_limit=site.limits.line,
            text_line_limit=site.limits.text_line,
            repair=repair,
            verbatim=bool(chain.turns["argument"]),
        )
        self._patience = Patience(site.limits)
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
            kind = type(event)
            replies: _Replies = None
            try:
                if (answer := _ANSWERS.get(kind)) is not None:
                    replies = await answer(self, event)
                elif self._reception is not None:  # a BDAT out of turn belongs to no message
                    replies = await _ANSWERS_ON_MESSAGE[kind](self._reception, event)
            except PluginFailure:
                replies = _broken(event)
            if isinstance(replies, Reply):
                out.append(protocol.reply(judge(event, replies)))
            elif replies is not None:
                out.append(protocol.reply(*[judge(event, reply) for reply in replies]))
            if protocol.state in AT_REST:
                if self._reception is not None:
                    await self._drop_reception()
                self.over = protocol.state is CLOSED
            if not session.unread and replies is not None:
                break  # an event without a reply may be followed by one without further octets
        else:
            self.more = True
        return b"".join(out)

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
        self._protocol.close()
        self.over, self.more = True, False
        return bytes(reply)

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

    async def _ask(self, hook: str, *arguments: object, **words: object) -> Reply:
        verdict = None
        if self._chain.turns[hook]:
            verdict = await self._chain.ask(hook, self.session, self.session, *arguments)
        return reply_to(hook, verdict, words)

    async def _setting(self, name: str, value: int, event: Mail | None = None) -> int:
        """A limit of the configuration, as plugins will have it."""
        if not self._chain.turns["setting"]:
            return value
        sender = event.sender if event else None
        rewritten: int = await self._chain.pass_on("setting", name, value, sender)
        return rewritten

    async def _connected(self, _: Connected) -> Reply:
        greeting = f"{self._site.hostname} {'LMTP' if self._lmtp else 'ESMTP'}"
        if self._chain.turns["greeting"]:
            greeting = await self._chain.pass_on("greeting", self.session, greeting)
        return await self._ask("connect", greeting=greeting)

    async def _helo(self, event: Helo | Ehlo | Lhlo) -> Reply:
        """A greeting; it begins the session anew, unless it is refused (RFC 5321, 4.1.4)."""
        session, before = self.session, self.session.verb
        session.verb = type(event).__name__.upper()
        reply = await self._ask("helo", event.name, name=event.name, me=self._site.hostname)
        if not reply.positive:
            session.verb = before
            return reply
        session.hello = event.name
        words = reply.text.removeprefix(self._site.hostname).replace("\n", " ").strip()
        first_line = f"{self._site.hostname} {words}".strip()
        offered: tuple[str, ...] = ()
        if not isinstance(event, Helo):
            offered = await self._capabilities()
        self._protocol.offer(keywords(offered))
        return Reply(250, "", "\n".join((first_line, *offered)))

    async def _capabilities(self) -> tuple[str, ...]:
        limits = self._site.limits
        offered = core_capabilities(
            message_size=await self._setting("message_size", limits.message_size),
            recipients=limits.recipients,
            messages=limits.messages,
        )
        if self._chain.turns["capabilities"]:
            offered = await self._chain.pass_on("capabilities", self.session, offered)
        return tuple(printable(line) for line in offered)

    async def _mail(self, event: Mail) -> Reply:
        session, limits = self.session, self._site.limits
        session.messages += 1
        if session.messages > limits.messages:
            return TOO_MANY_MESSAGES
        message_size = await self._setting("message_size", limits.message_size, event)
        if 0 < message_size < (event.parameters.size or 0):
            return TOO_BIG
        transaction = Transaction(
            session,
            event.sender,
            event.parameters,
            message=Message(memory=limits.memory, header_limit=limits.header_size),
            number=session.messages,
        )
        self._reception = Reception(
            transaction,
            self._chain,
            self._site,
            lmtp=self._lmtp,
            patience=self._patience,
            message_size=message_size,
            recipients=await self._setting("recipients", limits.recipients, event),
        )
        return await self._reception.mail(event)

    async def _plain(self, event: Rset | Noop | Vrfy | Expn | Quit) -> Reply:
        """A command on which its hook has the only say."""
        hook = type(event).__name__.lower()
        return await self._ask(hook, event.text, me=self._site.hostname, text=event.text)

    async def _help(self, event: Help) -> Reply:
        return await self._ask("help", event.text, commands=self._commands())

    async def _unrecognized(self, event: Unrecognized) -> Reply:
        return await self._ask("unrecognized", event.verb, event.text)

    async def _malformed(self, event: Malformed) -> Reply:
        return event.reply

    def _commands(self) -> str:
        """What HELP tells: the commands that are implemented here."""
        offered = self._protocol.offered
        verbs = (LMTP_VERBS if self._lmtp else SMTP_VERBS).items()
        return " ".join(verb for verb, row in verbs if not row.needs or row.needs in offered)


def _broken(event: Event) -> Reply:
    """The reply to an event on which a plugin failed."""
    hook = "connect" if isinstance(event, Connected) else "message"
    return reply_to(hook, BROKEN, {"greeting": ""})


_ANSWERS: dict[type[Event], Callable[[Conversation, Any], Awaitable[Reply]]] = {
    Connected: Conversation._connected,
    Helo: Conversation._helo,
    Ehlo: Conversation._helo,
    Lhlo: Conversation._helo,
    Mail: Conversation._mail,
    Rset: Conversation._plain,
    Noop: Conversation._plain,
    Vrfy: Conversation._plain,
    Expn: Conversation._plain,
    Help: Conversation._help,
    Quit: Conversation._plain,
    Unrecognized: Conversation._unrecognized,
    Malformed: Conversation._malformed,
}
#: What happens to the message under way.
_ANSWERS_ON_MESSAGE: dict[type[Event], Callable[[Reception, Any], Awaitable[_Replies]]] = {
    Rcpt: Reception.rcpt,
    Data: Reception.data,
    Bdat: Reception.bdat,
    Chunk: Reception.chunk,
    EndOfChunk: Reception.end_of_chunk,
    EndOfData: Reception.end,
    Spoiled: Reception.spoiled,
}
