"""Submission: users write under their own addresses, and their messages are completed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from secrets import token_hex
from typing import Final, TypeAlias

from gatepost import (
    Address,
    Deny,
    Derived,
    Entries,
    Message,
    Plugin,
    Session,
    Site,
    Transaction,
    mailbox_list,
)

#: What stands for the client that Received does not name (RFC 2606, 2: it is nobody's name).
HIDDEN: Final = "hidden.invalid"

FOREIGN_SENDER: Final = Deny("That sender address is not yours", code=553, status="5.7.1")
FOREIGN_AUTHOR: Final = Deny("The From or Sender field names an address that is not yours")
NOT_ONE_AUTHOR: Final = Deny("There must be one From field, and one Sender field at most")
UNCLEAR_AUTHOR: Final = Deny("The From or Sender field is no plain list of addresses")

#: A local part and a domain, or a `.suffix` of domains; None is "any".
_Pattern: TypeAlias = tuple[str | None, str | None]
_Patterns: TypeAlias = frozenset[_Pattern]

_NONE: Final[_Patterns] = frozenset()
_FROM_CLAUSE = re.compile(r"from .+?\s(?=by\s)", re.DOTALL)
_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|\S)+')
_CAPITALS = {ord(capital): capital.lower() for capital in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


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
    name at each of the `domains`.  Letter case makes no difference, in no part of an address or a
    name, as far as it is that of ASCII.  With `extension = "+"`, `bob+lists@example.org` belongs to
    whomever `bob@example.org` belongs to.

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
    hide_client: bool = False  #: keep the client's name and address out of the Received field
    relaying: bool = False  #: complete the messages of other clients that may relay, too

    def __post_init__(self) -> None:
        if len(self.extension) > 1 or self.extension.isalnum():
            raise ValueError("option 'extension' must be one character, and no letter or digit")
        self._senders = Derived(self.senders, _line, _by_user, option="senders")
        self._domains = Derived(self.domains, _domain, tuple[str, ...], option="domains")
        if not (self.own_name or self.senders):
            raise ValueError("option 'senders' is missing: nobody could send anything")
        self._hostname = "localhost"

    def startup(self, site: Site) -> None:
        self._hostname = site.hostname

    def mail(self, transaction: Transaction, sender: Address) -> Deny | None:
        user = transaction.session.user
        if not user or sender.is_null:
            return None
        return self._refusal(transaction, [sender], FOREIGN_SENDER)

    def headers(self, transaction: Transaction) -> Deny | None:
        if not self._completes(transaction.session):
            return None
        if transaction.session.user and (refusal := self._refusal_of_authors(transaction)):
            return refusal
        self._complete(transaction.message)
        return None

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

    def _refusal_of_authors(self, transaction: Transaction) -> Deny | None:
        headers = transaction.message.headers
        fields = [*headers.raw("From"), *headers.raw("Sender")]
        if headers.count("From") != 1 or len(fields) > 2:
            return NOT_ONE_AUTHOR
        try:
            named = [address for field in fields for address in mailbox_list(field)]
        except ValueError as error:
            transaction.found("submission", "fail", str(error))
            return UNCLEAR_AUTHOR
        return self._refusal(transaction, named, FOREIGN_AUTHOR)

    def _refusal(
        self, transaction: Transaction, addresses: Iterable[Address], refusal: Deny
    ) -> Deny | None:
        """The refusal, if one of the addresses is not the user's."""
        user = transaction.session.user
        owned = self._owned(user)
        for address in addresses:
            if owned.isdisjoint(self._covering(address)):
                transaction.found("submission", "fail", f"{address} does not belong to {user}")
                return refusal
        return None

    def _owned(self, user: str) -> _Patterns:
        owned = self._senders.current().get(_lower(user), _NONE)
        return owned | self._named(user) if self.own_name else owned

    def _named(self, user: str) -> _Patterns:
        """What belongs to users because they are called so."""
        local, at, domain = user.rpartition("@")
        if not at:
            return frozenset((_lower(user), domain) for domain in self._domains.current())
        try:
            return frozenset([(_lower(local), _domain(domain))])
        except ValueError:
            return _NONE

    def _covering(self, address: Address) -> Iterator[_Pattern]:
        """Every pattern that would cover an address."""
        local, domain = _lower(address.local), address.ascii_domain
        yield local, domain
        if self.extension and self.extension in local:
            yield local.partition(self.extension)[0], domain
        yield None, domain
        yield from ((None, domain[dot.start() :]) for dot in re.finditer(r"\.", domain))
        yield None, None

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


def _line(text: str) -> tuple[str, _Patterns]:
    user, *patterns = _WORD.findall(text)
    if not patterns:
        raise ValueError("no address behind the name of the user")
    if user.startswith('"') and user.endswith('"'):
        user = re.sub(r"\\(.)", r"\1", user[1:-1])
    return _lower(user), frozenset(map(_pattern, patterns))


def _by_user(lines: Iterable[tuple[str, _Patterns]]) -> dict[str, _Patterns]:
    table: dict[str, _Patterns] = {}
    for user, patterns in lines:
        table[user] = table.get(user, _NONE) | patterns
    return table


def _pattern(text: str) -> _Pattern:
    if text == "*":
        return None, None
    if text.startswith("."):
        return None, f".{_domain(text[1:])}"
    if text.startswith("@"):
        return None, _domain(text[1:])
    try:
        address = Address.of(text)
        return _lower(address.local), _domain(address.domain)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no address ({error}); for a domain write '@example.org'"
        ) from error


def _domain(text: str) -> str:
    if not text:
        raise ValueError("no domain")
    return Address("postmaster", text).ascii_domain


def _lower(text: str) -> str:
    """In small letters, as far as ASCII goes: the others would make one name of two."""
    return text.lower() if text.isascii() else text.translate(_CAPITALS)
