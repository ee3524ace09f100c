"""Address as a value: international names, equality, spelling, and the laws of all of them."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.address import Address, InvalidAddress


def refusal(text: str, *, utf8: bool = False) -> str:
    """The status with which a path is refused."""
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(text, utf8=utf8)
    return caught.value.status


class TestInternational:
    """Addresses of RFC 6531."""

    @pytest.mark.parametrize(
        "text",
        ["dörte@example.org", "用户@例子.example", "u@bücher.example", '"ü ü"@x', "u@faß.example"],
    )
    def test_only_with_smtputf8(self, text: str) -> None:
        assert refusal(text) == "5.6.7"
        assert Address.parse(text, utf8=True).mailbox == text

    @pytest.mark.parametrize(
        "text",
        [
            "postmáster\uff20test.example",  # U+FF20 is no at sign
            "u@test\uff20remote.example",
            "u@bücher\u3002example",  # U+3002 is no dot
            "u@BÜCHER.example",  # no U-label: a capital
            "u@ban\u212a.example",  # KELVIN SIGN is no k
            "u@bu\u0308cher.example",  # no NFC
            "u@bücher.example.",
            "u@.bücher",
            "u@bücher..example",
            "u@bücher-.example",
            "u@bü_cher.example",
            "u@bü cher.example",
            "u@☃.example",
            "u@" + "ü" * 63 + ".example",
            "u@[\uff11.2.3.4]",
            "a\ud800b@x",
            "u@x\udcc3\udcbc.example",
            "a\x85b@x",
            "a\u2028b@x",
            '"\\ü"@x',  # RFC 6531, 3.3 extends the text between quotes, not the quoted pairs
            "á",
        ],
    )
    def test_refused_also_with_smtputf8(self, text: str) -> None:
        assert refusal(text, utf8=True) == "5.1.3"

    def test_fullwidth_at_sign_is_a_letter_like_others(self) -> None:
        address = Address.parse("a\uff20b@c.example", utf8=True)
        assert (address.local, address.domain) == ("a\uff20b", "c.example")

    def test_names_in_ascii(self) -> None:
        assert Address("u", "Bücher.EXAMPLE").ascii_domain == "xn--bcher-kva.example"
        assert Address("u", "XN--BCHER-KVA.example").ascii_domain == "xn--bcher-kva.example"
        assert Address("u", "faß.example").ascii_domain == "xn--fa-hia.example"
        assert Address("u", "[IPv6:2001:DB8::1]").ascii_domain == "[ipv6:2001:db8::1]"


class TestEquality:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("bob@example.org", "bob@EXAMPLE.org"),
            ("bob@bücher.example", "bob@xn--bcher-kva.EXAMPLE"),
            ('"bob"@example.org', "bob@example.org"),
            (r'"a\b c"@x', '"ab c"@x'),
            ("b@[IPv6:::A]", "b@[ipv6:::a]"),
        ],
    )
    def test_the_same(self, one: str, other: str) -> None:
        assert Address.of(one) == Address.of(other)
        assert hash(Address.of(one)) == hash(Address.of(other))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("bob@example.org", "Bob@example.org"),
            ("bob@example.org", "bob@example.com"),
            ("bob+x@example.org", "bob@example.org"),
            ("u\u0308@x", "\u00fc@x"),
            ("postmaster", "postmaster@x"),
            ('""@x', ""),
        ],
    )
    def test_not_the_same(self, one: str, other: str) -> None:
        assert Address.of(one) != Address.of(other)

    def test_no_text(self) -> None:
        assert Address.of("bob@example.org") != "bob@example.org"

    def test_copies(self) -> None:
        address = Address.of("bob@Example.org")
        assert copy.copy(address) == pickle.loads(pickle.dumps(address)) == address


class TestSpelling:
    @pytest.mark.parametrize(
        ("address", "path"),
        [
            (Address("", ""), "<>"),
            (Address("postmaster", ""), "<postmaster>"),
            (Address("bob", "Example.org"), "<bob@Example.org>"),
            (Address("a.b", "x"), "<a.b@x>"),
            (Address("a b", "x.example"), '<"a b"@x.example>'),
            (Address('a"b\\c', "x"), r'<"a\"b\\c"@x>'),
            (Address("a@b", "x"), '<"a@b"@x>'),
            (Address("a..b", "x"), '<"a..b"@x>'),
            (Address(".", "x"), '<"."@x>'),
            (Address("", "x"), '<""@x>'),
            (Address("dörte", "x"), "<dörte@x>"),
            (Address("d ö", "x"), '<"d ö"@x>'),
            (Address("u", "[IPv6:::1]"), "<u@[IPv6:::1]>"),
        ],
    )
    def test_path(self, address: Address, path: str) -> None:
        assert str(address) == path
        assert address.mailbox == path[1:-1]
        assert Address.of(path) == address

    def test_of_takes_one_pair_of_brackets(self) -> None:
        assert Address.of("bob@example.org") == Address.of("<bob@example.org>")
        assert Address.of("<>") == Address.of("") == Address("", "")
        for text in ("<<bob@example.org>>", "<bob@example.org", "bob@example.org>", "<"):
            with pytest.raises(InvalidAddress):
                Address.of(text)

    def test_null(self) -> None:
        assert Address("", "").is_null
        assert not Address("postmaster", "").is_null
        assert not Address("", "x.example").is_null


@pytest.mark.parametrize(
    ("local", "domain"),
    [
        ("bob", ""), ("a\nb", "x"), ("a\x00", "x"), ("a\ud800", "x"), ("a", "x\r\nDATA"),
        ("a", "x>"), ("a", "x."), ("a", "b@x"), ("a", " "), ("a" * 65, "x"), (" " * 63, "x"),
        ("a", "[1.2.3]"), ("a", "Ü.example"), ("a", "x" * 64), ("a", ".".join(["x" * 63] * 4)),
    ],
)  # fmt: skip
def test_nothing_else_can_be_made(local: str, domain: str) -> None:
    with pytest.raises(InvalidAddress):
        Address(local, domain)


LABELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?", fullmatch=True)
DOMAINS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.sampled_from(["bücher.example", "例子.example", "[192.0.2.1]", "[IPv6:::1]"]),
)
LOCALS = st.one_of(
    st.text("abc.!%@\\\" ,'+üß用<>:", max_size=20),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=15),
)


@given(LOCALS, DOMAINS)
def test_what_is_spelled_is_read_back(local: str, domain: str) -> None:
    address = Address(local, domain)
    again = Address.parse(address.mailbox, utf8=True)
    assert (again.local, again.domain) == (local, domain)
    assert Address(local, domain.upper() if domain.isascii() else domain) == address


@given(st.one_of(st.text(), st.text('@a.:\\"[]- \r\n<>üIPv6', max_size=30)), st.booleans())
def test_any_text_is_an_address_or_is_refused(text: str, utf8: bool) -> None:
    try:
        address = Address.parse(text, utf8=utf8)
    except InvalidAddress:
        return
    assert utf8 or str(address).isascii()
    assert len(str(address).encode()) <= 256
    assert not set(str(address)) & set(map(chr, [*range(0x20), 0x7F]))
    assert Address.of(str(address)) == address
