"""Web addresses that know passwords."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import aiohttp

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Session,
    Site,
    Token,
    Verdict,
    client_context,
    web_host,
)

log = logging.getLogger(__name__)

#: Octets of a response; a longer one is as good as none.
RESPONSE_LIMIT: Final = 65_536
#: Characters of a user's name, as the application gives it.
NAME_LIMIT: Final = 320


@dataclass
class AuthHttp(Plugin):
    """Ask a web address whether a password is right.

    An object is posted to it as JSON: `user`, `password`, `mechanism`, `client` (the IP address),
    `hello` (the name that the client gave itself) and `listener`.  With `tokens`, it is also asked
    about bearer tokens (OAUTHBEARER and XOAUTH2): then `token` stands there instead of `password`,
    and `user` is empty where the client named nobody.

    | status | what follows |
    |---|---|
    | 200, 204 | the client is this user |
    | 403 | denied; 401 as well, if the plugin has no `token` that this could be about |
    | 404 | the application does not know the user: the next plugin is asked |
    | any other | deferred |

    With 200 may come an object as JSON (`application/json`), whose `user` says what the user is
    called from then on; for a token without a name it has to.  Let 404 take as long as 403: the
    difference would tell which users there are.

        [[plugin]]
        use = "auth_http"
        url = "https://app.example/auth"
        token = "the application's word for us"
    """

    #: where to post to: `https://app.example/auth`; http:// only on this machine
    url: str = field(repr=False)
    #: sent as `Authorization: Bearer ...`; empty: nothing is
    token: str = field(default="", repr=False)
    tokens: bool = False  #: whether to ask about bearer tokens, too
    #: whether the certificate must be good for the host's name; if not, http:// will do as well
    verify: bool = True
    authorities: Path | None = None  #: a PEM file of the authorities to trust; else the system's
    wait: float = 10.0  #: seconds for one question; let it be less than `timeout`

    def __post_init__(self) -> None:
        self._host = web_host(self.url, option="url", private=self.verify)
        if not self.token.isascii() or not self.token.isprintable():
            raise ValueError("option 'token' must be of printable ASCII characters")
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        try:
            self._context = client_context(verify=self.verify, authorities=self.authorities)
        except OSError as error:
            raise ValueError(f"option 'authorities': {self.authorities}: {error}") from error

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "PLAIN", "LOGIN", *(("OAUTHBEARER", "XOAUTH2") if self.tokens else ()))

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if isinstance(credentials, Password):
            secret = {"password": credentials.password}
        elif isinstance(credentials, Token) and self.tokens:
            secret = {"token": credentials.token}
        else:
            return None
        asked = secret | {
            "user": credentials.user,
            "mechanism": credentials.mechanism,
            "client": session.client.host,
            "hello": session.hello,
            "listener": session.listener,
        }
        try:
            status, user = await self._ask(asked)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            # What the error says may repeat the address: its kind has to do.
            log.error("%s: no answer from %s: %s", session.id, self._host, type(error).__name__)
            return Defer()
        if status in (200, 204) and (user or credentials.user):
            credentials.user = user or credentials.user
            return Accept()
        if status == 403 or (status == 401 and not self.token):
            return Deny()
        if status != 404:
            log.error("%s: %s answers %d: nothing follows", session.id, self._host, status)
        return None if status == 404 else Defer()

    async def shutdown(self, site: Site) -> None:
        if "_session" in vars(self):
            await self._session.close()
            del self._session

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        """The connections; they belong to the event loop that first asks."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.wait),
            auto_decompress=False,  # what is packed can be larger than all that we would read
            headers={"Accept-Encoding": "identity", "User-Agent": "Gatepost"}
            | ({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        )

    async def _ask(self, asked: dict[str, str]) -> tuple[int, str]:
        """The status that a question is answered with, and the user's name where it is given.

        Raises ValueError for an answer that cannot be understood, and what aiohttp raises.
        """
        async with self._session.post(self.url, json=asked, allow_redirects=False) as response:
            if response.status != 200 or response.content_type != "application/json":
                return response.status, ""
            body = bytearray()
            async for piece in response.content.iter_chunked(RESPONSE_LIMIT):
                body += piece
                if len(body) > RESPONSE_LIMIT:
                    raise ValueError("the response is too long")
        return 200, _user(json.loads(body))


def _user(told: Any) -> str:
    """The name in what an application tells; empty: there is none."""
    user = told.get("user", "") if isinstance(told, dict) else None
    if not isinstance(user, str) or not user.isprintable() or len(user) > NAME_LIMIT:
        raise ValueError("that is no user")
    return user
