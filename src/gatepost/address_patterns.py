"""AddressPatterns: addresses that are meant, one by one, by their domains, or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self, TypeAlias

from gatepost.address import Address
from gatepost.domain_list import domain_entry, entries_covering

#: A local part and a domain, or a `.suffix` of domains; None is "any".
_Pattern: TypeAlias = tuple[str | None, str | None]

_CAPITALS = {ord(capital): capital.lower() for capital in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


class AddressPatterns:
    """Addresses that patterns stand for; to ask costs the same however many patterns there are.

    | pattern | stands for |
    |---|---|
    | `bob@example.org` | this address |
    | `@example.org` | every address of this domain |
    | `.example.org` or `@.example.org` | those of every domain below it, but not of itself |
    | `*` | every address |

    Letter case makes no difference in ASCII, and the spelling of an internationalised domain makes
    none.  Other letters are not folded: that could make one address of two.

    Raises ValueError for what is no pattern.
    """

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = frozenset(map(_pattern, patterns))

    @classmethod
    def of(cls, addresses: Iterable[Address]) -> Self:
        """These addresses and no other."""
        made = cls()
        made._patterns = frozenset(map(_exactly, addresses))
        return made

    def __or__(self, other: AddressPatterns) -> AddressPatterns:
        both = AddressPatterns()
        both._patterns = self._patterns | other._patterns
        return both

    def cover(self, address: Address, *, extension: str = "") -> bool:
        """Whether a pattern stands for an address.

        With `extension="+"`, what covers `bob@example.org` covers `bob+lists@example.org`, too.
        """
        return not self._patterns.isdisjoint(_covering(address, extension))


def _pattern(text: str) -> _Pattern:
    if text == "*":
        return None, None
    if text.startswith(("@", ".")):
        return None, domain_entry(text.removeprefix("@"))
    try:
        address = Address.of(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no address ({error}); for a domain write '@example.org'"
        ) from error
    if not address.domain:
        raise ValueError(f"{text!r} is nobody's address")
    return _exactly(address)


def _exactly(address: Address) -> tuple[str, str]:
    return _lower(address.local), address.ascii_domain


def _covering(address: Address, extension: str) -> Iterator[_Pattern]:
    """Every pattern that would cover an address."""
    local, domain = _exactly(address)
    yield local, domain
    if extension and extension in local:
        yield local.partition(extension)[0], domain
    for entry in entries_covering(domain):
        yield None, entry
    yield None, None


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_CAPITALS)
