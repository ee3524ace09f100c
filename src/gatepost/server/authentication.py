"""Authentication: the AUTH of one session, from the offer to the answer (RFC 4954)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import secrets
from functools import lru_cache

from gatepost.credentials import Credentials, PlainSecret, Proven, ScramKeys, Secret
from gatepost.hooks.chain import BROKEN, Chain, PluginFailure
from gatepost.hooks.replies import REPLIES, reply_to
from gatepost.pool import Pool, PoolBusy
from gatepost.protocol.events import Auth, AuthResponse
from gatepost.protocol.sasl import (
    MECHANISMS,
    Challenge,
    Derivation,
    MalformedResponse,
    Mechanism,
    SecretOf,
    Surroundings,
    WrongProof,
)
from gatepost.protocol.sasl.exchange import Exchange
from gatepost.protocol.sasl.external import EXTERNAL
from gatepost.reply import LINE_LIMIT, Reply, printable
from gatepost.server.guesses import Guesses
from gatepost.session import Session
from gatepost.site import Site
from gatepost.trail import Decision
from gatepost.verdict import Accept, Defer, Deny, Verdict

log = logging.getLogger(__name__)

UNKNOWN_MECHANISM = Reply(504, "5.5.4", "No such authentication mechanism here")
TLS_FIRST = Reply(538, "5.7.11", "That mechanism needs TLS: say STARTTLS first")
CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
NOT_BASE64 = Reply(501, "5.5.2", "That is no base64")
NO_INITIAL = Reply(501, "5.5.2", "That mechanism begins with a challenge")
TOO_MANY_FAILURES = Reply(
    421, "4.7.0", "Too many failed authentications", final=True, limit="auth_failures"
)

TOO_MANY_FROM_YOU = Reply(
    421,
    "4.7.0",
    "Too many failed authentications from your address",
    final=True,
    limit="auth_failures_per_address",
)

_SUFFIX = "-PLUS"
#: Derives keys from passwords, which takes milliseconds each.
_POOL = Pool(2)


class Authentication:
    """Which mechanisms a client is offered, and what comes of the exchange that it begins."""

    __slots__ = (
        "_bare_is_fine",
        "_chain",
        "_exchange",
        "_failures",
        "_guesses",
        "_initial",
        "_mechanism",
        "_outcome",
        "_session",
        "_site",
    )

    def __init__(
        self,
        session: Session,
        chain: Chain,
        site: Site,
        guesses: Guesses,
        *,
        without_tls: bool,
    ) -> None:
        self._session = session
        self._chain = chain
        self._site = site
        self._guesses = guesses
        self._bare_is_fine = without_tls
        self._failures = 0
        self._mechanism = ""
        self._exchange: Exchange | None = None
        self._outcome: tuple[Credentials, Verdict] | None = None  #: what the plugins have said
        self._initial: bytes | None = None  #: a response that was sent before it was asked for

    async def offered(self) -> tuple[str, ...]:
        """The mechanisms that the client may choose from now, the strongest first."""
        names = await self._answerable()
        return tuple(name for name in names if not self._is_exposed(MECHANISMS[name]))

    async def begin(self, event: Auth) -> Reply:
        """The client has chosen a mechanism."""
        if self._is_suspect:
            return TOO_MANY_FROM_YOU
        name = event.mechanism
        names = await self._answerable()
        if name not in names:
            return UNKNOWN_MECHANISM
        mechanism = MECHANISMS[name]
        if self._is_exposed(mechanism):
            return TLS_FIRST
        if event.initial is not None and not mechanism.client_first:
            return NO_INITIAL
        self._initial = None
        if event.initial is not None:
            self._initial = _decoded("" if event.initial == "=" else event.initial)
            if self._initial is None:
                return NOT_BASE64
        self._mechanism = name
        self._exchange = mechanism.begin(self._surroundings(names))
        return await self._go_on(None)

    async def respond(self, event: AuthResponse) -> Reply:
        """The client has answered a challenge."""
        cancels = event.text == "*"
        response = None if cancels else _decoded(event.text)
        if response is not None:
            return await self._go_on(response)
        if self._outcome is not None:  # a refused token, of which the client was told why
            return self._ended(await self._concluded(*self._outcome))
        return self._ended(CANCELLED if cancels else NOT_BASE64)

    # -- The exchange -----------------------------------------------------------------------------

    async def _go_on(self, sent: object) -> Reply:
        """Carry the exchange on to its next challenge, or to its end."""
        while True:
            assert self._exchange is not None, "a response is in turn only within an exchange"
            try:
                step = self._exchange.send(sent)
                if isinstance(step, Challenge):
                    if self._initial is None:
                        return _challenge(step.octets)
                    sent, self._initial = self._initial, None
                elif isinstance(step, SecretOf):
                    sent = await self._secret_of(step.user)
                elif isinstance(step, Derivation):
                    sent = await _POOL.run(_derived, step)
                else:
                    verdict = await self._verdict_on(step)
                    if isinstance(verdict, Defer):  # nothing has shown that they are wrong
                        return self._ended(reply_to("auth", verdict, {}))
                    self._outcome = (step, verdict)
                    sent = isinstance(verdict, Accept)
            except StopIteration:
                assert self._outcome is not None, "an exchange ends with credentials, or raises"
                return self._ended(await self._concluded(*self._outcome))
            except MalformedResponse as error:
                return self._ended(Reply(501, "5.5.2", printable(str(error))))
            except WrongProof as error:
                return self._ended(await self._failed(error.user, Deny()))
            except (PluginFailure, PoolBusy):
                return self._ended(reply_to("auth", Defer(), {}))

    def _ended(self, reply: Reply) -> Reply:
        self._exchange = self._initial = self._outcome = None
        return reply

    async def _secret_of(self, user: str) -> Secret | None:
        kinds = (ScramKeys, PlainSecret)
        mechanism = self._mechanism.removesuffix(_SUFFIX)
        return await self._chain.supply("secret", kinds, self._session, user, mechanism)

    async def _verdict_on(self, credentials: Credentials) -> Verdict:
        verdict = None
        if self._chain.turns["auth"]:
            verdict = await self._chain.ask("auth", self._session, self._session, credentials)
        if verdict is None:
            if isinstance(credentials, Proven):
                return Accept()
            verdict = REPLIES["auth"].silence
            decision = Decision("nobody", "auth", verdict, 0.0)
            self._session.trail.add(decision)
            await self._chain.tell("decided", self._session, decision)
        return Defer() if verdict is BROKEN else verdict

    @property
    def _is_suspect(self) -> bool:
        """Whether too many have failed who came from there, and it is nobody who is trusted.

        A web mail server may speak for many who mistype their passwords.
        """
        most = self._site.limits.auth_failures_per_address
        is_trusted = self._session.relaying or self._session.allowed
        return bool(most and not is_trusted and self._guesses.number(self._network) >= most)

    @property
    def _network(self) -> str:
        """Where the client comes from now: a proxy may tell it late, or know no more than that."""
        client = self._session.client
        return client.host if client.ip is None else self._site.limits.network_of(client.host)

    # -- How it ends ------------------------------------------------------------------------------

    async def _concluded(self, credentials: Credentials, verdict: Verdict) -> Reply:
        if isinstance(verdict, Deny):
            return await self._failed(credentials.user, verdict)
        if isinstance(verdict, Accept) and not credentials.user:
            log.error("%s: a plugin has accepted nobody by name", self._session.id)
            verdict = Defer()
        if isinstance(verdict, Accept):
            await self._succeeded(credentials.user)
        return reply_to("auth", verdict, {})

    async def _succeeded(self, user: str) -> None:
        session = self._session
        session.user, session.mechanism, session.relaying = user, self._mechanism, True
        session.found(
            "authentication",
            "pass",
            self._mechanism,
            method="auth",
            properties=(("smtp.auth", user),),
        )
        await self._chain.tell("authenticated", session)

    async def _failed(self, user: str, verdict: Deny) -> Reply:
        """The same for a wrong password and an unknown user: the words, and the time it takes."""
        session = self._session
        self._failures += 1
        # Not for Authentication-Results: what was given as a name may be a password, mistyped.
        session.found("authentication", "fail", self._mechanism)
        log.info(
            "%s %s has failed to authenticate as %s by %s",
            session.id, session.client, user, self._mechanism,
        )  # fmt: skip
        await asyncio.sleep(self._guesses.count(self._network, user))
        if self._failures >= self._site.limits.auth_failures:
            return TOO_MANY_FAILURES
        return reply_to("auth", verdict, {})

    # -- What is offered --------------------------------------------------------------------------

    async def _answerable(self) -> tuple[str, ...]:
        """The mechanisms for which some plugin answers, whether they may be used now or not."""
        known = await self._chain.pass_on("mechanisms", self._session, ())
        tls = self._session.tls
        binds = tls is not None and tls.binding("tls-server-end-point") is not None
        return _possible(
            known, binds=binds, external=tls is not None and tls.certificate is not None
        )

    def _is_exposed(self, mechanism: Mechanism) -> bool:
        """Whether others could read what the mechanism carries."""
        return mechanism.bare and self._session.tls is None and not self._bare_is_fine

    def _surroundings(self, names: tuple[str, ...]) -> Surroundings:
        return Surroundings(
            hostname=self._site.hostname,
            tls=self._session.tls,
            offered=frozenset(names),
            nonce=lambda: secrets.token_urlsafe(18),
            decoy=lambda user: hmac.digest(self._site.seed, user.encode(), "sha256"),
        )


@lru_cache(maxsize=64)
def _possible(known: tuple[str, ...], *, binds: bool, external: bool) -> tuple[str, ...]:
    """Those of our mechanisms that plugins know, the strongest first."""
    return tuple(
        name
        for name, mechanism in MECHANISMS.items()
        if name.removesuffix(_SUFFIX) in known
        and (binds or not mechanism.binds)
        and (external or name != EXTERNAL.name)
    )


def _derived(wanted: Derivation) -> ScramKeys:
    password, digest, salt = wanted.password, wanted.digest, wanted.salt
    return ScramKeys.derive(password, digest=digest, salt=salt, iterations=wanted.iterations)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _challenge(octets: bytes) -> Reply:
    text = base64.b64encode(octets).decode("ascii")
    if len(text) > LINE_LIMIT - 6:  # no reply line of ours is longer; only a nonce can make it so
        raise MalformedResponse("The nonce is too long")
    return Reply(334, "", text)
