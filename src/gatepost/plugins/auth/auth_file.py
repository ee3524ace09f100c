"""Users and their hashed passwords in a file."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    Derived,
    Entries,
    HashedPassword,
    Password,
    Plugin,
    Pool,
    PoolBusy,
    Remembered,
    Secret,
    Session,
    Site,
    Verdict,
    saslprep,
)

log = logging.getLogger(__name__)

#: Octets of a user name; no client can show a longer one.
NAME_LIMIT: Final = 255
#: Bad names that one error tells of.
TOLD: Final = 20

#: What a line may hold for a user, in the order in which a password is checked against it.
KINDS: Final = ("hash", "scram-sha-256", "scram-sha-1", "plain")
#: For which of them a mechanism has a use, the best first.
WANTED: Final = {
    "SCRAM-SHA-256": ("scram-sha-256", "plain"),
    "SCRAM-SHA-1": ("scram-sha-1", "plain"),
    "CRAM-MD5": ("plain",),
}

#: The hash ends at a colon, as in a passwd file, but SCRAM keys have two of their own.
_LINE = re.compile(
    r"(?P<name>[^:]*):(?P<kept>SCRAM-[^:]*:[^:]*:[^:]*|[^:]*)(?P<others>(?::[^:]*){0,5})(?P<rest>.*)"
)


@dataclass
class AuthFile(Plugin):
    """Let users in by a list of names and hashed passwords.

    Each line of `users` is a name, a colon and a hash.  `gatepost password NAME` asks for a
    password and prints the line.  When the file changes it is read again; if there is a bad line
    in it then, what it said before stays in force, and the log tells the number of the line among
    those that are neither empty nor comments.  Names are compared letter by letter: `Bob` is not
    `bob`.

    | `gatepost password --scheme` | the line | lets the user in by |
    |---|---|---|
    | `argon2id`, `scrypt`, `bcrypt`, `sha512-crypt` | `bob:$argon2id$v=19$...` | PLAIN, LOGIN |
    | `scram-sha-256`, `scram-sha-1` | `bob:SCRAM-SHA-256$15000:...` | that, PLAIN, LOGIN |
    | `plain` | `bob:{PLAIN}secret` | all of these, and CRAM-MD5 |

    A user may have one line of each of these three rows, and two of the second.  A mechanism is
    offered as soon as one user has what it needs.  As clients choose the strongest, give SCRAM
    keys to every user or to none.  A plain secret is only good for CRAM-MD5; who reads the file
    has it.

    Other files may be used as they are: those of Apache's `htpasswd -B`, and passwd files of
    Dovecot, with `{ARGON2ID}`, `{BLF-CRYPT}`, `{SHA512-CRYPT}`, `{CRYPT}` and their like before
    the hash.  A secret that holds a colon or a blank is written `{PLAIN.b64}` and in base64.
    Fields behind the hash mean nothing here, but extra fields of Dovecot, which may forbid things,
    are an error.  Hashes of crypt(3) (`$6$`, `$5$`, `$1$`, `$y$`) need the system's libcrypt;
    those of argon2 and bcrypt need `pip install 'gatepost[auth]'`.

    Checking a password is slow by design, so it is done in a few threads, and right passwords are
    remembered for a moment, as keyed hashes.  When more than 100 wait for a thread, further
    clients are told to come again.  An unknown user takes as long as most of those in the file:
    keep hashes of one scheme, with the same parameters.

        [listen]
        tls = "starttls"
        [[plugin]]
        use = "auth_file"
        users = ["bob:$2b$11$gxc6ey13sas7CCSaLYe0a.2p.AT.4X4Z4o7iGYvfFC/5KfmFQmLkW"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: AUTH PLAIN AGJvYgBwZW5jaWw=
        S: 538 5.7.11 That mechanism needs TLS: say STARTTLS first
        C: STARTTLS
        S: 220 2.0.0 ...
        C: <tls>
        C: EHLO client.example
        S: 250 ...
        C: AUTH PLAIN AGJvYgBwZW5jaWw=
        S: 235 2.7.0 Authentication succeeded
    """

    #: lines of a name, a colon and a hash: a file, or a list
    users: Entries | Iterable[str] = field(repr=False)
    remember: float = 60.0  #: seconds for which a right password is not checked again
    threads: int = 0  #: that check passwords at the same time; 0: as many as there are processors

    def __post_init__(self) -> None:
        if self.remember < 0:
            raise ValueError("option 'remember' must be 0 or more")
        if self.threads < 0:
            raise ValueError("option 'threads' must be 0 or more")
        combine = partial(_Users, remember=self.remember)
        self._users = Derived(self.users, _line, combine, option="users", secret=True)
        self._pool = Pool(self.threads or os.cpu_count() or 1)
        self._reader = Pool(1)

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if not isinstance(credentials, Password):
            return None
        try:
            return await self._checked(await self._current(), credentials)
        except PoolBusy as error:
            log.warning("%s: a password cannot be checked now: %s", session.id, error)
            return Defer()

    async def secret(self, session: Session, user: str, mechanism: str) -> Secret | None:
        return (await self._current()).secret(user, mechanism)

    def mechanisms(
        self, session: Session, offered: tuple[str, ...]
    ) -> tuple[str, ...] | Awaitable[tuple[str, ...]]:
        if self._users.is_stale:
            return self._mechanisms(offered)
        return (*offered, *self._users.latest.mechanisms)

    def shutdown(self, site: Site) -> None:
        self._pool.close()
        self._reader.close()

    async def _mechanisms(self, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, *(await self._current()).mechanisms)

    async def _current(self) -> _Users:
        """What the file says now; a new one is read while the event loop goes on."""
        if self._users.is_stale:
            await self._reader.run(self._users.current)
        return self._users.latest

    async def _checked(self, users: _Users, shown: Password) -> Verdict | None:
        if users.remembered.knows(shown.user, shown.password):
            return Accept()
        known = users.to_check(shown.user)
        kept = known or users.decoy
        if kept is None:
            return None
        is_right = await self._pool.run(kept.verify, shown.password)
        if known is None:
            return None
        if not is_right:
            return Deny()
        users.remembered.remember(shown.user, shown.password)
        return Accept()


class _Line(NamedTuple):
    user: str
    kept: HashedPassword

    @property
    def kind(self) -> str:
        return "hash" if self.kept.secret is None else self.kept.scheme


class _Users:
    """What one version of the file says, and the passwords that were right by it."""

    def __init__(self, lines: Iterable[_Line], *, remember: float) -> None:
        self._by_name: dict[str, dict[str, HashedPassword]] = {}
        twice = []
        for line in lines:
            kinds = self._by_name.setdefault(line.user, {})
            if line.kind in kinds:
                twice.append(f"{line.user!r} ({line.kind})")
            kinds[line.kind] = line.kept
        if twice:
            told = ", ".join(twice[:TOLD])
            raise ValueError(f"option 'users': two of one kind for one user: {told}")
        self.remembered = Remembered(remember)
        self.mechanisms = self._all_mechanisms()
        self.decoy = self._most_usual()

    def to_check(self, user: str) -> HashedPassword | None:
        """What a user's password is checked against; None for an unknown user."""
        kinds = self._by_name.get(user, {})
        return next((kinds[kind] for kind in KINDS if kind in kinds), None)

    def secret(self, user: str, mechanism: str) -> Secret | None:
        """What a user's proof is checked against."""
        kinds = self._by_name.get(user, {})
        wanted = (kinds[kind] for kind in WANTED.get(mechanism, ()) if kind in kinds)
        return next((kept.secret for kept in wanted), None)

    def _all_mechanisms(self) -> tuple[str, ...]:
        kinds = {kind for kinds in self._by_name.values() for kind in kinds}
        useful = (name for name, wanted in WANTED.items() if not kinds.isdisjoint(wanted))
        return (*useful, "PLAIN", "LOGIN")

    def _most_usual(self) -> HashedPassword | None:
        """A hash that takes as long to check as most of them."""
        checked = [kept for user in self._by_name if (kept := self.to_check(user))]
        efforts = Counter((kept.scheme, kept.effort) for kept in checked)
        usual = {effort for effort, _ in efforts.most_common(1)}
        return next((kept for kept in checked if (kept.scheme, kept.effort) in usual), None)


def user_name(text: str) -> str:
    """A user name in the form of SASLprep.

    Raises ValueError for one that clients could not show, or a file could not hold.
    """
    name = saslprep(text)
    if not name:
        raise ValueError("the name is empty")
    if len(name.encode()) > NAME_LIMIT:
        raise ValueError(f"the name is longer than {NAME_LIMIT} octets")
    if name.startswith("#") or not {":", " "}.isdisjoint(name):
        raise ValueError("a name holds no colon and no blank, and does not begin with '#'")
    return name


def _line(text: str) -> _Line:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError("there is no colon between a name and a hash")
    name = user_name(match["name"])
    if match["rest"].strip(":"):
        raise ValueError(f"{name}: extra fields of Dovecot are not known here")
    try:
        return _Line(name, HashedPassword.parse(match["kept"]))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
