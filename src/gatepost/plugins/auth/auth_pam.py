"""Users whom the system knows, by PAM."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import pam  # type: ignore[import-untyped]  # it comes without types

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Pool,
    PoolBusy,
    Remembered,
    Session,
    Site,
    Verdict,
)

log = logging.getLogger(__name__)

#: Where a service may be configured; where none is, PAM takes the service `other` instead.
PLACES: Final = ("/etc/pam.d", "/usr/lib/pam.d")
#: Results that speak of the user, and not of a trouble.
REFUSALS: Final = frozenset(
    {
        pam.PAM_ACCT_EXPIRED,
        pam.PAM_AUTHTOK_EXPIRED,
        pam.PAM_AUTH_ERR,
        pam.PAM_CRED_EXPIRED,
        pam.PAM_MAXTRIES,
        pam.PAM_NEW_AUTHTOK_REQD,  # the password was right once, and must be changed
        pam.PAM_PERM_DENIED,
        pam.PAM_USER_UNKNOWN,
    }
)


class Result(NamedTuple):
    """What PAM says of a user."""

    code: int
    reason: str


@dataclass
class AuthPam(Plugin):
    """Check passwords as the system does, by PAM (Linux-PAM).

    `service` names the file in `/etc/pam.d` that says how; of that the lines `auth` and `account`
    count, so that a user whose account is locked or has expired is refused.  No session is opened.
    For users of the system it may be this:

        auth     required  pam_unix.so nodelay
        account  required  pam_unix.so

    The configuration then only says `use = "auth_pam"`.

    Some modules need root: `pam_unix` checks the passwords of others for nobody else.  `nodelay`
    matters, for a module that waits before it refuses somebody keeps one of `at_once` threads busy
    meanwhile.  What is beyond them waits, and at most 100 do.

    Whatever does not speak of the user, as `PAM_AUTHINFO_UNAVAIL`, `PAM_SERVICE_ERR` and
    `PAM_SYSTEM_ERR`, or takes longer than `wait` seconds, means that the client is to try again
    later.  That is how `pam_exec` answers a wrong password: say `auth sufficient` for it, with
    `auth required pam_deny.so` behind.  A module that hangs cannot be stopped: its thread is lost
    until it comes back.
    """

    service: str = "smtp"  #: the file in `/etc/pam.d`
    remember: float = 60.0  #: seconds to remember a password that was right; 0: not at all
    wait: float = 20.0  #: seconds for one password; let it be less than `timeout`
    at_once: int = 8  #: threads

    def __post_init__(self) -> None:
        if not self.service or not self.service.isprintable() or "/" in self.service:
            raise ValueError("option 'service' must be the name of a file in /etc/pam.d")
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        if self.at_once < 1:
            raise ValueError("option 'at_once' must be at least 1")
        try:
            pam.PamAuthenticator()
        except (AttributeError, OSError) as error:
            raise ValueError(f"the library libpam cannot be used: {error}") from error
        self._remembered = Remembered(self.remember)
        self._pool = Pool(self.at_once)

    def startup(self, site: Site) -> None:
        if not any(Path(place, self.service).exists() for place in PLACES):
            log.warning("there is no PAM service %r: the service 'other' counts", self.service)

    def shutdown(self, site: Site) -> None:
        self._pool.close()

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Password):
            return None
        user, password = credentials.user, credentials.password
        if "\0" in user + password:
            return Deny()  # PAM would read another name or password
        if self._remembered.knows(user, password):
            return Accept()
        host = session.client.host if session.client.ip is not None else ""
        try:
            async with asyncio.timeout(self.wait):
                result = await self._pool.run(_checked, self.service, user, password, host)
        except (TimeoutError, PoolBusy) as error:
            log.error("%s: PAM has no time: %r", session.id, error)
            return Defer()
        if result.code == pam.PAM_SUCCESS:
            self._remembered.remember(user, password)
            return Accept()
        if result.code in REFUSALS:
            return Deny()
        log.error("%s: PAM cannot tell: %s (%d)", session.id, result.reason, result.code)
        return Defer()


def _checked(service: str, user: str, password: str, host: str) -> Result:
    """What PAM says of a user: of the password first, then of the account."""
    authenticator = pam.PamAuthenticator()
    authenticate = authenticator.pam_authenticate

    def authenticate_from(handle: object, flags: int) -> int:
        # python-pam has no options for these: whence the user comes, which modules log and judge,
        # and that a user who has no password cannot come in by any.
        if host:
            authenticator.pam_set_item(handle, pam.PAM_RHOST, host.encode())
        code: int = authenticate(handle, flags | pam.PAM_SILENT | pam.PAM_DISALLOW_NULL_AUTHTOK)
        return code

    authenticator.pam_authenticate = authenticate_from
    # Credentials are for who goes on to work in the user's name: here they would be the server's.
    authenticator.authenticate(user, password, service, resetcreds=False)
    return Result(authenticator.code, str(authenticator.reason))
