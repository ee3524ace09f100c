"""DomainList: which domains a list covers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Address, DomainList, Entries
from gatepost.domain_list import domain_entry, entries_covering


def covers(entry: str, address: str) -> bool:
    return DomainList(Entries([entry]), option="domains").covers(Address.of(address))


@pytest.mark.parametrize(
    ("entry", "covered", "spared"),
    [
        (
            "example.org",
            ["b@example.org", "b@EXAMPLE.Org"],
            ["b@a.example.org", "b@example.org.evil.example", "b@notexample.org", "b@org"],
        ),
        ("Example.ORG", ["b@example.org"], ["b@example.com"]),
        (
            ".example.org",
            ["b@a.example.org", "b@x.y.Example.org"],
            ["b@example.org", "b@notexample.org", "b@a.example.org.evil.example"],
        ),
        (".org", ["b@example.org"], ["b@org", "b@example.net"]),
        (
            "münchen.example",
            ["b@münchen.example", "b@xn--mnchen-3ya.EXAMPLE"],
            ["b@munchen.example"],
        ),
        ("xn--mnchen-3ya.example", ["b@münchen.example"], ["b@munchen.example"]),
        (".münchen.example", ["b@www.xn--mnchen-3ya.example"], ["b@münchen.example"]),
        ("[192.0.2.1]", ["b@[192.0.2.1]"], ["b@[192.0.2.2]"]),
        ("[IPv6:2001:db8::1]", ["b@[ipv6:2001:DB8::1]"], ["b@[IPv6:2001:db8::2]"]),
        ("example.org", [], ["<>", "<Postmaster>", "b@[192.0.2.1]"]),
    ],
)
def test_what_an_entry_covers(entry: str, covered: list[str], spared: list[str]) -> None:
    assert [one for one in covered if not covers(entry, one)] == []
    assert [one for one in spared if covers(entry, one)] == []


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("*.example.org", "for everything below a domain write '.example.org'"),
        ("", "no domain"),
        (".", "no domain"),
        (".[192.0.2.1]", "no domain"),
        ("..example.org", "The domain is malformed"),
        ("example.org.", "The domain is malformed"),
        ("bob@example.org", "The domain is malformed"),
        ("exa mple.org", "The domain is malformed"),
        ("192.0.2.1/24", "The domain is malformed"),
        ("[192.0.2.256]", "The address literal is malformed"),
        ("a" * 64 + ".example", "A label of the domain is too long"),
    ],
)
def test_what_is_no_domain(entry: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^option 'domains': ") as error:
        DomainList(Entries([entry]), option="domains")
    assert str(error.value) == f"option 'domains': {entry!r}: {why}"


def test_the_entries_that_cover_a_domain() -> None:
    assert list(entries_covering("a.b.example")) == ["a.b.example", ".b.example", ".example"]
    assert list(entries_covering("[192.0.2.1]")) == ["[192.0.2.1]"]


labels = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)


@given(st.sets(st.tuples(st.sampled_from(["", "."]), labels).map("".join)), labels)
def test_a_list_covers_what_its_words_say(entries: set[str], domain: str) -> None:
    listed = DomainList(Entries(entries), option="domains")
    assert listed.covers(Address("bob", domain)) == any(
        domain == entry if entry[0] != "." else domain.endswith(entry) for entry in entries
    )


@given(st.text(max_size=30))
def test_an_entry_is_a_domain_or_a_value_error(text: str) -> None:
    try:
        entry = domain_entry(text)
    except ValueError:
        return
    assert entry.isascii()
    assert domain_entry(entry) == entry
