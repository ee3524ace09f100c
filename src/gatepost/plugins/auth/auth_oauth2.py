"""Bearer tokens of an OAuth 2.0 server."""

from __future__ import annotations

import json
import logging
import math
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

import aiohttp
import jwt

from gatepost import (
    Accept,
    BadToken,
    Credentials,
    Defer,
    Deny,
    Fetched,
    Plugin,
    Remembered,
    Session,
    Site,
    Token,
    TokenRules,
    Verdict,
    client_context,
    web_host,
)

log = logging.getLogger(__name__)

#: Algorithms (RFC 7518, 3.1; RFC 8037) for which who can check cannot sign: with those that are not
#: here, `none` and HMAC, everybody who knows our keys, which are public, could make tokens.
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
#: Bits of an RSA key; shorter ones are not used (RFC 7518, 3.3).
RSA_BITS: Final = 2048
#: Characters of a token, octets of a response, and keys that are looked at.
TOKEN_LIMIT: Final = 16_384
RESPONSE_LIMIT: Final = 262_144
KEYS_LIMIT: Final = 100
#: Seconds for which keys are good; after which they may be asked for again because a token names
#: one that is not among them; and after which they are asked for again when that has failed.
KEYS_LAST: Final = 3600.0
KEYS_REST: Final = 60.0
RETRY: Final = 5.0

#: What is known of a token (RFC 7519, 4; RFC 7662, 2.2).
Claims: TypeAlias = dict[str, Any]
#: Keys by their names and algorithms; some have no name.
Keys: TypeAlias = Mapping[tuple[str | None, str], jwt.PyJWK]


@dataclass
class AuthOauth2(Plugin):
    """Accept the bearer tokens of an OAuth 2.0 server (OAUTHBEARER, XOAUTH2).

    Tokens are either JWTs, which are checked here with the keys of the server (`jwks` or
    `jwks_file`), or anything at all, about which the server is asked (`introspection`, RFC 7662).

    A token must be for one of `audience`, be valid now, and come from `issuer`, which is optional
    with `introspection`.  Its `user_claim` says who the user is.  The name that the client gives
    must be the same, letter case aside; the session gets the token's.  A token that says
    `email_verified = false` is no proof of an `email`.

    A token that is not good is denied; when the server cannot be asked, the client is deferred.
    Keys are asked for once an hour, and at most once a minute when a token names one that is not
    among them.

        [[plugin]]
        use = "auth_oauth2"
        audience = ["mail"]
        issuer = "https://id.example"
        jwks = "https://id.example/keys"
    """

    audience: tuple[str, ...]  #: of whom a token's `aud` must name one: us
    issuer: str = ""  #: what a token's `iss` must be
    jwks: str = ""  #: where the keys for JWTs are (RFC 7517): `https://id.example/keys`
    jwks_file: Path | None = None  #: a file that they are in
    introspection: str = ""  #: where to ask about tokens: `https://id.example/introspect`
    client_id: str = ""  #: our name at `introspection`
    client_secret: str = field(default="", repr=False)  #: our password there
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")  #: by which JWTs may be signed
    user_claim: str = "email"  #: which claim is the user's name
    scope: str = ""  #: words that must all be in a token's `scope`, or in its `scp`
    leeway: float = 30.0  #: seconds by which clocks may differ
    remember: float = 60.0  #: seconds to remember that `introspection` has found a token good
    #: whether the server's certificate must be good for its name; if not, http:// will do as well
    verify: bool = True
    authorities: Path | None = None  #: a PEM file of the authorities to trust; else the system's
    wait: float = 10.0  #: seconds for one question to the server; let it be less than `timeout`

    def __post_init__(self) -> None:
        self._check_options()
        try:
            self._context = client_context(verify=self.verify, authorities=self.authorities)
        except OSError as error:
            raise ValueError(f"option 'authorities': {self.authorities}: {error}") from error
        self._rules = TokenRules(
            self.audience, self.issuer, self.scope, self.user_claim, self.leeway
        )
        self._keys = Fetched(self._fetch_keys, lasts=KEYS_LAST, rests=KEYS_REST, retry=RETRY)
        self._remembered = Remembered(self.remember)

    def _check_options(self) -> None:
        if not self.audience:
            raise ValueError("option 'audience' must name somebody: us")
        sources = [self.jwks, self.jwks_file, self.introspection]
        if len([source for source in sources if source]) != 1:
            raise ValueError("give one of the options 'jwks', 'jwks_file' and 'introspection'")
        if not self.issuer and not self.introspection:
            raise ValueError("option 'issuer' is missing: whose tokens are good?")
        if self.introspection and not (self.client_id and self.client_secret):
            raise ValueError("option 'introspection' needs 'client_id' and 'client_secret'")
        for option, url in (("jwks", self.jwks), ("introspection", self.introspection)):
            if url:
                web_host(url, option=option, private=self.verify)
        if not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ValueError(f"option 'algorithms' must be some of {', '.join(ALGORITHMS)}")
        if self.wait <= 0 or self.leeway < 0:
            raise ValueError("option 'wait' must be more than 0, 'leeway' not less")
        if self.jwks_file:
            try:
                self._keys_in(_read(self.jwks_file))
            except OSError as error:
                raise ValueError(f"option 'jwks_file': {self.jwks_file}: {error}") from error

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "OAUTHBEARER", "XOAUTH2")

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Token):
            return None
        try:
            credentials.user = await self._user(credentials)
        except BadToken as reason:
            session.found("auth_oauth2", "fail", f"the token is no good: {reason}")
            log.info("%s: a token is no good: %s", session.id, reason)
            return Deny()
        except OSError as trouble:
            log.error("%s: a token cannot be checked: %s", session.id, trouble)
            return Defer()
        return Accept()

    async def shutdown(self, site: Site) -> None:
        if "_session" in vars(self):
            await self._session.close()
            del self._session

    # -- Tokens -----------------------------------------------------------------------------------

    async def _user(self, credentials: Token) -> str:
        """The user whom a token is for.  Raises BadToken; OSError when that cannot be told now."""
        named, token = credentials.user, credentials.token
        if len(token) > TOKEN_LIMIT or not token.isascii():
            raise BadToken("it is too long, or of strange characters")
        if not self.introspection:
            return self._rules.user_of(await self._verified(token), named=named, now=time.time())
        if self._remembered.knows(named, token):
            return named
        user = self._rules.user_of(await self._introspected(token), named=named, now=time.time())
        self._remembered.remember(user, token)
        return user

    async def _verified(self, token: str) -> Claims:
        """What a JWT says, its signature being right (RFC 7515, 5.2)."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self.algorithms:
                raise BadToken("its algorithm is not allowed")
            key = await self._key(header.get("kid"), algorithm)
            claims = json.loads(jwt.PyJWS().decode(token, key, algorithms=[algorithm]))
        except jwt.InvalidSignatureError:
            raise BadToken("its signature is wrong") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise BadToken("it is no JWT")
        return claims

    async def _introspected(self, token: str) -> Claims:
        """What the server says of a token (RFC 7662, 2)."""
        names = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
        claims = await self._asked(
            "POST",
            self.introspection,
            data={"token": token, "token_type_hint": "access_token"},
            headers={"Authorization": f"Basic {b64encode(names.encode()).decode()}"},
        )
        active = claims.get("active")
        if not isinstance(active, bool):
            raise ConnectionError("the answer does not say whether it is active")
        if not active:
            raise BadToken("it is not active")
        return {"exp": math.inf} | claims  # without one, only the server knows when it ends

    # -- Keys -------------------------------------------------------------------------------------

    async def _key(self, name: str | None, algorithm: str) -> jwt.PyJWK:
        keys = await self._keys.current()
        if (name, algorithm) not in keys:
            keys = await self._keys.current(afresh=True)
        if (name, algorithm) not in keys:
            raise BadToken("it is signed with a key that is not known")
        return keys[name, algorithm]

    async def _fetch_keys(self) -> Keys:
        if self.jwks_file:
            return self._keys_in(_read(self.jwks_file))
        return self._keys_in(await self._asked("GET", self.jwks))

    def _keys_in(self, described: Claims) -> Keys:
        """The keys of a set that may be used (RFC 7517, 5); raises OSError when there is none."""
        listed = described.get("keys")
        keys = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        usable = {
            (one.get("kid"), algorithm): key
            for one in keys[:KEYS_LIMIT]
            for algorithm in self.algorithms
            if isinstance(one.get("kid"), str | None) and (key := _usable(one, algorithm))
        }
        if not usable:
            raise ConnectionError("there is no key that could be used")
        return usable

    # -- What the server says ---------------------------------------------------------------------

    async def _asked(self, method: str, url: str, **request: Any) -> Claims:
        """The object that is at a web address.  Raises OSError."""
        body = bytearray()
        host = urlsplit(url).hostname
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **request
            ) as response:
                if response.status != 200:
                    raise ConnectionError(f"{host} answers {response.status}")
                async for piece in response.content.iter_chunked(65_536):
                    body += piece
                    if len(body) > RESPONSE_LIMIT:
                        raise ConnectionError(f"{host} answers at too great length")
        except (aiohttp.ClientError, TimeoutError) as error:  # its words may repeat the address
            raise ConnectionError(f"no answer from {host}: {type(error).__name__}") from None
        return _object(bytes(body))

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        """The connections; they belong to the event loop that first asks."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.wait),
            auto_decompress=False,  # what is packed can be larger than all that we would read
            headers={"Accept-Encoding": "identity", "User-Agent": "Gatepost"},
        )


def _usable(described: Claims, algorithm: str) -> jwt.PyJWK | None:
    """A key for an algorithm; None for one that is for something else, is broken or too short."""
    if (
        described.get("alg", algorithm) != algorithm
        or described.get("use", "sig") != "sig"
        or "d" in described  # a private key for all to see
    ):
        return None
    try:
        key = jwt.PyJWK(described, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return None if key.key_type == "RSA" and key.key.key_size < RSA_BITS else key


def _read(path: Path) -> Claims:
    with path.open("rb") as file:
        return _object(file.read(RESPONSE_LIMIT))


def _object(octets: bytes) -> Claims:
    """An object in JSON.  Raises OSError."""
    try:
        told = json.loads(octets)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ConnectionError("what came is no object in JSON")
    return told
