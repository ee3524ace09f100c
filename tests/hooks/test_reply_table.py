"""The reply table: which verdict earns which reply, and what plugins may change of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost import Accept, Address, Defer, Deny, Reply, Verdict
from gatepost.hooks.replies import DECISIONS, REPLIES, Template, reply_to

BOB = Address("bob", "example.org")
WORDS: dict[str, object] = {
    "greeting": "mx.example ESMTP",
    "me": "mx.example",
    "name": "client.example",
    "sender": Address("anne", "client.example"),
    "recipient": BOB,
    "id": "k2x81a03c5m2.1",
    "text": "staff",
    "commands": "EHLO MAIL",
}


def wire(hook: str, verdict: Verdict | None) -> str:
    """A reply as the client sees it."""
    return reply_to(hook, verdict, WORDS).encode().decode().strip()


@pytest.mark.parametrize(
    ("hook", "verdict", "line"),
    [
        ("connect", None, "220 mx.example ESMTP"),
        ("connect", Deny(), "554 5.7.1 You are not welcome here"),
        ("connect", Defer(), "421 4.7.0 Come back later"),
        ("helo", None, "250 mx.example"),
        ("helo", Deny(), "550 5.7.1 client.example is not welcome"),
        ("mail", None, "250 2.1.0 Sender ok"),
        ("mail", Deny(), "550 5.7.1 <anne@client.example> refused"),
        ("mail", Deny("No"), "550 5.7.1 No"),
        ("mail", Deny("No", code=553), "553 5.7.1 No"),
        ("mail", Deny("No", status="5.1.8"), "550 5.1.8 No"),
        ("mail", Deny(code=553, status="5.1.8"), "553 5.1.8 <anne@client.example> refused"),
        ("mail", Defer("Not now", status="4.1.8"), "451 4.1.8 Not now"),
        ("rcpt", None, "550 5.7.1 We do not relay"),
        ("rcpt", Accept(), "250 2.1.5 Recipient ok"),
        ("rcpt", Accept("Welcome, bob"), "250 2.1.5 Welcome, bob"),
        ("rcpt", Defer(), "450 4.2.1 <bob@example.org> refused for now"),
        ("data", None, "354 End with a dot on a line"),
        ("queue", None, "451 4.3.0 Nobody took the message"),
        ("queue", Accept(), "250 2.0.0 Queued as k2x81a03c5m2.1"),
        ("queue", Accept("Thank you"), "250 2.0.0 Thank you"),
        ("vrfy", None, "252 2.5.0 Send some mail, I will try my best"),
        ("expn", None, "502 5.5.1 Not here"),
        ("help", None, "214 2.0.0 Commands: EHLO MAIL"),
        ("unrecognized", None, "500 5.5.2 Command not recognized"),
        ("quit", None, "221 2.0.0 mx.example says goodbye"),
        ("quit", Deny("Never"), "221 2.0.0 mx.example says goodbye"),
        ("quit", Defer(), "221 2.0.0 mx.example says goodbye"),
    ],
)
def test_replies(hook: str, verdict: Verdict | None, line: str) -> None:
    assert wire(hook, verdict) == line


@pytest.mark.parametrize(
    ("hook", "verdict", "final"),
    [
        ("connect", None, False),
        ("connect", Deny(), False),  # it may still say QUIT (RFC 5321, 3.1)
        ("connect", Deny(disconnect=True), True),
        ("connect", Defer(), True),
        ("rcpt", Deny(), False),
        ("rcpt", Deny(disconnect=True), True),
        ("rcpt", Defer(disconnect=True), True),
        ("rcpt", Defer(code=421, status="4.7.0"), True),
        ("queue", Accept(), False),
        ("quit", None, True),
        ("quit", Deny("No"), True),
    ],
)
def test_who_is_sent_away(hook: str, verdict: Verdict | None, final: bool) -> None:
    assert reply_to(hook, verdict, WORDS).final is final


def test_foreign_words_stay_on_their_line() -> None:
    words = WORDS | {"name": "a\r\n250 ok\x1b[2J\u2028"}
    assert bytes(reply_to("helo", Deny(), words)) == (
        b"550-5.7.1 a\r\n550 5.7.1 250 ok [2J  is not welcome\r\n"
    )
    assert bytes(reply_to("rcpt", Deny("a\r\n250 ok\0"), words)) == (
        b"550-5.7.1 a\r\n550 5.7.1 250 ok \r\n"
    )


def test_blanks_are_filled_only_in_the_table_and_not_in_foreign_words() -> None:
    assert (
        reply_to("rcpt", Deny("{recipient.address} {0}"), WORDS).text == "{recipient.address} {0}"
    )
    assert reply_to("helo", Deny(), {"name": "{me}", "me": "x"}).text == "{me} is not welcome"


def test_a_template_without_blanks_is_a_reply() -> None:
    assert Template.parse("250 2.0.0 Ok").constant == Reply(250, "2.0.0", "Ok")
    assert Template.parse("250 2.0.0 {me}").constant is None


verdicts = st.one_of(
    st.builds(Accept, st.text()),
    st.builds(
        Deny,
        st.text(),
        st.none() | st.integers(500, 599),
        st.sampled_from(["", "5.0.0", "5.7.509"]),
        st.booleans(),
    ),
    st.builds(
        Defer,
        st.text(),
        st.none() | st.integers(400, 499),
        st.sampled_from(["", "4.0.0", "4.7.999"]),
        st.booleans(),
    ),
)


@given(hook=st.sampled_from(DECISIONS), verdict=st.none() | verdicts, foreign=st.text())
@settings(deadline=None, max_examples=300)
def test_whatever_is_answered_the_reply_is_well_formed(
    hook: str, verdict: Verdict | None, foreign: str
) -> None:
    reply = reply_to(hook, verdict, dict.fromkeys(WORDS, foreign))
    for utf8 in (False, True):
        octets = reply.encode(utf8=utf8)
        *lines, nothing = octets.split(b"\r\n")
        assert nothing == b""
        assert all(line[:3] == b"%d" % reply.code and len(line) <= 510 for line in lines)
        assert all(line[3:4] == b"-" for line in lines[:-1])
        assert lines[-1][3:4] == b" "
        assert not any(octet < 32 or octet == 127 for line in lines for octet in line)


def test_every_row_is_a_hook_on_which_plugins_decide() -> None:
    assert tuple(REPLIES) == DECISIONS
