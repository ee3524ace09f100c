"""Submission: users write under their own addresses, and their messages are completed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

from gatepost import (
    Address,
    AddressPatterns,
    Answer,
    Defer,
    Deny,
    Derived,
    Entries,
    Message,
    Note,
    Plugin,
    QueryFailed,
    Session,
    Site,
    SqlQuery,
    Transaction,
    Verdict,
    mailbox_list,
)

log = logging.getLogger(__name__)

#: What the query may ask for, and how many addresses of one user it may find.
PARAMETERS: Final = ("user", "local", "domain")
ROW_LIMIT: Final = 1000

#: What stands for the client that Received does not name (RFC 2606, 2: it is nobody's name).
HIDDEN: Final = "hidden.invalid"

FOREIGN_SENDER: Final = Deny("That sender address is not yours", code=553, status="5.7.1")
FOREIGN_AUTHOR: Final = Deny("The From or Sender field names an address that is not yours")
NOT_ONE_AUTHOR: Final = Deny("There must be one From field, and one Sender field at most")
UNCLEAR_AUTHOR: Final = Deny("The From or Sender field is no plain list of addresses")
UNKNOWN: Final = Defer("Your addresses cannot be looked up for now", status="4.3.0")

_NONE: Final = AddressPatterns()
_FROM_CLAUSE = re.compile(r"from .+?\s(?=by\s)", re.DOTALL)
_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|\S)+')


@dataclass
class Submission(Plugin):
    """Let users write under their own addresses only, and complete what they send (RFC 6409).

    The sender of a user who has authenticated must be an address of that user, and so must all
    that the fields From and Sender name.  Nobody else is concerned: a listener for submission says
    `require_auth = true`.

    Each line of `senders` is the name of a user, and what that user may send as.  A user may have
    several lines, and an address several users.

    | pattern | stands for |
    |---|---|
    | `bob@example.org` | this address |
    | `@example.org` | every address of this domain |
    | `.example.org` | those of every domain below it, but not of itself |
    | `*` | whatever there is, for applications |

    With `own_name`, a user whose name is an address may send as that, and any other user as that
    name at each of the `domains`.  Letter case makes no difference in names, nor in any part of an
    address as far as ASCII goes.  With `extension = "+"`, `bob+lists@example.org` belongs to whom
    `bob@example.org` belongs to.

    The addresses of a user may also stand in a database, where the first column of each row of the
    `query` is a pattern, as by `SELECT address FROM senders WHERE name = :user`.  Its parameters
    are `:user`, `:local`, what stands before the `@` of the name, and `:domain`, what stands behind
    it.  The `url` is one as in `auth_sql`.

    The null sender `<>` is anybody's, because notes that a message was read have it (RFC 8098, 3);
    their From field is looked at like any other.  A message must have one From field, and it must
    be plain who that is: groups, and whatever else mail programs understand in different ways, are
    refused.  So is a message that is sent again with its first author's From field.

    Date and Message-ID are added where they are missing, Bcc and Resent-Bcc are removed, and the
    empty line between header and body is put where it is missing.  With `hide_client`, the Received
    field tells `hidden.invalid` and not which client it was.

        user = "anne@example.org"
        [[plugin]]
        use = "submission"
        senders = ["anne@example.org sales@example.org @shop.example"]

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<bob@example.org>
        S: 553 5.7.1 That sender address is not yours
        C: MAIL FROM:<sales@example.org>
        S: 250 2.1.0 ...
    """

    senders: Entries | Iterable[str] = ()  #: lines of a user and what that user may send as
    own_name: bool = True  #: whether users may send as what they are called
    domains: Entries | Iterable[str] = ()  #: of the users whose names are no addresses
    extension: str = ""  #: the character that begins an extension of a local part; empty: none does
    url: str = field(default="", repr=False)  #: where a database of addresses is; empty: nowhere
    query: str = ""  #: what finds a user's addresses there
    hide_client: bool = False  #: keep the client's name and address out of the Received field
    relaying: bool = False  #: complete the messages of other clients that may relay, too

    def __post_init__(self) -> None:
        if len(self.extension) > 1 or self.extension.isalnum():
            raise ValueError("option 'extension' must be one character, and no letter or digit")
        if not (self.own_name or self.senders or self.url):
            raise ValueError("option 'senders' is missing: nobody could send anything")
        if (self.url == "") != (self.query == ""):
            raise ValueError("options 'url' and 'query' go together")
        self._senders = Derived(self.senders, _line, _by_user, option="senders")
        self._domains = Derived(self.domains, _domain, tuple[str, ...], option="domains")
        self._listed: Note[AddressPatterns | None] = Note(None)
        self._query = self._query_in(Path())
        self._hostname = "localhost"

    def startup(self, site: Site) -> None:
        self._query = self._query_in(site.directory)
        self._hostname = site.hostname

    async def shutdown(self, site: Site) -> None:
        if self._query is not None:
            await self._query.close()

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        if not transaction.session.user or sender.is_null:
            return None
        return self._judged(transaction, [sender], FOREIGN_SENDER)

    def headers(self, transaction: Transaction) -> Answer:
        if not self._completes(transaction.session):
            return None
        self._complete(transaction.message)
        return self._judged_authors(transaction) if transaction.session.user else None

    def received(self, transaction: Transaction, field: str) -> str:
        if not (self.hide_client and self._completes(transaction.session)):
            return field
        clause = _FROM_CLAUSE.match(field)
        if clause is None:
            raise RuntimeError("a plugin before this one has left no client in Received to hide")
        return f"from {HIDDEN}\r\n\t{field[clause.end() :]}"

    def _completes(self, session: Session) -> bool:
        return session.user != "" or (self.relaying and session.relaying)

    # -- Whose an address is ----------------------------------------------------------------------

    def _judged_authors(self, transaction: Transaction) -> Answer:
        headers = transaction.message.headers
        fields = [*headers.raw("From"), *headers.raw("Sender")]
        if headers.count("From") != 1 or len(fields) > 2:
            return NOT_ONE_AUTHOR
        try:
            named = [address for field in fields for address in mailbox_list(field)]
        except ValueError as error:
            transaction.found("submission", "fail", str(error))
            return UNCLEAR_AUTHOR
        return self._judged(transaction, named, FOREIGN_AUTHOR)

    def _judged(self, transaction: Transaction, named: list[Address], refusal: Deny) -> Answer:
        """The refusal, unless all addresses are the user's."""
        user = transaction.session.user
        owned = self._senders.current().get(user.lower(), _NONE)
        foreign = self._foreign(named, owned | self._called(user) if self.own_name else owned)
        if foreign and self._query is not None:
            return self._looked_up(self._query, transaction, foreign, refusal)
        return _told(transaction, foreign, refusal)

    async def _looked_up(
        self, query: SqlQuery, transaction: Transaction, named: list[Address], refusal: Deny
    ) -> Verdict | None:
        """The same, where nothing but the database can tell."""
        listed = transaction.notes[self._listed]
        if listed is None:
            try:
                listed = await _patterns_of(transaction.session.user, query)
            except QueryFailed as trouble:
                log.error("%s: addresses cannot be looked up: %s", transaction.id, trouble)
                return UNKNOWN
            transaction.notes[self._listed] = listed
        return _told(transaction, self._foreign(named, listed), refusal)

    def _foreign(self, named: Iterable[Address], owned: AddressPatterns) -> list[Address]:
        return [one for one in named if not owned.cover(one, extension=self.extension)]

    def _called(self, user: str) -> AddressPatterns:
        """What belongs to users because they are called so."""
        local, at, domain = user.partition("@")
        domains = (domain,) if at else self._domains.current()
        try:
            return AddressPatterns.of(Address(local, domain) for domain in domains)
        except ValueError:
            return _NONE

    def _query_in(self, directory: Path) -> SqlQuery | None:
        if not self.url:
            return None
        query = SqlQuery(self.url, self.query, parameters=PARAMETERS, directory=directory)
        if not {"user", "local"} & query.names:
            raise ValueError("option 'query' must have :user or :local in it")
        return query

    # -- What a message lacks ---------------------------------------------------------------------

    def _complete(self, message: Message) -> None:
        """Put the message into the form that it ought to have (RFC 6409, 8)."""
        headers = message.headers
        headers.remove("Bcc")
        headers.remove("Resent-Bcc")
        if not headers.get("Date"):
            headers.replace("Date", format_datetime(datetime.now(UTC)))
        if not headers.get("Message-ID"):
            headers.replace("Message-ID", f"<{token_hex(16)}@{self._hostname}>")
        message.separated = True


def _told(transaction: Transaction, foreign: list[Address], refusal: Deny) -> Deny | None:
    if not foreign:
        return None
    whose = f"{foreign[0]} does not belong to {transaction.session.user}"
    transaction.found("submission", "fail", whose)
    return refusal


async def _patterns_of(user: str, query: SqlQuery) -> AddressPatterns:
    """What the database says that a user may send as.  Raises QueryFailed."""
    local, _, domain = user.partition("@")
    values = {"user": user, "local": local, "domain": domain}
    rows = await query.rows(values, most=ROW_LIMIT + 1)
    if len(rows) > ROW_LIMIT:
        raise QueryFailed(f"more than {ROW_LIMIT} rows for {user!r}")
    try:
        return AddressPatterns(_text(row[0]) for row in rows if row[0] is not None)
    except ValueError as error:
        raise QueryFailed(f"what is listed for {user!r}: {error}") from None


def _text(value: object) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise QueryFailed(f"a column is of the type {type(value).__name__} and no text")
    return text


def _line(text: str) -> tuple[str, AddressPatterns]:
    user, *patterns = _WORD.findall(text)
    if not patterns:
        raise ValueError("no address behind the name of the user")
    if user.startswith('"') and user.endswith('"'):
        user = re.sub(r"\\(.)", r"\1", user[1:-1])
    return user.lower(), AddressPatterns(patterns)


def _by_user(lines: Iterable[tuple[str, AddressPatterns]]) -> dict[str, AddressPatterns]:
    table: dict[str, AddressPatterns] = {}
    for user, patterns in lines:
        table[user] = table.get(user, _NONE) | patterns
    return table


def _domain(text: str) -> str:
    return Address.of(f"postmaster@{text}").ascii_domain
