"""The parameters of MAIL and RCPT: what each value means, and what each mistake earns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.protocol.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    DeliverBy,
    InvalidParameter,
    MailParameters,
    OriginalRecipient,
    Parameter,
    RcptParameters,
    parse_mail_parameters,
    parse_rcpt_parameters,
)

EVERYTHING = {row.needs for row in MAIL_PARAMETERS.values()}
NOTHING: Container[str] = frozenset()


def refusal(
    parse: Callable[[str, Container[str]], object],
    text: str,
    offered: Container[str] = EVERYTHING,
) -> tuple[int, str]:
    """The code and status with which parameters are refused."""
    with pytest.raises(InvalidParameter) as caught:
        parse(text, offered)
    assert str(caught.value).isprintable()
    return caught.value.code, caught.value.status


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", MailParameters()),
        (" ", MailParameters()),
        (" SIZE=1230", MailParameters(size=1230)),
        (" size=0", MailParameters(size=0)),
        (" SIZE=99999999999999999999", MailParameters(size=99999999999999999999)),
        (" BODY=7BIT", MailParameters(body="7BIT")),
        (" body=8bitmime", MailParameters(body="8BITMIME")),
        (" Body=BinaryMime", MailParameters(body="BINARYMIME")),
        (" SMTPUTF8", MailParameters(smtputf8=True)),
        (" AUTH=<>", MailParameters(auth="")),
        (" AUTH=anne+2Bx@client.example", MailParameters(auth="anne+x@client.example")),
        (" AUTH=e+3Dmc2@example.com", MailParameters(auth="e=mc2@example.com")),
        (" AUTH=+3c+3E", MailParameters(auth="")),
        (" RET=FULL", MailParameters(ret="FULL")),
        (" RET=hdrs", MailParameters(ret="HDRS")),
        (" ENVID=QQ314159", MailParameters(envid="QQ314159")),
        (" ENVID=a+20b+2B+3D", MailParameters(envid="a b+=")),
        (" ENVID=" + "+41" * 100, MailParameters(envid="A" * 100)),
        (" REQUIRETLS", MailParameters(requiretls=True)),
        (" MT-PRIORITY=3", MailParameters(mt_priority=3)),
        (" MT-PRIORITY=-9", MailParameters(mt_priority=-9)),
        (" MT-PRIORITY=0", MailParameters(mt_priority=0)),
        (" HOLDFOR=86400", MailParameters(hold_for=86400)),
        (
            " HOLDUNTIL=2027-03-01T08:30:00Z",
            MailParameters(hold_until=datetime(2027, 3, 1, 8, 30, tzinfo=UTC)),
        ),
        (
            " HOLDUNTIL=2027-03-01t08:30:00.25+01:30",
            MailParameters(
                hold_until=datetime(2027, 3, 1, 8, 30, 0, 250_000, timezone(timedelta(minutes=90)))
            ),
        ),
        (" BY=120;R", MailParameters(by=DeliverBy(120, "R"))),
        (" BY=-60;nt", MailParameters(by=DeliverBy(-60, "N", trace=True))),
        (" BY=+5;N", MailParameters(by=DeliverBy(5, "N"))),
        (" BY=0;N", MailParameters(by=DeliverBy(0, "N"))),
        (
            "  SIZE=5   BODY=8BITMIME RET=HDRS  ",
            MailParameters(size=5, body="8BITMIME", ret="HDRS"),
        ),
    ],
)
def test_mail(text: str, meant: MailParameters) -> None:
    assert parse_mail_parameters(text, EVERYTHING) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", RcptParameters()),
        (" NOTIFY=NEVER", RcptParameters(notify=frozenset({"NEVER"}))),
        (" notify=delay", RcptParameters(notify=frozenset({"DELAY"}))),
        (
            " NOTIFY=SUCCESS,failure,DELAY",
            RcptParameters(notify=frozenset({"SUCCESS", "FAILURE", "DELAY"})),
        ),
        (
            " ORCPT=rfc822;Bob+2Bx@Example.COM",
            RcptParameters(orcpt=OriginalRecipient("rfc822", "Bob+x@Example.COM")),
        ),
        (
            r" ORCPT=UTF-8;d\x{F6}rte@example.org",
            RcptParameters(orcpt=OriginalRecipient("UTF-8", r"d\x{F6}rte@example.org")),
        ),
        (
            " ORCPT=rfc822;" + "a" * 493 + " NOTIFY=NEVER",
            RcptParameters(frozenset({"NEVER"}), OriginalRecipient("rfc822", "a" * 493)),
        ),
    ],
)
def test_rcpt(text: str, meant: RcptParameters) -> None:
    assert parse_rcpt_parameters(text, NOTHING) == meant


@pytest.mark.parametrize(
    "text",
    [
        # the form
        " =", " =5", " SIZE==5", " SIZE=5=6", " -SIZE=5", " SI_ZE=5", " <>", " SIZE\t=5",
        "\tSIZE=5", "SIZE=5", " SIZE=5\r", " SIZE=5\n", " SIZE=\x00", " ENVID=\x7f", " ENVID=\xfc",
        " AUTH=üx",
        # a value is missing or one too many
        " SIZE", " SIZE=", " BODY", " AUTH", " AUTH=", " RET", " ENVID", " BY", " HOLDFOR",
        " SMTPUTF8=", " SMTPUTF8=yes", " REQUIRETLS=1",
        # a keyword twice
        " SIZE=5 SIZE=5", " SMTPUTF8 smtputf8", " RET=FULL RET=HDRS", " BODY=7BIT BODY=BINARYMIME",
        " HOLDFOR=5 HOLDUNTIL=2027-03-01T08:30:00Z",
        # values
        " SIZE=-1", " SIZE=+1", " SIZE=1k", " SIZE=0x5", " SIZE=1_0", " SIZE=" + "9" * 21,
        " SIZE=\u0661", " BODY=9BIT", " BODY=8BIT", " RET=ALL", " RET=FULL,HDRS",
        " AUTH=a+", " AUTH=a+4", " AUTH=a+zz", " AUTH=+00", " AUTH=+C3+BC",
        " ENVID=a+0D+0AX:", " ENVID=+09", " ENVID=+7F", " ENVID=+80", " ENVID=" + "a" * 101,
        " ENVID=" + "a" * 10_000,
        " HOLDFOR=0", " HOLDFOR=-5", " HOLDFOR=1.5", " HOLDFOR=1000000000",
        " HOLDUNTIL=2027-03-01", " HOLDUNTIL=2027-03-01T08:30:00", " HOLDUNTIL=20270301T083000Z",
        " HOLDUNTIL=2027-13-01T08:30:00Z", " HOLDUNTIL=2027-03-01T08:30:00+25:00",
        " HOLDUNTIL=2027-W09-1T08:30:00Z", " HOLDUNTIL=2027-02-29T08:30:00Z", " HOLDUNTIL=now",
        " BY=120", " BY=120;", " BY=120;X", " BY=;N", " BY=120;NR", " BY=120;T", " BY=1234567890;N",
        " BY=0;R", " BY=-5;R", " BY=--5;N",
    ],
)  # fmt: skip
def test_a_mail_parameter_that_is_wrong(text: str) -> None:
    assert refusal(parse_mail_parameters, text) == (501, "5.5.4")


@pytest.mark.parametrize(
    "text",
    [
        " NOTIFY", " NOTIFY=", " NOTIFY=ALWAYS", " NOTIFY=NEVER,DELAY", " NOTIFY=DELAY,NEVER",
        " NOTIFY=DELAY,delay", " NOTIFY=DELAY,", " NOTIFY=,", " NOTIFY=DELAY, FAILURE",
        " NOTIFY=DELAY NOTIFY=DELAY",
        " ORCPT", " ORCPT=", " ORCPT=bob@example.org", " ORCPT=rfc822;", " ORCPT=;bob@example.org",
        " ORCPT=rfc(822;bob@example.org", " ORCPT=rfc822;a+0D+0ARCPT", " ORCPT=rfc822;a+2",
        " ORCPT=rfc822;" + "a" * 494, " ORCPT=rfc822;" + "a" * 10_000, " ORCPT=rfc822;dörte@x",
        " ORCPT=utf-8;dörte@x", r" ORCPT=utf-8;a\b", r" ORCPT=utf-8;\x{0D}\x{0A}",
        r" ORCPT=utf-8;\x{",
        r" ORCPT=utf-8;\x{D800}", r" ORCPT=utf-8;\x{110000}", r" ORCPT=utf-8;\x{f6}",
        " ORCPT=utf-8;a+2Bb",
    ],
)  # fmt: skip
def test_a_rcpt_parameter_that_is_wrong(text: str) -> None:
    assert refusal(parse_rcpt_parameters, text) == (501, "5.5.4")


@pytest.mark.parametrize(
    "text",
    [
        " MT-PRIORITY", " MT-PRIORITY=", " MT-PRIORITY=10", " MT-PRIORITY=-10", " MT-PRIORITY=+3",
        " MT-PRIORITY=-0", " MT-PRIORITY=03", " MT-PRIORITY=high", " MT-PRIORITY=3 MT-PRIORITY=3",
    ],
)  # fmt: skip
def test_a_priority_has_its_own_status(text: str) -> None:
    status = "5.5.4" if text.endswith("=") else "5.5.2"  # without a value it is no esmtp-param
    assert refusal(parse_mail_parameters, text) == (501, status)


@pytest.mark.parametrize(
    "keyword", ["FOO", "X-Y=5", "CORRECT-WITHOUT-ARG", "NOTIFY=NEVER", "5", "SIZ=5"]
)
def test_an_unknown_parameter_of_mail(keyword: str) -> None:
    assert refusal(parse_mail_parameters, f" SIZE=1230 {keyword}") == (555, "5.5.4")


@pytest.mark.parametrize(
    "keyword", ["FOO", "SIZE=5", "SMTPUTF8", "RRVS=2014-04-03T23:01:00Z", "a" * 2000]
)
def test_an_unknown_parameter_of_rcpt(keyword: str) -> None:
    assert refusal(parse_rcpt_parameters, f" NOTIFY=NEVER {keyword}") == (555, "5.5.4")


@pytest.mark.parametrize(
    ("text", "extension"),
    [
        (" SMTPUTF8", "SMTPUTF8"),
        (" REQUIRETLS", "REQUIRETLS"),
        (" BODY=BINARYMIME", "BINARYMIME"),
        (" MT-PRIORITY=3", "MT-PRIORITY"),
        (" HOLDFOR=5", "FUTURERELEASE"),
        (" HOLDUNTIL=2027-03-01T08:30:00Z", "FUTURERELEASE"),
        (" BY=120;R", "DELIVERBY"),
    ],
)
def test_a_promise_needs_its_extension(text: str, extension: str) -> None:
    assert refusal(parse_mail_parameters, text, EVERYTHING - {extension}) == (555, "5.5.4")
    assert parse_mail_parameters(text, {extension}) != MailParameters()


@pytest.mark.parametrize(
    "text",
    [" SIZE=5", " BODY=7BIT", " BODY=8BITMIME", " AUTH=<>", " AUTH=admin", " RET=FULL", " ENVID=x"],
)
def test_what_is_harmless_is_taken_from_everybody(text: str) -> None:
    assert parse_mail_parameters(text, NOTHING) != MailParameters()


def test_no_parameters_cost_no_object() -> None:
    assert parse_mail_parameters("", NOTHING) is parse_mail_parameters("", EVERYTHING)
    assert parse_rcpt_parameters("", NOTHING) is parse_rcpt_parameters("", EVERYTHING)


@pytest.mark.parametrize(
    ("table", "kind"), [(MAIL_PARAMETERS, MailParameters), (RCPT_PARAMETERS, RcptParameters)]
)
def test_every_field_has_a_row(table: dict[str, Parameter], kind: type) -> None:
    assert {row.field for row in table.values()} == {field.name for field in fields(kind)}


WORDS = st.one_of(
    st.text("SIZEBODYAUTH=+<>;0123456789 ", max_size=30),
    st.builds(
        "{}={}".format,
        st.sampled_from([*MAIL_PARAMETERS, *RCPT_PARAMETERS]),
        st.text(st.characters(codec="utf-8"), max_size=20),
    ),
    st.text(max_size=20),
)


@given(st.lists(WORDS, max_size=4).map(lambda words: "".join(f" {word}" for word in words)))
def test_any_text_has_a_meaning_or_is_refused(text: str) -> None:
    for parse in (parse_mail_parameters, parse_rcpt_parameters):
        try:
            parameters = parse(text, EVERYTHING)
        except InvalidParameter:
            continue
        assert str(parameters).isprintable()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=100))
def test_xtext_carries_every_printable_character(envid: str) -> None:
    encoded = "".join(f"+{ord(octet):02X}" if octet in " +=" else octet for octet in envid)
    assert parse_mail_parameters(f" ENVID={encoded}", NOTHING).envid == envid


@pytest.mark.parametrize(
    "word", ["SIZE=", "ENVID=", "AUTH=", "ORCPT=rfc822;", "ORCPT=utf-8;", "NOTIFY="]
)
@pytest.mark.parametrize(
    "filling", ["a", "+", "+4", "+41", "\\x{41}", ",", "DELAY,", "=", " ", "-"]
)
@pytest.mark.timeout(10)
def test_a_megabyte_is_read_in_linear_time(word: str, filling: str) -> None:
    text = f" {word}{filling * (1_000_000 // len(filling))}"
    for parse in (parse_mail_parameters, parse_rcpt_parameters):
        with contextlib.suppress(InvalidParameter):
            parse(text, EVERYTHING)
        assert refusal(parse, f"{text}=")[0] in (501, 555)
