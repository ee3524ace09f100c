"""Programs that check passwords."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass
from typing import Final

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    Ended,
    Password,
    Plugin,
    Remembered,
    Session,
    Site,
    Verdict,
    run_program,
)

log = logging.getLogger(__name__)

#: Octets that a program may be shown: https://cr.yp.to/checkpwd/interface.html.
SHOWN_LIMIT: Final = 512

#: What an exit status means; any other is a trouble, 111 among them.
MEANINGS: Final[dict[int, Verdict]] = {0: Accept(), 1: Deny()}

# Puts what stands on descriptor 0 on descriptor 3 and becomes the program.  The script is always
# the same: the program and its arguments are words of their own behind it, which no shell reads.
_ON_DESCRIPTOR_3 = ("/bin/sh", "-c", 'exec "$@" 3<&0 0</dev/null', "sh")


@dataclass
class AuthCheckpassword(Plugin):
    """Let a program check passwords, by the interface of checkpassword.

    The items of `program` are the program and its arguments; no shell reads them.  Behind them
    comes `then`, the program that it is to run when the password is right.  It finds the user's
    name, the password and an empty timestamp on descriptor 3, each with a NUL behind, and, as from
    tcpserver, `TCPREMOTEIP`, `TCPREMOTEPORT`, `TCPLOCALIP` and `TCPLOCALPORT` in its environment.

    | exit status | the password is |
    |---|---|
    | 0 | right: this is the status of `then` |
    | 1 | wrong, or there is no such user |
    | 111, all others, a signal | not checked: the client is to try again later |

    A program that is not ready within `wait` seconds is killed with all that it has started.  What
    it prints when it could not check a password goes to the log.  Names and passwords that have
    more than 509 octets together do not fit the interface, and are wrong.

    Most such programs read a file that only root can read, and become the user before they run
    `then`.  Where the server is not root, let `sudo` run them.  To keep descriptor 3, that needs
    `-C 4` and, in sudoers, `closefrom_override`.  What sudo runs cannot be killed by the server, so
    let `timeout` do it: `["sudo", "-nC4", "timeout", "15", "/usr/local/bin/checkpassword"]`.

        tls = true
        [[plugin]]
        use = "auth_checkpassword"
        program = ["/bin/false"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: AUTH PLAIN AGFubmUAc2VjcmV0
        S: 535 5.7.8 Authentication failed
    """

    program: tuple[str, ...]  #: the program and its arguments
    #: what the program runs when the password is right, with its arguments
    then: tuple[str, ...] = ("/bin/true",)
    remember: float = 60.0  #: seconds to remember a password that was right; 0: not at all
    wait: float = 20.0  #: seconds for one password; let it be less than `timeout`
    at_once: int = 10  #: how many may run at the same time

    def __post_init__(self) -> None:
        for name in ("program", "then"):
            items = getattr(self, name)
            if not items or not items[0]:
                raise ValueError(f"option {name!r} must name a program")
            if any("\0" in item for item in items):
                raise ValueError(f"option {name!r} holds a NUL")
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        if self.at_once < 1:
            raise ValueError("option 'at_once' must be at least 1")
        self._places = asyncio.Semaphore(self.at_once)
        self._remembered = Remembered(self.remember)

    def startup(self, site: Site) -> None:
        if shutil.which(self.program[0]) is None:
            log.warning("there is no program %s: nobody can authenticate by it", self.program[0])

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Password):
            return None
        user, password = credentials.user, credentials.password
        shown = b"".join(part.encode() + b"\0" for part in (user, password, ""))
        if len(shown) > SHOWN_LIMIT or shown.count(b"\0") != 3:
            return Deny()
        if self._remembered.knows(user, password):
            return Accept()
        try:
            async with asyncio.timeout(self.wait), self._places:
                ended = await self._run(session, shown)
        except TimeoutError:
            log.error("%s: %s took too long", session.id, self.program[0])
            return Defer()
        except OSError as error:
            log.error("%s: %s cannot be run: %s", session.id, self.program[0], error)
            return Defer()
        if ended.status == 0:
            self._remembered.remember(user, password)
        elif ended.status != 1:
            # A program that prints what it was shown must not bring it into our log.
            words = " | ".join(line for line in ended.lines if password not in line)
            log.error("%s: %s ended with %s: %s", session.id, self.program[0], ended, words)
        return MEANINGS.get(ended.status, Defer())

    async def _run(self, session: Session, shown: bytes) -> Ended:
        return await run_program(
            [*_ON_DESCRIPTOR_3, *self.program, *self.then],
            [shown],
            seconds=self.wait,
            environment=_environment(session),
        )


def _environment(session: Session) -> dict[str, str]:
    """What a program can know of the connection, in the words of tcpserver."""
    ends = {"TCPREMOTE": session.client, "TCPLOCAL": session.server}
    known = {
        f"{which}{what}": str(value)
        for which, end in ends.items()
        if end.ip is not None
        for what, value in (("IP", end.host), ("PORT", end.port))
    }
    return {"PROTO": "TCP", **known} if known else {}
