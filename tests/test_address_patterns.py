"""Patterns of addresses: what they cover, and what is no pattern."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Address, AddressPatterns

BOB = Address("bob", "example.org")


@pytest.mark.parametrize(
    ("pattern", "address", "covered"),
    [
        ("bob@example.org", "bob@example.org", True),
        ("Bob@Example.org", "bOB@eXAMPLE.ORG", True),
        ("<bob@example.org>", "bob@example.org", True),
        ("bob@example.org", "bob@www.example.org", False),
        ("bob@example.org", "rob@example.org", False),
        ("bob@example.org", "<>", False),
        ('"bob"@example.org', "bob@example.org", True),
        ('"a b"@example.org', '"a b"@example.org', True),
        ("bob@[192.0.2.1]", "bob@[192.0.2.1]", True),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example", True),
        ("JöRG@example.org", "jörg@example.org", True),
        # Other letters than ASCII's are not folded: these are different addresses.
        ("JÖRG@example.org", "jörg@example.org", False),
        ("strasse@example.org", "straße@example.org", False),
        ("kate@example.org", "\u212aate@example.org", False),
        ("@example.org", "bob@example.org", True),
        ("@Example.ORG", "bob@example.org", True),
        ("@bücher.example", "bob@xn--bcher-kva.example", True),
        ("@example.org", "bob@www.example.org", False),
        ("@example.org", "bob@myexample.org", False),
        ("@example.org", "<>", False),
        (".example.org", "bob@www.example.org", True),
        ("@.example.org", "bob@far.www.example.org", True),
        (".example.org", "bob@example.org", False),
        (".example.org", "bob@myexample.org", False),
        ("*", "bob@example.org", True),
        ("*", "<>", True),
    ],
)
def test_what_a_pattern_covers(pattern: str, address: str, covered: bool) -> None:
    assert AddressPatterns([pattern]).cover(Address.of(address)) == covered


@pytest.mark.parametrize(
    ("pattern", "address", "covered"),
    [
        ("bob@example.org", "bob+x@example.org", True),
        ("bob@example.org", "BOB+x+y@example.org", True),
        ("bob@example.org", "bob-x@example.org", False),
        ("bob@example.org", "+bob@example.org", False),
        ("bob@example.org", "x+bob@example.org", False),
        ("bob@example.org", "bob+x@example.com", False),
        ("bob+x@example.org", "bob+x@example.org", True),
        ("bob+x@example.org", "bob+x+y@example.org", False),
        ("bob+x@example.org", "bob@example.org", False),
    ],
)
def test_extensions_of_local_parts(pattern: str, address: str, covered: bool) -> None:
    patterns = AddressPatterns([pattern])
    assert patterns.cover(Address.of(address), extension="+") == covered
    assert patterns.cover(Address.of(address)) == (pattern == address)


def test_patterns_are_put_together() -> None:
    one, other = AddressPatterns(["a@example.org"]), AddressPatterns([".example.org"])
    both = one | other | AddressPatterns()
    for address in ("a@example.org", "b@www.example.org"):
        assert both.cover(Address.of(address))
    assert not both.cover(Address.of("b@example.org"))
    assert not one.cover(Address.of("b@www.example.org"))
    assert not AddressPatterns().cover(BOB)


def test_addresses_are_no_patterns() -> None:
    patterns = AddressPatterns.of([BOB, Address("*", "example.org"), Address("", "example.com")])
    for address, covered in (
        (BOB, True),
        (Address("*", "example.org"), True),
        (Address("anne", "example.org"), False),
        (Address("anne", "example.com"), False),
        (Address("", ""), False),
    ):
        assert patterns.cover(address) == covered


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "nobody's address"),
        ("<>", "nobody's address"),
        ("postmaster", "nobody's address"),
        ("bob", "'bob' is no address .*; for a domain write '@example.org'"),
        ("example.org", "'example.org' is no address"),
        ("bob@", "is no address"),
        ("a b@example.org", "is no address"),
        ("*@example.org", None),
        ("@", "no domain"),
        (".", "no domain"),
        ("@*.example.org", "for everything below a domain write '.example.org'"),
        ("@exam ple.org", "malformed"),
        ("**", "is no address"),
    ],
)
def test_what_is_no_pattern(text: str, complaint: str | None) -> None:
    if complaint is None:  # `*` is a letter like any other where something follows
        assert not AddressPatterns([text]).cover(BOB)
    else:
        with pytest.raises(ValueError, match=complaint):
            AddressPatterns([text])


@given(st.lists(st.sampled_from("abcdefgh"), max_size=9), st.sampled_from("abcdefgh"))
def test_many_patterns_cover_what_one_of_them_does(names: list[str], name: str) -> None:
    patterns = AddressPatterns(f"{one}@example.org" for one in names)
    assert patterns.cover(Address(name, "example.org")) == (name in names)
