"""Mailboxes: whom a From or Sender field names, never by a guess (RFC 5322, 3.4)."""

from __future__ import annotations

import re

from gatepost.address import Address

#: Octets of the longest field that is read.
FIELD_LIMIT = 65_536

_FOLD = re.compile(r"\r\n(?=[ \t])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
#: What some readers end an address at, quotes or not.
_SEPARATOR = re.compile(r"[<>@,;]")
#: Blanks and comments; one comment within another is more than some readers understand.
_BLANKS = r"(?:[ \t]|\((?:[^()\\]|\\.)*\))*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
# A dot is none of an atom's (RFC 5322, 3.2.3), but everybody writes `John Q. Public` (4.1).
_DOTTED = r'[^\t ()<>\[\]:;@\\,"]++'
_WORD = rf"(?:{_DOTTED}|{_QUOTED})"
# RFC 5322, 3.4.1 advises against blanks and comments around the `@`; here they are an error.
_ADDRESS = rf"({_WORD}@(?:{_DOTTED}|\[[^\[\]\\ ]*+\]))"
_END = rf"{_BLANKS}(,|\Z)"
_NAMELESS = re.compile(rf"{_BLANKS}{_ADDRESS}{_END}")
_NAMED = re.compile(rf"{_BLANKS}(?:{_WORD}{_BLANKS})*<{_ADDRESS}>{_END}")


def mailbox_list(field: bytes) -> tuple[Address, ...]:
    """The mailboxes of a field that `Headers.raw` gave, at least one.

    Names and comments are skipped as they came: what an encoded word hides is no address.  Raises
    ValueError for everything else than a list of mailboxes, and for what readers are known to
    understand in different ways: groups, source routes, comments within comments or within an
    address, an address in place of a name or in quotes, empty places in the list, control
    characters, octets that are not UTF-8.
    """
    text = _text(field)
    addresses: list[Address] = []
    position, more = 0, ","
    while more:
        match = _NAMELESS.match(text, position) or _NAMED.match(text, position)
        if match is None:
            raise ValueError("no list of mailboxes")
        addresses.append(_address(match[1]))
        position, more = match.end(), match[2]
    return tuple(addresses)


def _address(text: str) -> Address:
    address = Address.parse(text, utf8=True)
    if "=?" in text or _SEPARATOR.search(address.local):
        raise ValueError("an address that hides another")
    return address


def _text(field: bytes) -> str:
    """What stands behind the colon, unfolded."""
    if len(field) > FIELD_LIMIT:
        raise ValueError("a field of more octets than anybody reads")
    text = field[field.index(b":") + 1 :].decode("utf-8").removesuffix("\r\n")
    text = _FOLD.sub("", text)
    if _CONTROL.search(text):
        raise ValueError("a control character")
    return text
