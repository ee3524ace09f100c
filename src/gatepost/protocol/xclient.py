"""What XCLIENT and XFORWARD tell of a client whom somebody else has talked to.

Postfix's XCLIENT_README and XFORWARD_README define them.  XCLIENT makes the server take the client
for another one; what XFORWARD tells is for the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Literal, TypeAlias

from gatepost.protocol.hello_name import is_hello_name
from gatepost.protocol.xtext import decode_xtext

Attributes: TypeAlias = tuple[tuple[str, str], ...]

#: Characters of a value, decoded (XFORWARD_README, note 1).
VALUE_LIMIT: Final = 255
#: Characters of the name of a protocol (XFORWARD_README).
PROTOCOL_LIMIT: Final = 64

_UNAVAILABLE = "[UNAVAILABLE]"
_PENDING = "[TEMPUNAVAIL]"
_IPV6 = "IPV6:"
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
#: What would mean something in a header field (XFORWARD_README, note 1); `[`, `]` and `:` stand in
#: addresses and are taken.
_SPECIAL = re.compile(r'[ <>()\\";@]')


class InvalidAttribute(ValueError):
    """An attribute that earns a refusal; its words can stand in the reply."""


@dataclass(frozen=True, slots=True)
class XClientFacts:
    """What XCLIENT tells: None where it says nothing, empty or 0 where it says "unavailable"."""

    name: str | None = None  #: what DNS calls the client
    #: `name` is empty because DNS gave no answer this time, not because there is no name
    name_is_pending: bool = False
    address: str | None = None  #: the client's IP address
    port: int | None = None  #: the client's port
    protocol: Literal["SMTP", "ESMTP"] | None = None  #: how the client has greeted: HELO or EHLO
    hello: str | None = None  #: the name that the client has given itself
    login: str | None = None  #: whom the proxy has authenticated
    destination_address: str | None = None  #: the IP address that the client connected to
    destination_port: int | None = None  #: the port that the client connected to


@dataclass(frozen=True, slots=True)
class XForwardFacts:
    """What XFORWARD tells: None where it says nothing, empty or 0 where it says "unavailable"."""

    name: str | None = None  #: the client's host name, of DNS or another
    address: str | None = None  #: the client's address, normally of IP
    port: int | None = None  #: the client's port
    protocol: str | None = None  #: how the message came, SMTP or otherwise
    hello: str | None = None  #: the name that the client has given itself
    identifier: str | None = None  #: what the message is called by whom it came to
    source: Literal["", "LOCAL", "REMOTE"] | None = None  #: whether it began its way there


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row of the tables: where an attribute's value goes, and what it may be."""

    field: str  #: of XClientFacts or XForwardFacts
    read: Callable[[str], object]  #: from decoded text to value; ValueError: bad
    unavailable: object = None  #: the value for `[UNAVAILABLE]`; None: that must not be said
    pending: str = ""  #: the field that is True for `[TEMPUNAVAIL]`; empty: that must not be said


def parse_xclient(pairs: Attributes) -> XClientFacts:
    """Read the attributes of XCLIENT, values still in xtext.  Raises InvalidAttribute."""
    return XClientFacts(**_values(pairs, XCLIENT_ATTRIBUTES))


def parse_xforward(pairs: Attributes) -> XForwardFacts:
    """Read the attributes of XFORWARD, values still in xtext.  Raises InvalidAttribute."""
    return XForwardFacts(**_values(pairs, XFORWARD_ATTRIBUTES))


def _values(pairs: Attributes, table: Mapping[str, Attribute]) -> dict[str, Any]:
    """All values by field."""
    values: dict[str, Any] = {}
    for word, text in pairs:
        if not (word.isascii() and word.isalpha()):
            raise InvalidAttribute("Malformed attribute")
        name = word.upper()
        attribute = table.get(name)
        if attribute is None:
            raise InvalidAttribute(f"Attribute {name:.40} is not known here")
        if attribute.field in values:
            raise InvalidAttribute(f"{name} is given twice")
        try:
            values |= _read(text, attribute)
        except ValueError:
            raise InvalidAttribute(f"Bad value of {name}") from None
    return values


def _read(text: str, attribute: Attribute) -> dict[str, object]:
    """The value that a text stands for, by its field."""
    value = decode_xtext(text)
    if not 0 < len(value) <= VALUE_LIMIT:
        raise ValueError(value)
    if value.upper() == _UNAVAILABLE and attribute.unavailable is not None:
        return {attribute.field: attribute.unavailable}
    if value.upper() == _PENDING and attribute.pending:
        return {attribute.field: attribute.unavailable, attribute.pending: True}
    return {attribute.field: attribute.read(value)}


def _one_of(*choices: str) -> Callable[[str], str]:
    """A reader for a value that is one of these words, in any case."""

    def read(value: str) -> str:
        if value.upper() not in choices:
            raise ValueError(value)
        return value.upper()

    return read


def _read_as_it_is(value: str) -> str:
    return value


def _read_host_name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value) or _is_ip(value):
        raise ValueError(value)
    return value


def _read_hello(value: str) -> str:
    if not is_hello_name(value):
        raise ValueError(value)
    return value


def _read_ip(value: str) -> str:
    """An address in the form that Python gives it; one of IPv6 has to be marked as such."""
    marked = value.upper().startswith(_IPV6)
    address = ip_address(value[len(_IPV6) :] if marked else value)
    if "%" in value or isinstance(address, IPv6Address) != marked:  # a zone means nothing to us
        raise ValueError(value)
    # That of an IPv4 client on a socket for both families is an address of IPv4.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _is_ip(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _read_port(value: str) -> int:
    if not _PORT.fullmatch(value) or int(value) > 65535:
        raise ValueError(value)
    return int(value)


def _read_plain(value: str) -> str:
    """Text that may stand in a header field without quotes."""
    if _SPECIAL.search(value):
        raise ValueError(value)
    return value


def _read_any_address(value: str) -> str:
    """An address of any kind; one of IP as XCLIENT has it."""
    if value.upper().startswith(_IPV6) or _is_ip(value):
        return _read_ip(value)
    return _read_plain(value)


def _read_any_protocol(value: str) -> str:
    if len(value) > PROTOCOL_LIMIT:
        raise ValueError(value)
    return _read_plain(value)


# fmt: off
XCLIENT_ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    "NAME":     Attribute("name", _read_host_name, "", pending="name_is_pending"),
    "ADDR":     Attribute("address", _read_ip, ""),
    "PORT":     Attribute("port", _read_port, 0),
    "PROTO":    Attribute("protocol", _one_of("SMTP", "ESMTP")),
    "HELO":     Attribute("hello", _read_hello, ""),
    "LOGIN":    Attribute("login", _read_as_it_is, ""),
    "DESTADDR": Attribute("destination_address", _read_ip, ""),
    "DESTPORT": Attribute("destination_port", _read_port, 0),
}

XFORWARD_ATTRIBUTES: Final[Mapping[str, Attribute]] = {
    "NAME":   Attribute("name", _read_plain, ""),
    "ADDR":   Attribute("address", _read_any_address, ""),
    "PORT":   Attribute("port", _read_port, 0),
    "PROTO":  Attribute("protocol", _read_any_protocol, ""),
    "HELO":   Attribute("hello", _read_plain, ""),
    "IDENT":  Attribute("identifier", _read_plain, ""),
    "SOURCE": Attribute("source", _one_of("LOCAL", "REMOTE"), ""),
}
# fmt: on
