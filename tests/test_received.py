"""The Received field: the standard's form, whatever the client calls itself."""

from __future__ import annotations

import locale
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.headers import Headers
from gatepost.received import date_time, received_field, transmission_type

NOON = 1_795_366_800.75  # Sun, 22 Nov 2026 17:00:00 +0000


def field(
    hello: str = "client.example",
    host: str = "192.0.2.1",
    *,
    name: str = "",
    recipient: str = "",
    date: float = NOON,
) -> str:
    return received_field(
        hello=hello,
        client_host=host,
        client_name=name,
        server="mx.example.org",
        protocol="ESMTPS",
        identifier="k2x81a.1",
        recipient=recipient,
        date=date,
    )


def test_the_whole_field() -> None:
    assert field(name="host.client.example", recipient="bob@example.org") == (
        "from client.example (host.client.example [192.0.2.1])\r\n"
        "\tby mx.example.org with ESMTPS id k2x81a.1\r\n"
        "\tfor <bob@example.org>;\r\n"
        "\tSun, 22 Nov 2026 17:00:00 +0000"
    )


def test_the_shortest_field() -> None:
    assert field("", "") == (
        "from unknown\r\n"
        "\tby mx.example.org with ESMTPS id k2x81a.1;\r\n"
        "\tSun, 22 Nov 2026 17:00:00 +0000"
    )


@pytest.mark.parametrize(
    ("hello", "host", "name", "source"),
    [
        ("a.example", "192.0.2.1", "", "a.example ([192.0.2.1])"),
        ("a.example", "2001:db8::1", "", "a.example ([IPv6:2001:db8::1])"),
        ("a.example", "fe80::1%eth0", "", "a.example ([IPv6:fe80::1])"),
        ("a.example", "2001:db8::1", "b.example", "a.example (b.example [IPv6:2001:db8::1])"),
        ("[192.0.2.1]", "192.0.2.1", "", "[192.0.2.1] ([192.0.2.1])"),
        ("[IPv6:2001:db8::1]", "2001:db8::1", "", "[IPv6:2001:db8::1] ([IPv6:2001:db8::1])"),
        ("WIN_7", "192.0.2.1", "", "WIN_7 ([192.0.2.1])"),
        ("a\r\nX: y", "192.0.2.1", "", "a??X??y ([192.0.2.1])"),
        ("a (b) [c] <d>;", "192.0.2.1", "", "a??b???c???d?? ([192.0.2.1])"),
        ("[", "192.0.2.1", "", "? ([192.0.2.1])"),
        ("[a](", "192.0.2.1", "", "?a?? ([192.0.2.1])"),
        ("ü.example", "192.0.2.1", "x\r\n(y", "?.example (x???y [192.0.2.1])"),
        ("x" * 2000, "192.0.2.1", "", "x" * 255 + " ([192.0.2.1])"),
        ("a.example", "]\r\nX: y", "", "a.example ([IPv6:???X:?y])"),
    ],
)
def test_where_it_came_from(hello: str, host: str, name: str, source: str) -> None:
    assert field(hello, host, name=name).split("\r\n")[0] == f"from {source}"


@pytest.mark.parametrize(
    ("recipient", "clause"),
    [
        ("bob@example.org", "for <bob@example.org>"),
        ('"a b"@example.org', 'for <"a b"@example.org>'),
        ("jörg@ü.example", "for <jörg@ü.example>"),
        ("", None),
        ("a\r\nX: y@b.example", None),
        ("a\udc80@b.example", None),
    ],
)
def test_the_only_recipient_is_named(recipient: str, clause: str | None) -> None:
    match = re.search(r"for [^;]*", field(recipient=recipient))
    assert (match and match[0]) == clause


@given(st.text(), st.text(), st.text(), st.text())
def test_foreign_text_stays_in_its_place(hello: str, host: str, name: str, recipient: str) -> None:
    headers = Headers(b"Subject: hi\r\n")
    headers.prepend("Received", field(hello, host, name=name, recipient=recipient))
    assert len(headers) == 2
    first = bytes(headers).split(b"\r\n")[0]
    assert re.fullmatch(rb"Received: from [^\s()]+( \(([^\s()]+ )?\[[^\s()\[\]]+\]\))?", first)


@pytest.mark.parametrize(
    ("verb", "plain", "types"),
    [
        ("EHLO", "ESMTP", ["ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"]),
        ("EHLO", "UTF8SMTP", ["UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"]),
        ("LHLO", "LMTP", ["LMTP", "LMTPS", "LMTPA", "LMTPSA"]),
        ("LHLO", "UTF8LMTP", ["UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"]),
        ("HELO", "SMTP", ["SMTP"] * 4),
    ],
)
def test_transmission_types(verb: str, plain: str, types: list[str]) -> None:
    circumstances = [(False, False), (True, False), (False, True), (True, True)]
    assert types == [
        transmission_type(
            verb=verb, tls=tls, authenticated=authenticated, smtputf8=plain.startswith("UTF8")
        )
        for tls, authenticated in circumstances
    ]


@given(st.floats(0, 253_402_300_799))
def test_dates_are_those_of_the_calendar(seconds: float) -> None:
    moment = datetime.fromtimestamp(int(seconds), UTC)
    assert parsedate_to_datetime(date_time(seconds)) == moment
    assert date_time(seconds)[:3] == moment.strftime("%a")


def test_dates_are_english_in_any_locale() -> None:
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, "")
        assert date_time(0) == "Thu, 01 Jan 1970 00:00:00 +0000"
    finally:
        locale.setlocale(locale.LC_TIME, before)
