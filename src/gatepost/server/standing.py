"""Standing: who a client is taken for, and what that opens or forbids: TLS, AUTH, XCLIENT."""

from __future__ import annotations

from dataclasses import asdict, replace

from gatepost.config import Listen
from gatepost.hooks.chain import Chain
from gatepost.hooks.replies import reply_to
from gatepost.networks import covers
from gatepost.protocol.events import Auth, AuthResponse, StartTls, XClient, XForward
from gatepost.protocol.server import ServerProtocol
from gatepost.protocol.states import Circumstance
from gatepost.protocol.xclient import XCLIENT_ATTRIBUTES, XFORWARD_ATTRIBUTES, XForwardFacts
from gatepost.reply import Reply
from gatepost.server.authentication import Authentication
from gatepost.server.guesses import Guesses
from gatepost.session import BY_XCLIENT, Session
from gatepost.site import Site
from gatepost.tls import Tls

FORWARD_NOTED = Reply(250, "2.0.0", "Noted")

#: The attributes that we understand, as EHLO tells them.
_XCLIENT = " ".join(("XCLIENT", *XCLIENT_ATTRIBUTES))
_XFORWARD = " ".join(("XFORWARD", *XFORWARD_ATTRIBUTES))
_STARTTLS = frozenset({"STARTTLS"})


class Standing:
    """What one client has shown so far, on a listener that may ask for more."""

    __slots__ = (
        "_authentication",
        "_chain",
        "_circumstances",
        "_listen",
        "_protocol",
        "_session",
        "_trust",
        "_unoffered",
    )

    def __init__(
        self,
        session: Session,
        chain: Chain,
        site: Site,
        *,
        protocol: ServerProtocol,
        listen: Listen,
        guesses: Guesses,
    ) -> None:
        self._session = session
        self._chain = chain
        self._listen = listen
        self._protocol = protocol
        self._unoffered: frozenset[str] = frozenset()
        self._trust = _trust(listen, session)  # of who it is now, whoever it will say it is
        self._circumstances: list[Circumstance] = []
        self._authentication: Authentication | None = None
        if chain.turns["mechanisms"]:  # else nobody could check anything
            self._authentication = Authentication(
                session, chain, site, guesses, without_tls=listen.auth_without_tls
            )
        if listen.tls == "starttls" and session.tls is None:
            protocol.offer_early(_STARTTLS)  # some clients, like gsasl, do not greet before
        self._review()

    async def capabilities(self) -> tuple[str, ...]:
        """The lines of the EHLO reply that depend on who the client is."""
        session, listen = self._session, self._listen
        if listen.tls == "off" and self._authentication is None and not self._trust:
            return ()
        lines: list[str] = []
        unoffered: set[str] = set()
        if listen.tls == "starttls" and session.tls is None and not self._auth_is_done:
            lines.append("STARTTLS")
        elif listen.tls != "off":
            unoffered.add("STARTTLS")
        if self._authentication is not None:
            mechanisms = () if session.user else await self._authentication.offered()
            if mechanisms:
                lines.append(" ".join(("AUTH", *mechanisms)))
            else:
                unoffered.add("AUTH")
        for line, is_trusted in self._trust.items():
            if is_trusted:
                lines.append(line)
            else:
                unoffered.add(line.partition(" ")[0])
        self._unoffered = frozenset(unoffered)
        return tuple(lines)

    def in_force(self, offered: frozenset[str]) -> frozenset[str]:
        """The extensions whose commands are understood, be it only to be refused with a reason.

        `offered` are the keywords of the EHLO reply as plugins have left it.
        """
        return offered | self._unoffered if self._unoffered else offered

    async def starttls(self, _: StartTls) -> Reply:
        """The client asks for TLS."""
        verdict = None
        if self._chain.turns["starttls"]:
            verdict = await self._chain.ask("starttls", self._session, self._session)
        return reply_to("starttls", verdict, {})

    async def secured(self, tls: Tls) -> None:
        """TLS is up: what was heard before is forgotten (RFC 3207, 4.2)."""
        session = self._session
        session.tls, session.verb, session.hello = tls, "", ""
        self._protocol.secured()
        self._review()
        await self._chain.tell("secured", session)

    @property
    def _auth_is_done(self) -> bool:
        return self._session.mechanism not in ("", BY_XCLIENT)

    async def auth(self, event: Auth) -> Reply:
        """The client begins to show who it is."""
        assert self._authentication is not None, "AUTH is in force where it is possible"
        reply = await self._authentication.begin(event)
        self._review()
        return reply

    async def auth_response(self, event: AuthResponse) -> Reply:
        """The client goes on to show who it is."""
        assert self._authentication is not None, "AUTH is in force where it is possible"
        reply = await self._authentication.respond(event)
        self._review()
        return reply

    def become_another(self, event: XClient) -> None:
        """A proxy has told who the client is; a banner is next."""
        self._session.become(event.facts)
        self._review()

    async def xforward(self, event: XForward) -> Reply:
        """A filter has told whom the next message is from."""
        told = {name: value for name, value in asdict(event.facts).items() if value is not None}
        before = self._session.forwarded or XForwardFacts()
        self._session.forwarded = replace(before, **told)
        return FORWARD_NOTED

    def _review(self) -> None:
        """Let the protocol know what the circumstances forbid."""
        session, listen = self._session, self._listen
        circumstances: list[Circumstance] = []
        if session.tls is not None:
            circumstances.append(Circumstance.SECURED)
        elif listen.require_tls:
            circumstances.append(Circumstance.TLS_REQUIRED)
        if self._auth_is_done:
            circumstances.append(Circumstance.AUTH_IS_DONE)
        if session.user:
            circumstances.append(Circumstance.AUTHENTICATED)
        elif listen.require_auth:
            circumstances.append(Circumstance.AUTH_REQUIRED)
        if self._trust.get(_XCLIENT) is False:
            circumstances.append(Circumstance.NO_XCLIENT)
        if self._trust.get(_XFORWARD) is False:
            circumstances.append(Circumstance.NO_XFORWARD)
        if circumstances != self._circumstances:
            self._circumstances = circumstances
            self._protocol.forbid(circumstances)


def _trust(listen: Listen, session: Session) -> dict[str, bool]:
    """Whether the client's XCLIENT and XFORWARD are believed, where anybody's are."""
    if not (listen.xclient_from or listen.xforward_from):
        return {}
    return {
        line: covers(networks, session.client, session.server)
        for line, networks in ((_XCLIENT, listen.xclient_from), (_XFORWARD, listen.xforward_from))
        if networks
    }
