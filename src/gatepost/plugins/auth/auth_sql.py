"""Users in an SQL database: SQLite or PostgreSQL."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from gatepost import (
    Accept,
    Credentials,
    Defer,
    Deny,
    HashedPassword,
    Note,
    Password,
    PlainSecret,
    Plugin,
    Pool,
    PoolBusy,
    Proven,
    QueryFailed,
    Remembered,
    Secret,
    Session,
    Site,
    SqlQuery,
    Verdict,
)

log = logging.getLogger(__name__)

Mechanism: TypeAlias = Literal["PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]

#: What a query may ask for.
PARAMETERS: Final = ("user", "local", "domain")


@dataclass
class AuthSql(Plugin):
    """Ask a database what a user's password is checked against.

    The first column of the `query` is the password as it is kept: a hash of any scheme that
    `auth_file` knows, SCRAM keys, or a plain secret.  The second, if there is one and it is not
    empty, is the name to know the user by.  No row, or NULL in the first column, leaves the user to
    the next plugin.  A wrong password denies.  Two rows or more defer, as does a database that
    cannot be asked, and what is no hash.

        [[plugin]]
        use = "auth_sql"
        url = "sqlite:///mail.db"
        query = "SELECT password, name FROM users WHERE lower(name) = lower(:user) AND active"

    Parameters of the query are `:user`, the name that the client gave, `:local`, what stands before
    its `@`, and `:domain`, what stands behind it, or nothing.  They are bound, not pasted.

    | `url` | the database |
    |---|---|
    | `sqlite:///mail.db` | a file beside the configuration |
    | `sqlite:////var/lib/mail.db` | a file |
    | `postgresql://gatepost:secret@db.example/mail?sslmode=verify-full` | PostgreSQL |

    Nothing is ever written.  PostgreSQL needs `pip install 'gatepost[postgres]'`.

    Let `offer` name what all users' passwords are good for: hashes for PLAIN and LOGIN, SCRAM keys
    for the SCRAM of their digest, too, and plain secrets for all of them.

    Passwords are checked in a few threads, and right ones are remembered for a moment, as keyed
    hashes; a password that is changed in the database is not right any more.  An unknown user takes
    as long as most of those who have been asked for: keep hashes of one scheme, with the same
    parameters.
    """

    url: str = field(repr=False)  #: where the database is
    query: str  #: what finds a user's password
    offer: tuple[Mechanism, ...] = ("PLAIN", "LOGIN")  #: mechanisms to offer
    remember: float = 60.0  #: seconds for which a right password is not checked again
    threads: int = 0  #: that check passwords at the same time; 0: as many as there are processors
    wait: float = 10.0  #: seconds for one query; let it be less than `timeout`
    at_once: int = 4  #: queries at the same time; more wait for their turn

    def __post_init__(self) -> None:
        for option, number in ("remember", self.remember), ("threads", self.threads):
            if number < 0:
                raise ValueError(f"option {option!r} must be 0 or more")
        if self.wait <= 0 or self.at_once <= 0:
            raise ValueError("options 'wait' and 'at_once' must be more than 0")
        if not self.offer:
            raise ValueError("option 'offer' must name at least one mechanism")
        self._pool = Pool(self.threads or os.cpu_count() or 1)
        self._remembered = Remembered(self.remember)
        self._seen: deque[HashedPassword] = deque(maxlen=100)
        self._supplied: Note[tuple[str, str, str]] = Note(("", "", ""))
        self._query = self._query_in(Path())
        if not {"user", "local"} & self._query.names:
            raise ValueError("option 'query' must have :user or :local in it")

    def startup(self, site: Site) -> None:
        self._query = self._query_in(site.directory)

    async def shutdown(self, site: Site) -> None:
        self._pool.close()
        await self._query.close()

    def _query_in(self, directory: Path) -> SqlQuery:
        return SqlQuery(
            self.url,
            self.query,
            parameters=PARAMETERS,
            directory=directory,
            wait=self.wait,
            at_once=self.at_once,
        )

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, *self.offer)

    async def secret(self, session: Session, user: str, mechanism: str) -> Secret | None:
        account = await self._account(user)
        secret = account.kept.secret if account else None
        if account is None or secret is None or not _is_for(mechanism, secret):
            return None
        session.notes[self._supplied] = (user, mechanism, account.name)
        return secret

    async def auth(self, session: Session, credentials: Credentials) -> Verdict | None:
        if isinstance(credentials, Proven):
            user, mechanism, name = session.notes[self._supplied]
            if (user, mechanism) == (credentials.user, credentials.mechanism.removesuffix("-PLUS")):
                credentials.user = name
            return None
        if not isinstance(credentials, Password):
            return None
        try:
            account = await self._account(credentials.user)
            return await self._checked(account, credentials)
        except (QueryFailed, PoolBusy) as trouble:
            log.error("%s: the password cannot be checked: %s", session.id, trouble)
            return Defer()

    async def _account(self, user: str) -> _Account | None:
        """What the database says of a user.  Raises QueryFailed."""
        local, _, domain = user.partition("@")
        rows = await self._query.rows({"user": user, "local": local, "domain": domain})
        if len(rows) > 1:
            raise QueryFailed(f"the query finds several rows for {user!r}")
        if not rows or rows[0][0] is None:
            return None
        texts = [_text(value) for value in rows[0][:2]]
        try:
            kept = HashedPassword.parse(texts[0])
        except ValueError as error:
            raise QueryFailed(f"what is kept for {user!r}: {error}") from None
        self._seen.append(kept)
        return _Account(kept, texts[0], "".join(texts[1:]) or user)

    async def _checked(self, account: _Account | None, shown: Password) -> Verdict | None:
        if account is None:
            await self._pool.run(self._check_nothing, shown.password)
            return None
        shown_and_kept = f"{account.text}\0{shown.password}"
        if not self._remembered.knows(shown.user, shown_and_kept):
            if not await self._pool.run(account.kept.verify, shown.password):
                return Deny()
            self._remembered.remember(shown.user, shown_and_kept)
        shown.user = account.name
        return Accept()

    def _check_nothing(self, password: str) -> None:
        """Take as long as most of the checks of late, or, without any, as that of a new hash."""
        seen = {(kept.scheme, kept.effort): kept for kept in self._seen}
        efforts = Counter((kept.scheme, kept.effort) for kept in self._seen)
        for effort, _ in efforts.most_common(1):
            seen[effort].verify(password)
        if not seen:
            HashedPassword.make("nobody's")


class _Account(NamedTuple):
    kept: HashedPassword
    text: str  #: as the database has it
    name: str  #: to know the user by


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise QueryFailed(f"a column is of the type {type(value).__name__} and no text")


def _is_for(mechanism: str, secret: Secret) -> bool:
    if isinstance(secret, PlainSecret):
        return True
    return mechanism == {"sha1": "SCRAM-SHA-1", "sha256": "SCRAM-SHA-256"}[secret.digest]
