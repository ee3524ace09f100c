"""The grammar of commands (RFC 5321, 4.1): what each line means, and what each mistake earns."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.address import Address
from gatepost.protocol.commands import LMTP_VERBS, SMTP_VERBS, Context, parse, split
from gatepost.protocol.events import (
    Auth,
    Bdat,
    Data,
    Ehlo,
    Event,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
)
from gatepost.protocol.extensions import (
    EXTENSIONS,
    core_capabilities,
    keywords,
)
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.xclient import XClientFacts
from gatepost.reply import Reply

EVERYTHING = frozenset(extension.keyword for extension in EXTENSIONS)
OFFERED = keywords(core_capabilities(message_size=1000, recipients=100, messages=100))

VERBS = SMTP_VERBS | LMTP_VERBS
ANNE = Address("anne", "client.example")
BOB = Address("bob", "example.org")


def mail(sender: Address, parameters: MailParameters = MailParameters()) -> Mail:  # noqa: B008
    return Mail(sender, parameters)


def rcpt(recipient: Address, parameters: RcptParameters = RcptParameters()) -> Rcpt:  # noqa: B008
    return Rcpt(recipient, parameters)


def event_of(line: bytes, *, offered: frozenset[str] = EVERYTHING, **context: bool) -> Event:
    """What a line means, with all extensions in force."""
    command = split(line)
    if isinstance(command, Malformed):
        return command
    return parse(*command, Context(offered, **cast(Any, context)))


def refusal(line: bytes, *, offered: frozenset[str] = EVERYTHING, **context: bool) -> Reply:
    """The reply that a line earns by itself."""
    event = event_of(line, offered=offered, **context)
    assert isinstance(event, Malformed), event
    assert not event.reply.positive
    return event.reply


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"HELO client.example", Helo("client.example")),
        (b"EHLO client.example", Ehlo("client.example")),
        (b"EHLO [192.0.2.1]", Ehlo("[192.0.2.1]")),
        (b"EHLO [IPv6:2001:db8::1]", Ehlo("[IPv6:2001:db8::1]")),
        (b"EHLO my_desktop", Ehlo("my_desktop")),  # many do, and it says nothing about their mail
        (b"ehlo x", Ehlo("x")),
        (b"eHLo x ", Ehlo("x")),
        (b"EHLO " + b"x" * 255, Ehlo("x" * 255)),
        (b"MAIL FROM:<anne@client.example>", mail(ANNE)),
        (b"mail from:<anne@client.example>", mail(ANNE)),
        (b"MAIL FROM: <anne@client.example>", mail(ANNE)),  # RFC 5321, 3.3: common, harmless
        (b"MAIL FROM:<anne@client.example>  ", mail(ANNE)),
        (b"MAIL FROM:<>", mail(Address("", ""))),
        (b"MAIL FROM:<> SIZE=10", mail(Address("", ""), MailParameters(size=10))),
        (b"MAIL FROM:<@a.example,@b.example:anne@client.example>", mail(ANNE)),
        (b'MAIL FROM:<"a>b"@x.example>', mail(Address("a>b", "x.example"))),
        (rb'MAIL FROM:<"a\"b"@x.example>', mail(Address('a"b', "x.example"))),
        (
            b"MAIL FROM:<a@x> body=8bitmime",
            mail(Address("a", "x"), MailParameters(body="8BITMIME")),
        ),
        (
            "MAIL FROM:<jürgen@bücher.example> SMTPUTF8".encode(),
            mail(Address("jürgen", "bücher.example"), MailParameters(smtputf8=True)),
        ),
        (b"RCPT TO:<bob@example.org>", rcpt(BOB)),
        (b"rcpt to:<bob@example.org>", rcpt(BOB)),
        (b"RCPT TO:<Postmaster>", rcpt(Address("Postmaster", ""))),
        (b"RCPT TO:<pOSTMASTER>", rcpt(Address("pOSTMASTER", ""))),
        (
            b"RCPT TO:<bob@example.org> NOTIFY=NEVER",
            rcpt(BOB, RcptParameters(notify=frozenset({"NEVER"}))),
        ),
        (b"DATA", Data()),
        (b"DATA  ", Data()),
        (b"BDAT 5", Bdat(5)),
        (b"BDAT 0 LAST", Bdat(0, last=True)),
        (b"bdat 86 last", Bdat(86, last=True)),
        (b"BDAT 999999999999999999", Bdat(999_999_999_999_999_999)),
        (b"RSET", Rset()),
        (b"NOOP", Noop()),
        (b"NOOP well, well", Noop("well, well")),
        (b"QUIT", Quit()),
        (b"VRFY bob", Vrfy("bob")),
        ("VRFY jürgen SMTPUTF8".encode(), Vrfy("jürgen SMTPUTF8")),
        (b"EXPN staff", Expn("staff")),
        (b"HELP", Help()),
        (b"HELP mail", Help("mail")),
        (b"STARTTLS", StartTls()),
        (b"AUTH PLAIN", Auth("PLAIN")),
        (b"AUTH plain AGE=", Auth("PLAIN", "AGE=")),
        (b"AUTH PLAIN =", Auth("PLAIN", "=")),
        (b"XCLIENT ADDR=192.0.2.1 name=x", XClient(XClientFacts(address="192.0.2.1", name="x"))),
        (b"", Unrecognized("")),
        (b" MAIL", Unrecognized("", "MAIL")),
        (b"FROBNICATE it", Unrecognized("FROBNICATE", "it")),
        (b"MAILFROM:<a@b>", Unrecognized("MAILFROM:<A@B>")),
    ],
)
def test_what_lines_mean(line: bytes, event: Event) -> None:
    assert event_of(line) == event


def test_greetings_of_lmtp() -> None:
    assert event_of(b"LHLO client.example", lmtp=True) == Lhlo("client.example")
    assert event_of(b"LHLO client.example") == Unrecognized("LHLO", "client.example")
    # RFC 2033, 4.1: HELO and EHLO are unknown to LMTP.
    assert event_of(b"EHLO client.example", lmtp=True) == Unrecognized("EHLO", "client.example")
    assert event_of(b"HELO client.example", lmtp=True) == Unrecognized("HELO", "client.example")


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        (b"HELO", 501, "5.5.4"),
        (b"EHLO", 501, "5.5.4"),
        (b"EHLO a b", 501, "5.5.4"),
        (b"EHLO <script>", 501, "5.5.4"),
        (b"EHLO " + b"x" * 256, 501, "5.5.4"),
        (b"EHLO a\tb", 501, "5.5.4"),
        (b"MAIL", 501, "5.1.7"),
        (b"MAIL FROM", 501, "5.1.7"),
        (b"MAIL FROM:", 501, "5.1.7"),
        (b"MAIL FROM:anne@client.example", 501, "5.1.7"),
        (b"MAIL FROM:<anne@client.example", 501, "5.1.7"),
        (b"MAIL TO:<anne@client.example>", 501, "5.1.7"),
        (b"MAIL FROM <anne@client.example>", 501, "5.1.7"),
        (b"MAIL FROM:<anne>", 501, "5.1.7"),
        (b"MAIL FROM:<a b@x>", 501, "5.1.7"),
        (b"MAIL FROM:<a\r@x>", 501, "5.1.7"),
        (b"MAIL FROM:<a\0@x>", 501, "5.1.7"),
        (b"MAIL FROM:<a@x>SIZE=1", 501, "5.5.4"),
        (b"MAIL FROM:<a@x> SIZE=big", 501, "5.5.4"),
        (b"MAIL FROM:<a@x> SIZE=1 SIZE=2", 501, "5.5.4"),
        (b"MAIL FROM:<a@x> BODY=9BIT", 501, "5.5.4"),
        (b"MAIL FROM:<a@x> FROB=1", 555, "5.5.4"),
        ("MAIL FROM:<jürgen@x>".encode(), 553, "5.6.7"),
        (b"MAIL FROM:<\xff@x> SMTPUTF8", 500, "5.5.2"),
        (b"RCPT", 501, "5.1.3"),
        (b"RCPT TO:", 501, "5.1.3"),
        (b"RCPT TO:<>", 501, "5.1.3"),
        (b"RCPT TO:<bob>", 501, "5.1.3"),
        (b"RCPT TO:<bob@example.org> NOTIFY=NEVER,DELAY", 501, "5.5.4"),
        (b"RCPT TO:<bob@example.org> SIZE=1", 555, "5.5.4"),
        ("RCPT TO:<jürgen@x>".encode(), 553, "5.6.7"),
        (b"DATA now", 501, "5.5.4"),
        (b"RSET now", 501, "5.5.4"),
        (b"QUIT now", 501, "5.5.4"),
        (b"STARTTLS now", 501, "5.5.4"),
        (b"VRFY", 501, "5.5.4"),
        (b"EXPN", 501, "5.5.4"),
        (b"NOOP \0", 501, "5.5.4"),
        (b"AUTH", 501, "5.5.4"),
        (b"AUTH PLAIN a b", 501, "5.5.4"),
        (b"XCLIENT", 501, "5.5.4"),
        (b"XCLIENT ADDR", 501, "5.5.4"),
        (b"ETRN x", 502, "5.5.1"),
        (b"TURN", 502, "5.5.1"),
        (b"\xff\xfe", 500, "5.5.2"),
        (b"NOOP \xc3\xbc", 500, "5.5.2"),
        ("ma\u0131l FROM:<a@x>".encode(), 500, "5.5.2"),  # whose capital is an I
        (b"FROB\0", 500, "5.5.2"),
        (b"\x1b[2J", 500, "5.5.2"),
        (b"MAIL\tFROM:<a@x>", 500, "5.5.2"),
    ],
)
def test_what_mistakes_earn(line: bytes, code: int, status: str) -> None:
    reply = refusal(line)
    assert (reply.code, reply.status, reply.final) == (code, status, False)


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        (b"BDAT", 501, "5.5.4"),
        (b"BDAT ", 501, "5.5.4"),
        (b"BDAT LAST", 501, "5.5.4"),
        (b"BDAT -5", 501, "5.5.4"),
        (b"BDAT +5", 501, "5.5.4"),
        (b"BDAT 0x5", 501, "5.5.4"),
        (b"BDAT 5 FIRST", 501, "5.5.4"),
        (b"BDAT 5  LAST", 501, "5.5.4"),
        (b"BDAT  5", 501, "5.5.4"),
        (b"BDAT 5 LAST LAST", 501, "5.5.4"),
        (b"BDAT 1_0", 501, "5.5.4"),
        ("BDAT \uff15".encode(), 500, "5.5.2"),
        (b"BDAT 5\t", 501, "5.5.4"),
        (b"BDAT 5\0", 501, "5.5.4"),
        (b"BDAT " + b"9" * 19, 552, "5.3.4"),
        (b"BDAT " + b"9" * 400, 552, "5.3.4"),
    ],
)
def test_after_a_chunk_of_unknown_size_nothing_is_read(line: bytes, code: int, status: str) -> None:
    reply = refusal(line)
    assert (reply.code, reply.status, reply.final) == (code, status, True)


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"POST / HTTP/1.1",
        b"connect mx.example:25 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"USER anne",
        b"SSH-2.0-OpenSSH_9.2",
        b"\x16\x03\x01\x00\xa5\x01",
        b"\x16\x03abc",
        b"POST /\xff",
    ],
)
def test_other_protocols_are_sent_away(line: bytes) -> None:
    assert refusal(line) == Reply(521, "5.7.0", "This is a mail server", final=True)


@pytest.mark.parametrize("verb", sorted(verb for verb, row in VERBS.items() if row.needs))
def test_what_is_not_offered_is_not_implemented(verb: str) -> None:
    reply = refusal(f"{verb} 5".encode(), offered=frozenset())
    assert (reply.code, reply.status) == (502, "5.5.1")
    assert reply.final is (verb == "BDAT")  # five octets follow that are no commands


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ("SMTPUTF8", 555),
        ("REQUIRETLS", 555),
        ("BODY=BINARYMIME", 555),
        ("HOLDFOR=10", 555),
        ("BY=10;R", 555),
        ("MT-PRIORITY=1", 555),
        ("SIZE=1", 0),
        ("BODY=8BITMIME", 0),
        ("AUTH=<>", 0),
        ("RET=HDRS", 0),
        ("ENVID=x", 0),
    ],
)
def test_parameters_that_promise_something_have_to_be_offered(parameter: str, code: int) -> None:
    line = f"MAIL FROM:<a@x> {parameter}".encode()
    assert isinstance(event_of(line), Mail)
    event = event_of(line, offered=frozenset())
    assert (event.reply.code if isinstance(event, Malformed) else 0) == code


def test_recipients_are_utf8_only_where_mail_said_so() -> None:
    line = "RCPT TO:<jürgen@bücher.example>".encode()
    assert refusal(line).code == 553
    assert event_of(line, utf8=True) == rcpt(Address("jürgen", "bücher.example"))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_command_says_what_it_wants(verb: str) -> None:
    assert VERBS[verb].usage.split()[0] == verb


def test_a_rewritten_argument_is_checked_as_well() -> None:
    for text in ("FROM:<a@b>\r\nRCPT TO:<c@d>", "FROM:<a@b>\ud800", "FROM:<\x85@b>"):
        assert isinstance(parse("MAIL", text, Context(EVERYTHING, utf8=True)), Malformed)


words = st.sampled_from(
    [*VERBS, "", "FROM:<", ">", "TO:", "a@b", '"', "\\", " ", "=", "SIZE", "<>"]
)
lines = st.one_of(
    st.binary(max_size=100),
    st.lists(words, max_size=8).map(lambda chosen: "".join(chosen).encode()),
    st.tuples(st.sampled_from(sorted(VERBS)), st.binary(max_size=60)).map(
        lambda line: line[0].encode() + b" " + line[1]
    ),
)


@given(
    line=lines,
    lmtp=st.booleans(),
    utf8=st.booleans(),
    offered=st.sampled_from([EVERYTHING, OFFERED]),
)
@settings(deadline=None, max_examples=400)
def test_no_line_raises_anything(
    line: bytes, lmtp: bool, utf8: bool, offered: frozenset[str]
) -> None:
    event = event_of(line.replace(b"\n", b""), offered=offered, lmtp=lmtp, utf8=utf8)
    if isinstance(event, Malformed):
        assert all(len(wire) <= 512 for wire in bytes(event.reply).splitlines(keepends=True))
