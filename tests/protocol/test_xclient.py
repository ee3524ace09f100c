"""XCLIENT and XFORWARD: what their attributes tell, and what each mistake earns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.protocol.envelope import xtext
from gatepost.protocol.xclient import (
    PROTOCOL_LIMIT,
    VALUE_LIMIT,
    XCLIENT_ATTRIBUTES,
    XFORWARD_ATTRIBUTES,
    Attribute,
    InvalidAttribute,
    XClientFacts,
    XForwardFacts,
    parse_xclient,
    parse_xforward,
)
from gatepost.reply import Reply

Parse = Callable[[tuple[tuple[str, str], ...]], object]


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """What stands behind the command, as the command's grammar takes it apart."""
    words = (word.partition("=") for word in text.split())
    return tuple((name, value) for name, _, value in words)


def refusal(parse: Parse, text: str) -> str:
    """The words of a refusal; they fit into a reply."""
    with pytest.raises(InvalidAttribute) as caught:
        parse(pairs(text))
    Reply(501, "5.5.4", str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", XClientFacts()),
        # The dialogue of XCLIENT_README.
        (
            "NAME=spike.porcupine.org ADDR=168.100.189.2",
            XClientFacts(name="spike.porcupine.org", address="168.100.189.2"),
        ),
        (
            "NAME=mx.example ADDR=192.0.2.1 PORT=49152 PROTO=ESMTP HELO=client.example "
            "LOGIN=anne DESTADDR=198.51.100.1 DESTPORT=25",
            XClientFacts(
                name="mx.example",
                address="192.0.2.1",
                port=49152,
                protocol="ESMTP",
                hello="client.example",
                login="anne",
                destination_address="198.51.100.1",
                destination_port=25,
            ),
        ),
        ("name=a Proto=smtp", XClientFacts(name="a", protocol="SMTP")),
        ("NAME=[UNAVAILABLE]", XClientFacts(name="")),
        ("NAME=[TEMPUNAVAIL]", XClientFacts(name="", name_is_pending=True)),
        ("NAME=[tempUnavail]", XClientFacts(name="", name_is_pending=True)),
        (
            "NAME=[unavailable] ADDR=[Unavailable] PORT=[UNAVAILABLE] HELO=[UNAVAILABLE] "
            "LOGIN=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[unavailable]",
            XClientFacts("", False, "", 0, None, "", "", "", 0),
        ),
        ("NAME=+5BUNAVAILABLE+5d", XClientFacts(name="")),
        ("NAME=unavailable", XClientFacts(name="unavailable")),
        ("NAME=a_b-c.example.", XClientFacts(name="a_b-c.example.")),
        ("NAME=" + "a" * 255, XClientFacts(name="a" * 255)),
        ("ADDR=IPV6:2001:db8::1", XClientFacts(address="2001:db8::1")),
        ("ADDR=ipv6:2001:DB8:0:0::1", XClientFacts(address="2001:db8::1")),
        ("ADDR=IPV6:::ffff:192.0.2.1", XClientFacts(address="192.0.2.1")),
        ("ADDR=IPv6+3A2001+3adb8::1", XClientFacts(address="2001:db8::1")),
        ("DESTADDR=IPV6:::1", XClientFacts(destination_address="::1")),
        ("PORT=1 DESTPORT=65535", XClientFacts(port=1, destination_port=65535)),
        ("HELO=[192.0.2.1]", XClientFacts(hello="[192.0.2.1]")),
        ("HELO=[IPv6:2001:db8::1]", XClientFacts(hello="[IPv6:2001:db8::1]")),
        ("HELO=_x", XClientFacts(hello="_x")),
        ("LOGIN=anne+2Bx+3Dy@client.example", XClientFacts(login="anne+x=y@client.example")),
        ("LOGIN=anne+20smith", XClientFacts(login="anne smith")),
        ("LOGIN=" + "+41" * 255, XClientFacts(login="A" * 255)),
    ],
)
def test_xclient(text: str, facts: XClientFacts) -> None:
    assert parse_xclient(pairs(text)) == facts


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", XForwardFacts()),
        # The dialogue of XFORWARD_README.
        (
            "NAME=spike.porcupine.org ADDR=168.100.189.2 PROTO=ESMTP",
            XForwardFacts(name="spike.porcupine.org", address="168.100.189.2", protocol="ESMTP"),
        ),
        ("HELO=spike.porcupine.org", XForwardFacts(hello="spike.porcupine.org")),
        (
            "PORT=49152 IDENT=3CF6B2AAE8 SOURCE=REMOTE",
            XForwardFacts(port=49152, identifier="3CF6B2AAE8", source="REMOTE"),
        ),
        ("source=local", XForwardFacts(source="LOCAL")),
        (
            "NAME=[UNAVAILABLE] ADDR=[unavailable] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] "
            "HELO=[UNAVAILABLE] IDENT=[UNAVAILABLE] SOURCE=[UNAVAILABLE]",
            XForwardFacts("", "", 0, "", "", "", ""),
        ),
        # Neither need the host be one of DNS, nor the address one of IP, nor the protocol SMTP.
        ("NAME=red/blue!green", XForwardFacts(name="red/blue!green")),
        ("ADDR=X.121/31104000", XForwardFacts(address="X.121/31104000")),
        ("ADDR=IPV6:2001:DB8::1", XForwardFacts(address="2001:db8::1")),
        ("PROTO=" + "u" * PROTOCOL_LIMIT, XForwardFacts(protocol="u" * PROTOCOL_LIMIT)),
        ("HELO=[IPv6:2001:db8::1]", XForwardFacts(hello="[IPv6:2001:db8::1]")),
        ("IDENT=a+2Bb+3Dc", XForwardFacts(identifier="a+b=c")),
        ("IDENT=" + "a" * 255, XForwardFacts(identifier="a" * 255)),
    ],
)
def test_xforward(text: str, facts: XForwardFacts) -> None:
    assert parse_xforward(pairs(text)) == facts


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("NAME", ["192.0.2.1", "2001:db8::1", "[192.0.2.1]", "a/b", "a+20b", "a@b", "b+C3+BC"]),
        (
            "ADDR",
            [
                "mx.example", "[192.0.2.1]", "192.0.2", "192.0.2.256", "192.0.2.01", "3221225985",
                "192.0.2.1/32", "2001:db8::1", "IPV6:", "IPV6:192.0.2.1", "IPV6:2001:db8::1::",
                "IPV6:[2001:db8::1]", "IPV6:fe80::1%eth0", "IPV4:192.0.2.1", "unix:",
                "[TEMPUNAVAIL]", "[UNAVAILABLE", "+20192.0.2.1",
            ],
        ),
        ("DESTADDR", ["mx.example", "2001:db8::1", "IPV6:192.0.2.1", "[TEMPUNAVAIL]"]),
        ("PORT", ["0", "65536", "-1", "+2B1", "01", "1.0", "0x19", "100000", "smtp"]),
        ("DESTPORT", ["0", "65536", "025", "smtp"]),
        ("PROTO", ["LMTP", "ESMTPS", "X", "[UNAVAILABLE]", "[TEMPUNAVAIL]"]),
        ("HELO", ["a/b", "a+20b", "[", "[]", "[192.0.2.1", "a@b", "[a b]", "[TEMPUNAVAIL"]),
    ],
)  # fmt: skip
def test_a_value_of_xclient_that_is_wrong(attribute: str, values: list[str]) -> None:
    for value in values:
        assert refusal(parse_xclient, f"{attribute}={value}") == f"Bad value of {attribute}"


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("PORT", ["0", "65536", "01", "smtp", "[TEMPUNAVAIL]"]),
        ("PROTO", ["a" * 65, "SMTP+20(x)"]),
        ("ADDR", ["2001:db8::1", "IPV6:192.0.2.1", "IPV6:x"]),
        ("SOURCE", ["local+20", "BOTH", "[TEMPUNAVAIL]"]),
    ],
)
def test_a_value_of_xforward_that_is_wrong(attribute: str, values: list[str]) -> None:
    for value in values:
        assert refusal(parse_xforward, f"{attribute}={value}") == f"Bad value of {attribute}"


@pytest.mark.parametrize("attribute", ["NAME", "ADDR", "PROTO", "HELO", "IDENT"])
@pytest.mark.parametrize("special", ' <>()\\";@')
def test_what_would_mean_something_in_a_header_field_is_not_forwarded(
    attribute: str, special: str
) -> None:
    for value in (special, f"+{ord(special):02X}", f"a+{ord(special):02x}b"):
        if " " not in value:
            assert refusal(parse_xforward, f"{attribute}={value}") == f"Bad value of {attribute}"


@pytest.mark.parametrize(
    ("parse", "table"),
    [(parse_xclient, XCLIENT_ATTRIBUTES), (parse_xforward, XFORWARD_ATTRIBUTES)],
)
def test_no_value_may_be_empty_or_long_or_hold_what_is_not_printable(
    parse: Parse, table: Mapping[str, Attribute]
) -> None:
    bad = [
        "", "a" * (VALUE_LIMIT + 1), "+41" * (VALUE_LIMIT + 1), "+00", "+0D+0A", "a+0d+0aRCPT",
        "+09", "+7F", "+80", "b+C3+BC", "bü", "a\x00", "a=b", "=", "+", "a+", "a+4", "a+4g", "+ 41",
    ]  # fmt: skip
    for name in table:
        for value in bad:
            with pytest.raises(InvalidAttribute) as caught:
                parse(((name, value),))
            assert str(caught.value) == f"Bad value of {name}"


@pytest.mark.parametrize("parse", [parse_xclient, parse_xforward])
def test_an_attribute_that_nobody_knows(parse: Parse) -> None:
    assert refusal(parse, "NAME=a FOO=b") == "Attribute FOO is not known here"
    assert refusal(parse, f"{'a' * 500}=b") == f"Attribute {'A' * 40} is not known here"
    for name in (
        "",
        "A-B",
        "REVERSE_NAME",
        "X1",
        "ÄÖ",
        "\N{LATIN SMALL LETTER LONG S}ource",
        "\r\n",
        "A\0",
    ):
        with pytest.raises(InvalidAttribute, match="Malformed attribute"):
            parse(((name, "a"),))


def test_each_command_has_its_own_attributes() -> None:
    assert refusal(parse_xclient, "SOURCE=LOCAL") == "Attribute SOURCE is not known here"
    assert refusal(parse_xforward, "LOGIN=anne") == "Attribute LOGIN is not known here"


@pytest.mark.parametrize("parse", [parse_xclient, parse_xforward])
@pytest.mark.parametrize(
    "text", ["NAME=a NAME=a", "NAME=a PORT=1 name=b", "NAME=[UNAVAILABLE] NAME=a"]
)
def test_nothing_is_told_twice(parse: Parse, text: str) -> None:
    assert refusal(parse, text) == "NAME is given twice"


@pytest.mark.parametrize(
    ("table", "kind", "besides"),
    [
        (XCLIENT_ATTRIBUTES, XClientFacts, {"name_is_pending"}),
        (XFORWARD_ATTRIBUTES, XForwardFacts, set()),
    ],
)
def test_every_field_has_a_row(
    table: Mapping[str, Attribute], kind: type, besides: set[str]
) -> None:
    assert {row.field for row in table.values()} | besides == {field.name for field in fields(kind)}


NAMES = st.one_of(st.sampled_from([*XCLIENT_ATTRIBUTES, *XFORWARD_ATTRIBUTES]), st.text(max_size=8))
VALUES = st.one_of(
    st.text(max_size=20),
    st.text("IPV6:+0123456789abcdef.[]", max_size=30),
    st.sampled_from(["[UNAVAILABLE]", "[TEMPUNAVAIL]", "192.0.2.1", "IPV6:::1", "25", "SMTP"]),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple))
def test_any_attributes_tell_something_or_are_refused(
    attributes: tuple[tuple[str, str], ...],
) -> None:
    for parse in (parse_xclient, parse_xforward):
        try:
            facts = parse(attributes)
        except InvalidAttribute as error:
            told = str(error)
        else:
            told = str(facts)
        assert told.isprintable()
        assert told.isascii()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_a_login_may_hold_every_printable_character(login: str) -> None:
    told = parse_xclient((("LOGIN", xtext(login)),)).login
    assert told == ("" if login.upper() == "[UNAVAILABLE]" else login)
