from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.address import Address
from gatepost.protocol.envelope import (
    BINARY,
    EIGHT_BIT,
    STRAY,
    TLS_LACKS,
    TOO_BIG,
    UTF8,
    Envelope,
    Wording,
    xtext,
)
from gatepost.protocol.parameters import MailParameters, OriginalRecipient, RcptParameters
from gatepost.protocol.stuffing import Survey
from gatepost.reply import Reply

ANNE = Address("anne", "a.example")
BOB = Address("bob", "b.example")
BJORN = Address("björn", "b.example")
AT_BUECHER = Address("bob", "bücher.example")

ASCII = b"Subject: a\r\n\r\nb\r\n"
BODY_8 = b"Subject: a\r\n\r\n\xc3\xa9\r\n"
HEADER_8 = b"Subject: \xc3\xa9\r\n\r\nb\r\n"


def wording(
    content: bytes = ASCII,
    *,
    offered: str = "",
    recipients: tuple[Address, ...] = (BOB,),
    mail: MailParameters | None = None,
    rcpt: RcptParameters | None = None,
    secure: bool = False,
) -> Wording:
    """The wording for a server that offers `SIZE=10 DSN ...`."""
    survey = Survey()
    survey.add(content)
    envelope = Envelope(ANNE, recipients, mail or MailParameters(), (rcpt,) if rcpt else ())
    capabilities = dict(word.partition("=")[::2] for word in offered.split())
    return Wording(envelope, survey, capabilities=capabilities, secure=secure)


UTF8_ASKED = MailParameters(smtputf8=True)
BINARYMIME = MailParameters(body="BINARYMIME")
REQUIRETLS = MailParameters(requiretls=True)
URGENT = MailParameters(mt_priority=-3)
CLAIMS = MailParameters(size=9, auth="x@y.example")
NOTICES = MailParameters(ret="HDRS", envid="a+b=c d")


@pytest.mark.parametrize(
    ("content", "offered", "mail", "line"),
    [
        (ASCII, "", None, "FROM:<anne@a.example>"),
        (ASCII, "8BITMIME SMTPUTF8 DSN", None, "FROM:<anne@a.example>"),
        (ASCII, "SIZE", None, "FROM:<anne@a.example> SIZE=17"),
        (ASCII, "SIZE=17", None, "FROM:<anne@a.example> SIZE=17"),
        (BODY_8, "8BITMIME", None, "FROM:<anne@a.example> BODY=8BITMIME"),
        (BODY_8, "BINARYMIME CHUNKING", BINARYMIME, "FROM:<anne@a.example> BODY=BINARYMIME"),
        (ASCII, "SMTPUTF8", UTF8_ASKED, "FROM:<anne@a.example> SMTPUTF8"),
        (ASCII, "", UTF8_ASKED, "FROM:<anne@a.example>"),
        (ASCII, "DSN", NOTICES, "FROM:<anne@a.example> RET=HDRS ENVID=a+2Bb+3Dc+20d"),
        (ASCII, "", NOTICES, "FROM:<anne@a.example>"),
        (ASCII, "MT-PRIORITY", URGENT, "FROM:<anne@a.example> MT-PRIORITY=-3"),
        (ASCII, "", URGENT, "FROM:<anne@a.example>"),
        # What the client announced and who submitted it, by its own word, goes no further.
        (ASCII, "AUTH=PLAIN SIZE", CLAIMS, "FROM:<anne@a.example> SIZE=17"),
    ],
)
def test_mail_uses_what_is_offered(
    content: bytes, offered: str, mail: MailParameters | None, line: str
) -> None:
    words = wording(content, offered=offered, mail=mail)
    assert words.objection([content]) is None
    assert words.mail() == line


ORIGINAL = OriginalRecipient("rfc822", "b+c@d.example")
ORIGINAL_UTF8 = OriginalRecipient("utf-8", "björn@d.example")


@pytest.mark.parametrize(
    ("recipient", "offered", "rcpt", "line"),
    [
        (BOB, "", None, "TO:<bob@b.example>"),
        (BOB, "", RcptParameters(frozenset({"NEVER"})), "TO:<bob@b.example>"),
        (BOB, "DSN", RcptParameters(), "TO:<bob@b.example>"),
        (
            BOB,
            "DSN",
            RcptParameters(frozenset({"DELAY", "SUCCESS"}), ORIGINAL),
            "TO:<bob@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@d.example",
        ),
        (BOB, "DSN", RcptParameters(orcpt=ORIGINAL_UTF8), "TO:<bob@b.example>"),
        (
            BJORN,
            "DSN SMTPUTF8",
            RcptParameters(orcpt=ORIGINAL_UTF8),
            "TO:<björn@b.example> ORCPT=utf-8;björn@d.example",
        ),
        (AT_BUECHER, "SMTPUTF8", None, "TO:<bob@bücher.example>"),
        (AT_BUECHER, "", None, "TO:<bob@xn--bcher-kva.example>"),
    ],
)
def test_rcpt_uses_what_is_offered(
    recipient: Address, offered: str, rcpt: RcptParameters | None, line: str
) -> None:
    words = wording(offered=offered, recipients=(recipient,), rcpt=rcpt)
    assert words.objection([ASCII]) is None
    assert words.rcpt(0) == line


@pytest.mark.parametrize(
    ("content", "offered", "mail", "recipient", "objection"),
    [
        (b"a\nb\r\n", "8BITMIME CHUNKING BINARYMIME", None, BOB, STRAY),  # standards.md F8, F9
        (b"a\r\n.\n.\r\n", "CHUNKING", None, BOB, STRAY),
        (b"a\r", "CHUNKING", None, BOB, STRAY),
        (b"a\nb", "BINARYMIME CHUNKING", BINARYMIME, BOB, None),
        (b"a\nb", "BINARYMIME", BINARYMIME, BOB, BINARY),
        (ASCII, "CHUNKING", BINARYMIME, BOB, BINARY),
        (BODY_8, "", None, BOB, EIGHT_BIT),
        (HEADER_8, "SMTPUTF8", UTF8_ASKED, BOB, EIGHT_BIT),
        (ASCII, "8BITMIME", None, BJORN, UTF8),
        (ASCII, "SMTPUTF8", None, BJORN, None),
        (HEADER_8, "8BITMIME", UTF8_ASKED, BOB, UTF8),
        (HEADER_8, "8BITMIME", None, BOB, None),  # nobody promised that it is UTF-8
        (BODY_8, "8BITMIME", UTF8_ASKED, BOB, None),
        (ASCII, "SIZE=16", None, BOB, TOO_BIG),
        (ASCII, "SIZE=17", None, BOB, None),
        (ASCII, "SIZE=0", None, BOB, None),  # RFC 1870, 4: no fixed limit
        (ASCII, "SIZE=many", None, BOB, None),
        (ASCII, "SIZE=" + "9" * 400, None, BOB, None),
        (ASCII, "REQUIRETLS", REQUIRETLS, BOB, TLS_LACKS),
    ],
)
def test_what_the_server_cannot_take_is_refused_before(
    content: bytes,
    offered: str,
    mail: MailParameters | None,
    recipient: Address,
    objection: Reply | None,
) -> None:
    words = wording(content, offered=offered, mail=mail, recipients=(BOB, recipient))
    assert words.objection([content]) == objection


def test_requiretls_goes_on_over_tls_only() -> None:
    assert wording(mail=REQUIRETLS, secure=True).objection([ASCII]) == TLS_LACKS
    words = wording(mail=REQUIRETLS, offered="REQUIRETLS", secure=True)
    assert words.objection([ASCII]) is None
    assert words.mail() == "FROM:<anne@a.example> REQUIRETLS"


def test_the_null_path_is_a_sender() -> None:
    survey = Survey()
    words = Wording(Envelope(Address("", ""), (BOB,)), survey, capabilities={}, secure=False)
    assert words.mail() == "FROM:<>"


@pytest.mark.parametrize(
    ("recipients", "rcpt"), [((), ()), ((BOB,), (RcptParameters(), RcptParameters()))]
)
def test_an_envelope_without_recipients_or_with_odd_parameters_is_a_mistake(
    recipients: tuple[Address, ...], rcpt: tuple[RcptParameters, ...]
) -> None:
    with pytest.raises(ValueError, match="recipient"):
        Envelope(ANNE, recipients, rcpt=rcpt)


@given(st.text(st.characters(max_codepoint=127)))
def test_xtext_is_one_word_and_reversible(text: str) -> None:
    word = xtext(text)
    assert all("!" <= character <= "~" and character != "=" for character in word)
    head, *escapes = word.split("+")
    assert head + "".join(chr(int(rest[:2], 16)) + rest[2:] for rest in escapes) == text
