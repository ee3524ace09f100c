"""Address: one mailbox of an envelope, as it stands in MAIL and RCPT (RFC 5321, 4.1.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, Literal, Self, TypeAlias

import idna

#: Octets of a local part, its quotes included (RFC 5321, 4.5.3.1.1).
LOCAL_LIMIT: Final = 64
#: A local part of so many ASCII characters is within the limit, however many need a backslash.
_SHORT: Final = (LOCAL_LIMIT - 2) // 2
#: Octets of a label of a domain (RFC 1035, 2.3.4).
LABEL_LIMIT: Final = 63
#: Octets of a path, its angle brackets included (RFC 5321, 4.5.3.1.3).
PATH_LIMIT: Final = 256

#: What is wrong with an address: its syntax, or that it needs SMTPUTF8 (RFC 3463, 3.2; RFC 5248).
AddressStatus: TypeAlias = Literal["5.1.3", "5.6.7"]

_ASCII_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++"
_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff]++"
_LABEL = r"[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PLAIN = re.compile(rf"({_ASCII_ATOM}(?:\.{_ASCII_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")
_QUOTED = re.compile(r'"((?:[^\x00-\x1f"\\\x7f]|\\[\x20-\x7e])*)"@')
_QUOTED_PAIR = re.compile(r"\\(.)")
_TO_QUOTE = re.compile(r'(["\\])')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_new = object.__new__
_set = object.__setattr__
_UPPER = {ord(upper): upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class InvalidAddress(ValueError):
    """A text that is no address; its words can stand in a reply, for they repeat nothing of it."""

    def __init__(self, message: str, status: AddressStatus = "5.1.3") -> None:
        super().__init__(message)
        self.status: AddressStatus = status


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """One mailbox of an envelope; `Address("", "")` is the null path `<>`.

    Two addresses are equal when their local parts are the same, case included, and their domains
    name the same place: letter case, U-labels and A-labels make no difference there.

    Raises InvalidAddress for what no path can spell: an address cannot hold control characters.
    """

    local: str  #: without quotes and backslashes, case as sent
    domain: str  #: case as sent; `[192.0.2.1]` for a literal; empty for `<>` and `<Postmaster>`

    def __post_init__(self) -> None:
        local, domain = self.local, self.domain
        if not domain:
            if local and local.lower() != "postmaster":
                raise InvalidAddress("The domain is missing")
            return
        _check_domain(domain)
        if not local.isprintable() and _CONTROL.search(local):
            raise InvalidAddress("Control characters in the local part")
        if len(local) > _SHORT or len(domain) > LABEL_LIMIT or not (local + domain).isascii():
            self._check_lengths()

    @classmethod
    def parse(cls, text: str, *, utf8: bool = False) -> Self:
        """Read what stands between the angle brackets of a path; an empty text is the null path.

        A source route is checked and dropped (RFC 5321, appendix C).  `utf8` says whether the
        client asked for SMTPUTF8 (RFC 6531, 3.3).  Raises InvalidAddress.
        """
        if len(text) <= LABEL_LIMIT and (match := _PLAIN.fullmatch(text)):
            return cls._checked(match[1], match[2])
        if not text:
            return cls("", "")
        if len(text) > PATH_LIMIT - 2:
            raise InvalidAddress("The path is too long")
        if not text.isascii():
            _check_international(text, utf8=utf8)
        if text[0] == "@":
            text = _without_route(text)
        if text.startswith('"'):
            return cls(*_split_quoted(text))
        local, at, domain = text.partition("@")
        if not _DOT_STRING.fullmatch(local):
            raise InvalidAddress("The local part needs quotes" if local else "No local part")
        if at and not domain:
            raise InvalidAddress("The domain is missing")
        return cls(local, domain)

    @classmethod
    def _checked(cls, local: str, domain: str) -> Self:
        """Make an address of parts that a pattern has found right, without a second look."""
        address = _new(cls)
        _set(address, "local", local)
        _set(address, "domain", domain)
        return address

    @classmethod
    def of(cls, text: str) -> Self:
        """Read an address as people write it, with or without angle brackets.

        Raises InvalidAddress.
        """
        inner = text[1:-1] if text.startswith("<") and text.endswith(">") else text
        return cls.parse(inner, utf8=True)

    @property
    def is_null(self) -> bool:
        """Whether this is the null path `<>`, from which notifications come (RFC 5321, 4.5.5)."""
        return not self.local and not self.domain

    @property
    def ascii_domain(self) -> str:
        """The domain for lookups and comparison: lower case, every label in ASCII (RFC 5890)."""
        domain = self.domain
        return domain.lower() if domain.isascii() else _a_labels(domain)

    @property
    def mailbox(self) -> str:
        """The address without angle brackets, its local part in quotes where it needs them."""
        local = self.local
        if not self.domain:
            return local
        if local.isalnum() or _DOT_STRING.fullmatch(local):
            return f"{local}@{self.domain}"
        quoted = _TO_QUOTE.sub(r"\\\1", local)
        return f'"{quoted}"@{self.domain}'

    def __str__(self) -> str:
        return f"<{self.mailbox}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return self.local == other.local and (
            self.domain == other.domain or self.ascii_domain == other.ascii_domain
        )

    def __hash__(self) -> int:
        return hash((self.local, self.ascii_domain))

    def _check_lengths(self) -> None:
        """Raise InvalidAddress for what is longer than RFC 5321, 4.5.3.1 lets a client send."""
        path = len(self.mailbox.encode()) + 2
        if path - len(self.domain.encode()) - 3 > LOCAL_LIMIT:
            raise InvalidAddress("The local part is too long")
        if path > PATH_LIMIT:
            raise InvalidAddress("The path is too long")


def _check_international(text: str, *, utf8: bool) -> None:
    if not utf8:
        raise InvalidAddress("Other characters than ASCII need SMTPUTF8", "5.6.7")
    if len(text.encode("utf-8", "replace")) > PATH_LIMIT - 2:
        raise InvalidAddress("The path is too long")


def _without_route(text: str) -> str:
    """The mailbox behind a source route `@one.example,@two.example:` (RFC 5321, 4.1.2)."""
    route, colon, mailbox = text.partition(":")
    if not colon or not mailbox:
        raise InvalidAddress("A source route without a mailbox")
    for hop in route.split(","):
        if not hop.startswith("@") or hop.startswith("@["):
            raise InvalidAddress("The source route is malformed")
        _check_domain(hop[1:])
    if "@" not in mailbox:
        raise InvalidAddress("The domain is missing")
    return mailbox


def _split_quoted(text: str) -> tuple[str, str]:
    """The decoded local part and the domain of a mailbox that begins with a quotation mark."""
    match = _QUOTED.match(text)
    if match is None or match.end() == len(text):
        raise InvalidAddress("The quoted local part is malformed, or the domain is missing")
    return _QUOTED_PAIR.sub(r"\1", match[1]), text[match.end() :]


def _check_domain(domain: str) -> None:
    if _DOMAIN.fullmatch(domain):
        if len(domain) > LABEL_LIMIT and max(map(len, domain.split("."))) > LABEL_LIMIT:
            raise InvalidAddress("A label of the domain is too long")
    elif domain.startswith("["):
        _check_literal(domain)
    elif domain.isascii():
        raise InvalidAddress("The domain is malformed")
    else:
        _a_labels(domain)


def _check_literal(domain: str) -> None:
    """Raise InvalidAddress unless it is `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3)."""
    inner = domain[1:-1]
    try:
        if not domain.endswith("]"):
            raise AddressValueError("no closing bracket")
        if inner[:5].lower() != "ipv6:":
            IPv4Address(inner)
        elif IPv6Address(inner[5:]).scope_id is not None:
            raise AddressValueError("a zone has no meaning on another host")
    except AddressValueError:
        raise InvalidAddress("The address literal is malformed") from None


@lru_cache(maxsize=4096)
def _a_labels(domain: str) -> str:
    """The A-labels of an internationalised domain, in lower case (RFC 5891, 4).

    Only ASCII letters are lowered before: folding the others could turn one name into another
    (U+212A becomes a plain `k`), and a U-label has no capitals (RFC 5890, 2.3.2.1).
    """
    try:
        if domain.endswith("."):
            raise idna.IDNAError("trailing dot")
        return idna.encode(domain.translate(_UPPER), strict=True).decode("ascii")
    except UnicodeError:  # IDNAError is one
        raise InvalidAddress("The internationalised domain is malformed") from None
