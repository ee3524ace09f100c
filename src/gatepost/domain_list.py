"""DomainList: domains that a list names, one by one or with all that is below them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatepost.address import Address
from gatepost.derived import Derived


class DomainList:
    """Domains that entries name, ready to be asked; to ask costs the same however many they are.

    `example.org` is that domain alone, `.example.org` is everything below it but not itself,
    `[192.0.2.1]` is that address literal as it is written.  Letter case makes no difference, nor
    does it whether an internationalised domain stands in U-labels or A-labels.

    Raises ValueError, naming `option`, for entries that are no domains.
    """

    __slots__ = ("_listed",)

    def __init__(self, entries: Iterable[str], *, option: str) -> None:
        self._listed = Derived(entries, domain_entry, frozenset[str], option=option)

    def covers(self, address: Address) -> bool:
        """Whether the domain of an address is one of these; one without a domain never is."""
        return not self._listed.current().isdisjoint(entries_covering(address.ascii_domain))


def domain_entry(text: str) -> str:
    """A domain, or a `.suffix`, in the spelling that comparison wants.

    Raises ValueError.
    """
    if text.startswith("*."):
        raise ValueError(f"for everything below a domain write {text[1:]!r}")
    dot, domain = (".", text[1:]) if text.startswith(".") else ("", text)
    if not domain or (dot and domain.startswith("[")):
        raise ValueError("no domain")
    return dot + Address("postmaster", domain).ascii_domain


def entries_covering(domain: str) -> Iterator[str]:
    """Every entry that would cover a domain: its own name, then `.suffix` for each one above it."""
    yield domain
    dot = domain.find(".") if not domain.startswith("[") else -1
    while dot >= 0:
        yield domain[dot:]
        dot = domain.find(".", dot + 1)
