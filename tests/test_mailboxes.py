"""Mailboxes of fields: who is named, and what is refused rather than guessed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Address, Headers, mailbox_list


def named(value: str) -> list[str]:
    return [str(address) for address in mailbox_list(f"From:{value}\r\n".encode())]


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        (" anne@a.example", ["<anne@a.example>"]),
        ("anne@a.example", ["<anne@a.example>"]),
        (" <anne@a.example>", ["<anne@a.example>"]),
        (" Anne <anne@a.example>", ["<anne@a.example>"]),
        ("\r\n\tAnne\r\n <anne@a.example> ", ["<anne@a.example>"]),
        (' "Baker, Anne" <anne@a.example>', ["<anne@a.example>"]),
        (r' "Anne \"B\" Baker" <anne@a.example>', ["<anne@a.example>"]),
        (" Anne B. Baker <anne@a.example>", ["<anne@a.example>"]),
        (" Anne Bäcker <anne@a.example>", ["<anne@a.example>"]),
        (" =?utf-8?q?B=C3=A4cker=2C_Anne?= <anne@a.example>", ["<anne@a.example>"]),
        (" anne@a.example (Anne Baker)", ["<anne@a.example>"]),
        (r" (a \) b) Anne (c) Baker(d)<anne@a.example>(e)", ["<anne@a.example>"]),
        (" Anne <anne@a.example>, bob@b.example", ["<anne@a.example>", "<bob@b.example>"]),
        (" a@a.b , <b@a.b>\t,c@a.b", ["<a@a.b>", "<b@a.b>", "<c@a.b>"]),
        (' "a b"@a.example', ['<"a b"@a.example>']),
        (" <anne@[192.0.2.1]>", ["<anne@[192.0.2.1]>"]),
        (" anne@[IPv6:2001:db8::1]", ["<anne@[IPv6:2001:db8::1]>"]),
        (" <jörg@bücher.example>", ["<jörg@bücher.example>"]),
        (" Anne@A.Example", ["<Anne@A.Example>"]),
        # A name may be an address, as long as quotes or an encoded word keep it apart.
        (' "boss@evil.example" <anne@a.example>', ["<anne@a.example>"]),
        (' "<boss@evil.example>" <anne@a.example>', ["<anne@a.example>"]),
        (" =?utf-8?q?=3Cboss=40evil.example=3E?= <anne@a.example>", ["<anne@a.example>"]),
        (" (boss@evil.example) anne@a.example", ["<anne@a.example>"]),
    ],
)  # fmt: skip
def test_who_is_named(value: str, addresses: list[str]) -> None:
    assert named(value) == addresses


# A19 and its kin: what one reader takes for one address, and another reader for another.
@pytest.mark.parametrize(
    "value",
    [
        "",
        "  ",
        "Anne",
        "<>",
        "<anne>",
        "<postmaster>",
        "anne@",
        "@a.example",
        "anne@a.example <bob@b.example>",
        "Anne@Home <anne@a.example>",
        "<anne@a.example> <bob@b.example>",
        "<anne@a.example> bob@b.example",
        "<anne@a.example> Anne",
        "<anne@a.example>bob",
        "anne@a.example bob@b.example",
        "anne@a.example; bob@b.example",
        "anne@a.example@b.example",
        "<<anne@a.example>>",
        "<anne@a.example",
        "anne@a.example>",
        "anne@a.example,",
        ",anne@a.example",
        "anne@a.example,,bob@b.example",
        "Friends: anne@a.example;",
        "Friends: anne@a.example, bob@b.example;, c@c.example",
        "Undisclosed recipients:;",
        "<@b.example:anne@a.example>",
        "<@b.example,@c.example:anne@a.example>",
        "Anne (a (b) c) <anne@a.example>",
        "Anne (a (b) <anne@a.example>",
        "anne@a.example (open",
        "anne@a.example )",
        '"open <anne@a.example>',
        'anne@a.example "x"',
        "anne @a.example",
        "anne@ a.example",
        "anne(x)@a.example",
        "anne@(x)a.example",
        "< anne@a.example >",
        "anne@a.example.",
        "anne@a..example",
        ".anne@a.example",
        "an..ne@a.example",
        "anne@-.example",
        "anne@[192.0.2.1",
        "anne@[x]",
        "Smith, Anne <anne@a.example>",
        "Anne [home] <anne@a.example>",
        # nodemailer, CVE-2025-13033: the part before the @ in quotes was taken for the address
        '"bob@evil.example x"@a.example',
        '"bob@evil.example> x"@a.example',
        '"bob,anne"@a.example',
        "=?utf-8?q?bob=40evil.example?=@a.example",
        "<=?utf-8?q?bob=40evil.example=3E=00?=@a.example>",
        "\x00anne@a.example",
        "anne@a.example\x00",
        "Anne\x0b<anne@a.example>",
        "Anne\x85<anne@a.example>",
        "Anne\u2028<anne@a.example>",
        "Anne\n <anne@a.example>",
        "Anne\r <anne@a.example>",
        "anne\\@a.example",
        "anne@a.example\\, bob@b.example",
        f"{'a' * 65}@a.example",
    ],
)
def test_what_is_refused(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        named(value)


@pytest.mark.parametrize(
    "octets", [b"J\xf6rg <j@a.example>", b"\xc0\xbc j@a.example", b"\xed\xa0\x80@a.b"]
)
def test_octets_that_are_no_utf_8(octets: bytes) -> None:
    with pytest.raises(ValueError, match="utf-8"):
        mailbox_list(b"From: " + octets + b"\r\n")


def test_a_field_as_headers_give_it() -> None:
    headers = Headers(b"Subject: x\r\nFROM \t:\r\n Anne\r\n\t<anne@a.example>")
    assert mailbox_list(headers.raw("From")[0]) == (Address("anne", "a.example"),)


ATOMS = st.text("abcXYZ019!#$%&'*+-/=^_`{|}~äß", min_size=1, max_size=8)
BLANKS = st.sampled_from(["", " ", "\t", "\r\n ", "(a comment)", ' (\\) "x" <y@z>, ) '])
NAMES = st.one_of(
    st.just(""),
    ATOMS.map(lambda atom: f"{atom} "),
    st.text("ab .,<>@;:()", max_size=9).map(lambda text: f'"{text}"'),
)
ADDRESSES = st.builds("{}@{}.example".format, ATOMS, st.text("abc0", min_size=1, max_size=9))


@given(st.lists(st.tuples(BLANKS, NAMES, BLANKS, ADDRESSES, BLANKS), min_size=1, max_size=5))
def test_what_surrounds_addresses_makes_no_difference(
    mailboxes: list[tuple[str, str, str, str, str]],
) -> None:
    value = ",".join(
        f"{before}{name}{between}<{address}>{after}"
        for before, name, between, address, after in mailboxes
    )
    assert named(value) == [f"<{address}>" for *_, address, _ in mailboxes]


@given(st.text('ab@<>,;:()[]"\\ \t\r\n.=?ä\0', max_size=40).map(str.encode) | st.binary())
def test_nothing_else_is_raised(value: bytes) -> None:
    try:
        addresses = mailbox_list(b"From:" + value)
    except ValueError:
        return
    assert addresses
    assert all(address.domain and address.domain.encode() in value for address in addresses)


@pytest.mark.parametrize(
    "piece",
    ["(", ")", "(a)", '"', '"a"', "a", "a ", "a,", "<", "\\", "(\\", "\t", "a@b.example,", "a@b "],
)
def test_hostile_fields_take_linear_time(piece: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        named(piece * (65_000 // len(piece)))
    with pytest.raises(ValueError, match="octets"):
        named(piece * 1_000_000)
    assert time.process_time() - begun < 2
