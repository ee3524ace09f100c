"""Courtesies: what is said that concerns no message: greetings, HELP, NOOP, QUIT and their like."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from gatepost.hooks.chain import Chain, PluginFailure
from gatepost.hooks.replies import reply_to
from gatepost.protocol.commands import LMTP_VERBS, SMTP_VERBS
from gatepost.protocol.events import (
    Connected,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Malformed,
    Noop,
    Quit,
    Rset,
    Unrecognized,
    Vrfy,
    XClient,
)
from gatepost.protocol.extensions import core_capabilities, keywords
from gatepost.protocol.server import ServerProtocol
from gatepost.protocol.states import AT_REST
from gatepost.reply import Reply, printable
from gatepost.server.standing import Standing
from gatepost.session import Session
from gatepost.site import Site
from gatepost.trail import PROTOCOL, Result


class Courtesies:
    """The commands of one session on which only their own hooks have a say."""

    __slots__ = ("_chain", "_flaws", "_protocol", "_session", "_site", "_standing")

    def __init__(
        self,
        session: Session,
        chain: Chain,
        site: Site,
        protocol: ServerProtocol,
        *,
        standing: Standing,
    ) -> None:
        self._session = session
        self._chain = chain
        self._site = site
        self._protocol = protocol
        self._standing = standing
        self._flaws: dict[str, int] = {}  #: refusals on the trail, and the last message of each

    async def connected(self, _: Connected) -> Reply:
        """The client is there: the banner."""
        greeting = f"{self._site.hostname} {'LMTP' if self._protocol.lmtp else 'ESMTP'}"
        if self._chain.turns["greeting"]:
            greeting = await self._chain.pass_on("greeting", self._session, greeting)
        reply = await self._ask("connect", greeting=greeting)
        if reply.positive and not reply.text.startswith(self._site.hostname):
            return replace(reply, text=f"{self._site.hostname} {reply.text}")
        return reply

    async def xclient(self, event: XClient) -> Reply:
        """A proxy tells who the client is: everything begins anew, with a banner."""
        self._standing.become_another(event)
        return await self.connected(Connected())

    async def helo(self, event: Helo | Ehlo | Lhlo) -> Reply:
        """A greeting; it begins the session anew, unless it is refused (RFC 5321, 4.1.4)."""
        session, before = self._session, (self._session.verb, self._session.hello)
        session.verb = type(event).__name__.upper()
        reply = await self._ask("helo", event.name, name=event.name, me=self._site.hostname)
        if not reply.positive:
            session.verb, session.hello = before
            return reply
        session.hello = event.name
        words = reply.text.removeprefix(self._site.hostname).replace("\n", " ").strip()
        first_line = f"{self._site.hostname} {words}".strip()
        offered: tuple[str, ...] = ()
        if not isinstance(event, Helo):
            try:
                offered = await self._capabilities()
            except PluginFailure:
                session.verb, session.hello = before
                raise
        self._protocol.offer(self._standing.in_force(keywords(offered)))
        return _hello(first_line, offered)

    async def plain(self, event: Rset | Noop | Vrfy | Expn | Quit) -> Reply:
        """A command on which its hook has the only say."""
        hook = type(event).__name__.lower()
        return await self._ask(hook, event.text, me=self._site.hostname, text=event.text)

    async def help(self, event: Help) -> Reply:
        """What commands there are."""
        return await self._ask("help", event.text, commands=self._commands())

    async def unrecognized(self, event: Unrecognized) -> Reply:
        """A word that is no command."""
        return await self._ask("unrecognized", event.verb, event.text)

    async def malformed(self, event: Malformed) -> Reply:
        """What breaks the grammar, or is not in turn, has its reply already."""
        text, session = str(event.reply), self._session
        number = 0 if self._protocol.state in AT_REST else session.messages
        before = self._flaws.get(text)
        # A client may err as often as it likes in a long session: the trail hears it once.
        if before is None or before < number:
            self._flaws[text] = number
            session.trail.add(Result(PROTOCOL, "fail", text, message=number))
        return event.reply

    async def _capabilities(self) -> tuple[str, ...]:
        limits = self._site.limits
        offered = core_capabilities(
            message_size=await self._chain.setting("message_size", limits.message_size),
            recipients=limits.recipients,
            messages=limits.messages,
        )
        if more := await self._standing.capabilities():
            offered += more
        if self._chain.turns["capabilities"]:
            offered = await self._chain.pass_on("capabilities", self._session, offered)
        return tuple(printable(line) for line in offered)

    async def _ask(self, hook: str, *arguments: object, **words: object) -> Reply:
        verdict = None
        if self._chain.turns[hook]:
            verdict = await self._chain.ask(hook, self._session, self._session, *arguments)
        return reply_to(hook, verdict, words)

    def _commands(self) -> str:
        """What HELP tells: the commands that are implemented here."""
        offered = self._protocol.offered
        verbs = (LMTP_VERBS if self._protocol.lmtp else SMTP_VERBS).items()
        return " ".join(verb for verb, row in verbs if not row.needs or row.needs in offered)


@lru_cache(maxsize=64)
def _hello(first_line: str, offered: tuple[str, ...]) -> Reply:
    """The reply to a greeting, which is the same for most clients (RFC 5321, 4.1.1.1)."""
    return Reply(250, "", "\n".join((first_line, *offered)))
