"""Reception: one message is taken in, from MAIL to the reply behind its last octet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from gatepost.each import Each
from gatepost.hooks.chain import BROKEN, Chain, PluginFailure
from gatepost.hooks.replies import REPLIES, SILENCE_REFUSES, combined, reply_to
from gatepost.protocol.events import Bdat, Chunk, Data, EndOfChunk, EndOfData, Mail, Rcpt, Spoiled
from gatepost.reply import Reply
from gatepost.server.patience import Patience
from gatepost.server.trace_fields import add_results, received, remove_forged_results
from gatepost.session import Recipient, Transaction
from gatepost.site import Site
from gatepost.trail import Decision
from gatepost.verdict import Accept, Defer, Verdict

log = logging.getLogger(__name__)

TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients", limit="recipients")
TOO_BIG = Reply(552, "5.3.4", "Message too big", limit="message_size")
LOOP = Reply(554, "5.4.6", "The message goes round in circles", limit="received")
#: What is said to a header beyond one of its limits.
BIG_HEADER = {
    limit: Reply(554, "5.6.0", text, limit=limit)
    for limit, text in (
        ("header_size", "The header is too big"),
        ("header_lines", "The header has too many lines"),
    )
}
NO_ROOM = Reply(452, "4.3.1", "No room for the message now")
CHUNK_TAKEN = Reply(250, "2.0.0", "Chunk taken")

INTERNAL_ERROR = reply_to("queue", BROKEN, {"id": ""})


class Reception:
    """The transaction of a conversation, and the questions that it puts to the plugins."""

    __slots__ = (
        "_chain",
        "_heard_headers",
        "_lmtp",
        "_message_size",
        "_most_recipients",
        "_patience",
        "_refusal",
        "_routes",
        "_site",
        "_tried",
        "committed",
        "transaction",
    )

    def __init__(
        self,
        transaction: Transaction,
        chain: Chain,
        site: Site,
        *,
        lmtp: bool,
        patience: Patience,
        message_size: int,
        recipients: int,
    ) -> None:
        self.transaction = transaction
        self.committed = False  #: from the question who takes it on, it is not to be broken off
        self._chain = chain
        self._site = site
        self._lmtp = lmtp
        self._patience = patience
        self._message_size = message_size
        self._most_recipients = recipients
        self._tried = 0
        self._routes: dict[Recipient, tuple[Recipient, ...]] = {}  #: accepted, and where it goes
        self._refusal: Reply | None = None  #: what the end of the message will be told
        self._heard_headers = False

    async def mail(self, event: Mail) -> Reply:
        """The transaction has begun."""
        reply = await self._ask("mail", event.sender, sender=event.sender)
        if reply.positive and 0 < self._message_size < (event.parameters.size or 0):
            return self._patience.note(TOO_BIG, self._message_size)
        return reply

    async def rcpt(self, event: Rcpt) -> Reply:
        """One more recipient is proposed."""
        transaction = self.transaction
        self._tried += 1
        if self._tried > 2 * self._most_recipients:
            self._patience.lose()
        if len(self._routes) >= self._most_recipients:
            return self._patience.note(TOO_MANY_RECIPIENTS, self._most_recipients)
        recipient = Recipient(event.recipient, event.parameters)
        if self._chain.turns["setting"]:
            most = await self._chain.setting("message_size", self._message_size, event.recipient)
            if 0 < most < (transaction.parameters.size or 0):
                return self._patience.note(TOO_BIG, most)
        reply = await self._ask("rcpt", recipient, recipient=recipient)
        if reply.positive:
            copies: tuple[Recipient, ...] = (recipient,)
            if self._chain.turns["route"]:
                copies = await self._chain.routes(transaction, recipient)
            self._routes[recipient] = copies
            transaction.recipients += copies
        return reply

    async def data(self, _: Data) -> Reply:
        """The client asks to send the message."""
        return await self._ask("data")

    async def bdat(self, event: Bdat) -> None:
        """A chunk of the message is announced; a refusal is told when it is in."""
        if not self.transaction.chunked:
            self.transaction.chunked = True
            reply = await self._ask("data")
            if not reply.positive:
                self._refuse(reply)
        if not event.size and not event.last:
            self._patience.lose()  # it brings the message no nearer
        if self._exceeds(event.size):
            self._refuse(TOO_BIG, self._message_size)

    async def chunk(self, event: Chunk) -> None:
        """Some octets of the message are in; those of a refused one are forgotten at once."""
        self.transaction.arrived += len(event.content)
        if self._refusal is not None:
            return
        if self._exceeds(0):
            self._refuse(TOO_BIG, self._message_size)
            return
        message = self.transaction.message
        self._keep(message.append, event.content)
        if message.oversized_header:
            self._refuse(BIG_HEADER[message.oversized_header])
        elif message.headers_complete and not self._heard_headers:
            await self._hear_headers()

    async def end_of_chunk(self, _: EndOfChunk) -> Reply:
        """A BDAT that was not the last is in; the refusal of one is the end of the message."""
        if self._refusal is None:
            return CHUNK_TAKEN
        return (await self._answered((self._refusal,)))[0]

    async def end(self, _: EndOfData) -> tuple[Reply, ...]:
        """The message is in: ask who takes it; one reply, or in LMTP one for each recipient."""
        if self._refusal is None:
            self._keep(self.transaction.message.finish)
        if self._refusal is None and not self._heard_headers:
            await self._hear_headers()
        if self._refusal is not None:
            return await self._answered(self._alike(self._refusal))
        try:
            return await self._answered(await self._hand_over())
        except PluginFailure:
            return await self._answered(self._alike(INTERNAL_ERROR))

    async def spoiled(self, event: Spoiled) -> tuple[Reply, ...]:
        """The message is in, or a chunk of it, and broken."""
        return await self._answered(self._alike(event.reply) if event.whole else (event.reply,))

    async def over(self) -> None:
        """The transaction is over, finished or not."""
        self.committed = True
        if self._chain.turns["reset"]:
            await self._chain.tell("reset", self.transaction)
        self.transaction.session.forwarded = None  # it was about this message alone
        self.transaction.message.drop()

    async def _hear_headers(self) -> None:
        self._heard_headers = True
        remove_forged_results(self.transaction, self._site)
        if self.transaction.message.headers.count("Received") >= self._site.limits.received:
            self._refuse(LOOP)
            return
        reply = await self._ask("headers")
        if not reply.positive:
            self._refuse(reply)

    async def _hand_over(self) -> tuple[Reply, ...]:
        """Put a whole message to `message` and `queue`."""
        transaction = self.transaction
        await self._add_received()
        looked_at = await self._ask_for_all("message")
        add_results(transaction, self._site)
        if isinstance(looked_at, Reply):
            if not looked_at.positive:
                return self._alike(looked_at)
            return await self._queue({})
        refused = {who: reply for who, reply in looked_at.items() if not reply.positive}
        if refused and not self._lmtp:
            return (combined(looked_at.values()),)
        return await self._queue(refused)

    async def _queue(self, refused: dict[Recipient, Reply]) -> tuple[Reply, ...]:
        """Let somebody take responsibility for the recipients that are not refused."""
        transaction = self.transaction
        willing = [who for who in transaction.recipients if who not in refused]
        transaction.recipients = willing
        self.committed = True
        taken = await self._ask_for_all("queue") if willing else self._nobody_needs_it()
        if isinstance(taken, Reply):
            if not refused:
                return self._alike(taken)
            taken = dict.fromkeys(willing, taken)
        if not self._lmtp:
            return (combined(taken.values()),)
        replies = refused | taken
        return tuple(self._in_sum(copies, replies) for copies in self._routes.values())

    async def _ask_for_all(
        self, hook: Literal["message", "queue"]
    ) -> Reply | dict[Recipient, Reply]:
        """One reply for all recipients, or one for each."""
        transaction = self.transaction
        verdict: Verdict | Each | None = None
        if self._chain.turns[hook]:
            verdict = await self._chain.ask(hook, transaction.session, transaction)
        if verdict is None and hook in SILENCE_REFUSES:
            await self._note_silence(hook)
        words = {"id": transaction.id}
        if not isinstance(verdict, Each):
            return reply_to(hook, verdict, words)
        return {
            who: reply_to(hook, verdict.verdicts.get(who, Defer()), words)
            for who in transaction.recipients
        }

    async def _add_received(self) -> None:
        transaction = self.transaction
        only = next(iter(self._routes)) if len(self._routes) == 1 else None
        field = received(transaction, self._site, only)
        if self._chain.turns["received"]:
            field = await self._chain.pass_on("received", transaction, field)
        try:
            transaction.message.headers.prepend("Received", field)
        except ValueError as error:
            log.error("%s: a plugin made a Received field that is none: %s", transaction.id, error)
            raise PluginFailure("received") from error

    async def _ask(self, hook: str, *arguments: object, **words: object) -> Reply:
        verdict = None
        if self._chain.turns[hook]:
            transaction = self.transaction
            verdict = await self._chain.ask(hook, transaction.session, transaction, *arguments)
        if verdict is None and hook in SILENCE_REFUSES:
            await self._note_silence(hook)
        return reply_to(hook, verdict, words)

    async def _note_silence(self, hook: str) -> None:
        """That nobody spoke is a decision too, where it refuses."""
        session = self.transaction.session
        number = self.transaction.number
        decision = Decision("nobody", hook, REPLIES[hook].silence, 0.0, message=number)
        session.trail.add(decision)
        await self._chain.tell("decided", session, decision)

    async def _answered(self, replies: tuple[Reply, ...]) -> tuple[Reply, ...]:
        if self._chain.turns["queued"]:
            if self._lmtp:
                each = replies if len(replies) > 1 else replies * len(self._routes)
                self.transaction.replies = dict(zip(self._routes, each, strict=True))
            best = min(replies, key=lambda reply: reply.code)
            await self._chain.tell("queued", self.transaction, best)
        return replies

    def _exceeds(self, more: int) -> bool:
        return 0 < self._message_size < self.transaction.arrived + more

    def _keep(self, keep: Callable[..., None], *octets: bytes) -> None:
        """Let the message take octets; a full disk refuses it for now."""
        try:
            keep(*octets)
        except OSError as error:
            log.error("%s: cannot keep the message: %s", self.transaction.id, error)
            self._refuse(NO_ROOM)

    def _refuse(self, reply: Reply, limit: int | None = None) -> None:
        """Settle what the end of the message will be told; the first refusal counts."""
        if self._refusal is None:
            self._refusal = self._patience.note(reply, limit)
        self.transaction.message.drop()

    def _alike(self, reply: Reply) -> tuple[Reply, ...]:
        return (reply,) * len(self._routes) if self._lmtp else (reply,)

    def _in_sum(self, copies: tuple[Recipient, ...], replies: dict[Recipient, Reply]) -> Reply:
        """The reply for one accepted recipient; a plugin may have taken its copies away."""
        left = [replies[copy] for copy in copies if copy in replies]
        return combined(left) if left else self._nobody_needs_it()

    def _nobody_needs_it(self) -> Reply:
        """The reply for recipients that were routed to nowhere."""
        return reply_to("queue", Accept(), {"id": self.transaction.id})
