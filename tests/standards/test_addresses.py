"""Attacks on addresses and relaying; our domain is `local.example`, our only mailbox is bob's.

(Forged bounces and the author address that DMARC judges belong to the parts that send bounces and
judge authors; what a hook sees of an ambiguous header is tested here.)
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatepost import Accept, Address, Answer, Entries, Headers, Plugin, Recipient, Transaction
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.plugins.queue.maildir import Maildir
from gatepost.plugins.rcpt.domains import Domains
from gatepost.plugins.rcpt.recipients import Recipients
from gatepost.server.conversation import Conversation
from gatepost.site import Site
from gatepost.testing import a_session

ATOM = "a" * 60


def plugins() -> list[Plugin]:
    mailboxes = Recipients(
        rules=Entries(["bob@local.example accept"]),
        domains=Entries(["local.example", "[198.51.100.1]"]),
        default="deny",
    )
    return [mailboxes, Domains(domains=Entries(["local.example"]))]


def answers(*lines: str | bytes, chain: list[Plugin] | None = None) -> list[str]:
    """The code and status of the reply to each line, behind an EHLO."""

    async def talk() -> list[str]:
        placed = ((plugin, Placement("it")) for plugin in chain or plugins())
        conversation = Conversation(a_session(), Chain(placed), Site("mx.example"))
        conversation.receive_data(b"EHLO client.example\r\n")
        await conversation.respond()
        heard = []
        for line in lines:
            conversation.receive_data((line.encode() if isinstance(line, str) else line) + b"\r\n")
            heard.append(" ".join((await conversation.respond()).decode().split(" ")[:2]))
        return heard

    return asyncio.run(talk())


def answer(path: str | bytes, *, utf8: bool = False) -> str:
    """The code and status of the reply to RCPT."""
    octets = path.encode() if isinstance(path, str) else path
    mail = "MAIL FROM:<anne@client.example>" + (" SMTPUTF8" if utf8 else "")
    first, second = answers(mail, b"RCPT TO:" + octets)
    assert first == "250 2.1.0"
    return second


RELAYING, UNKNOWN, SYNTAX, OK = "550 5.7.1", "550 5.1.1", "501 5.1.3", "250 2.1.5"


# fmt: off
RECIPIENTS: list[tuple[str | bytes, str]] = [
    ("<bob@local.example>", OK),
    ("<bob@LOCAL.Example>", OK),
    # A1: to relay is denied.
    ("<victim@remote.example>", RELAYING),
    # A2: a percent sign is a character like any other.
    ("<victim%remote.example@local.example>", UNKNOWN),
    ("<bob%remote.example@local.example>", UNKNOWN),
    # A3: so is an exclamation mark.
    ("<remote.example!victim>", SYNTAX),
    ("<remote.example!victim@local.example>", UNKNOWN),
    # A4: a source route is dropped, and what is left is judged.
    ("<@local.example:victim@remote.example>", RELAYING),
    ("<@a.example,@local.example:victim@remote.example>", RELAYING),
    ("<@remote.example:bob@local.example>", OK),
    ("<@local.example,victim@remote.example>", SYNTAX),
    # A5: quotes make a local part, and nothing comes out of them.
    ('<"victim@remote.example"@local.example>', UNKNOWN),
    ('<"bob@local.example"@remote.example>', RELAYING),
    ('<"victim@remote.example">', SYNTAX),
    ('<"victim%remote.example">', SYNTAX),
    ('<"bob"@local.example>', OK),
    # A6: an address has one at sign.
    ("<victim@remote.example@local.example>", SYNTAX),
    ("<bob@local.example@remote.example>", SYNTAX),
    # A7: a literal is a domain like any other.
    ("<victim@[192.0.2.9]>", RELAYING),
    ("<victim@[IPv6:::1]>", RELAYING),
    ("<victim@[198.51.100.1]>", UNKNOWN),
    ("<bob@[198.51.100.1]>", UNKNOWN),
    ("<bob@[198.51.100.256]>", SYNTAX),
    ("<bob@[127.1]>", SYNTAX),
    ("<bob@[local.example]>", SYNTAX),
    # A8: there is one spelling of a domain, but for letter case.
    ("<bob@local.example.>", SYNTAX),
    ("<victim@remote.example.>", SYNTAX),
    ("<bob@local..example>", SYNTAX),
    ("<bob@.local.example>", SYNTAX),
    ("<bob@>", SYNTAX),
    ("<bob@local.example >", SYNTAX),
    ("<bob@local.example,remote.example>", SYNTAX),
    ("<bob@local_.example>", SYNTAX),
    ("<bob..x@local.example>", SYNTAX),
    (b"<.bob@local.example>", SYNTAX),
    # A9: no control characters, quoted or not.
    (b'<"a\rRCPT TO:<b>"@local.example>', SYNTAX),
    (b'<"a\\\rb"@local.example>', SYNTAX),
    (b"<a\0@local.example>", SYNTAX),
    (b'<"a\0"@local.example>', SYNTAX),
    (b"<a\tb@local.example>", SYNTAX),
    (b'<"a\x7fb"@local.example>', SYNTAX),
    # A10: an encoded word is nothing but its letters.
    ("<=?x?q?a=40b=3e=00?=@local.example>", UNKNOWN),
    ("<=?utf-8?q?bob?=@local.example>", UNKNOWN),
    ("<=?utf-8?q?victim=40remote.example=3e?=@remote.example>", RELAYING),
    # A12: what is no UTF-8 is no address.
    (b"<bob\xc0\x80@local.example>", "500 5.5.2"),
    (b"<bob\xed\xa0\x80@local.example>", "500 5.5.2"),
    (b"<bob\xff@local.example>", "500 5.5.2"),
    ("<böb@local.example>", "553 5.6.7"),
    # A13: up to the limits and not beyond; nothing is cut off.
    (f"<{'b' * 64}@local.example>", UNKNOWN),
    (f"<{'b' * 65}@local.example>", SYNTAX),
    (f"<bob@{'x' * 63}.example>", RELAYING),
    (f"<bob@{'x' * 64}.example>", SYNTAX),
    (f"<b@{'x' * 50}.{'x' * 50}.{'x' * 50}.{'x' * 50}.{'x' * 48}>", RELAYING),  # a path of 256
    (f"<b@{'x' * 50}.{'x' * 50}.{'x' * 50}.{'x' * 50}.{'x' * 49}>", SYNTAX),
    (f"<bob@{'x.' * 130}example>", SYNTAX),
    # A14, A15: what would be a path or an argument is letters.
    ("<../../etc/cron.d/x@local.example>", SYNTAX),
    ('<"../../etc/cron.d/x"@local.example>', UNKNOWN),
    ("<a/b@local.example>", UNKNOWN),
    ('<"."@local.example>', UNKNOWN),
    ('<".."@local.example>', UNKNOWN),
    ("<-f@local.example>", UNKNOWN),
    ("<|cmd@local.example>", UNKNOWN),
    ("<:include:/etc/passwd@local.example>", SYNTAX),
    ("<;id;@local.example>", SYNTAX),
    ('<";id;"@local.example>', UNKNOWN),
    ("<$(id)@local.example>", SYNTAX),
    ("<`id`@local.example>", UNKNOWN),
    ("<bob+../x@local.example>", SYNTAX),
    ('<"bob+../x"@local.example>', UNKNOWN),
    # A17: what would be a header field of a notification is refused.
    ("<bob@local.example> ORCPT=rfc822;bob+0D+0AX:y", "501 5.5.4"),
    ("<bob@local.example> ORCPT=rfc822;" + "b" * 501, "501 5.5.4"),
    ("<bob@local.example> NOTIFY=SUCCESS ORCPT=rfc822;bob+40local.example", OK),
    # RFC 5321, 4.5.1
    ("<Postmaster>", OK),
    ("<postMASTER>", OK),
    ("<postmaster@remote.example>", RELAYING),
    ("<>", SYNTAX),
]
# fmt: on


@pytest.mark.parametrize(("path", "reply"), RECIPIENTS)
def test_recipients(path: str | bytes, reply: str) -> None:
    assert answer(path) == reply


# A11: names that look alike are different names.
@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("<bob@local.example>", OK),
        ("<b\N{CYRILLIC SMALL LETTER O}b@local.example>", UNKNOWN),
        ("<bob@l\N{CYRILLIC SMALL LETTER O}cal.example>", RELAYING),
        ("<bob\N{FULLWIDTH COMMERCIAL AT}local.example>", SYNTAX),
        ("<victim\N{FULLWIDTH COMMERCIAL AT}remote.example@local.example>", UNKNOWN),
        ("<bob@local\N{IDEOGRAPHIC FULL STOP}example>", SYNTAX),
        ("<bob@\N{FULLWIDTH LATIN SMALL LETTER L}ocal.example>", SYNTAX),
        ("<bob@loca\N{ZERO WIDTH JOINER}l.example>", SYNTAX),
        ("<bob@xn--zzzzzzzzzzzz-zz.example>", RELAYING),
        ("<bob\u2028x@local.example>", SYNTAX),
        ("<b\u0308ob@local.example>", UNKNOWN),
    ],
)
def test_recipients_in_other_scripts(path: str, reply: str) -> None:
    assert answer(path, utf8=True) == reply


def test_a11_one_domain_has_one_place_however_it_is_spelled() -> None:
    chain: list[Plugin] = [Domains(domains=Entries(["bücher.example"]))]
    mail = "MAIL FROM:<> SMTPUTF8"
    for domain in ("bücher.example", "BÜCHER.example".replace("Ü", "ü"), "xn--bcher-kva.example"):
        assert answers(mail, f"RCPT TO:<bob@{domain}>", chain=chain)[1] == OK
    decomposed = "bu\u0308cher.example"
    assert answers(mail, f"RCPT TO:<bob@{decomposed}>", chain=chain)[1] in (SYNTAX, OK)


def test_a13_a_command_as_long_as_the_limits_allow_is_read() -> None:
    path = f"<@{'a.' * 50}example:{ATOM}@{'b.' * 30}local.example>"
    assert 240 < len(path) <= 256
    assert answer(path) == RELAYING


@pytest.mark.parametrize(
    "local", ["../../etc/cron.d/x", "a/b", ".", "..", "-f", "|cmd", ";id;", "\\", "", "~root"]
)
def test_a14_no_mailbox_is_outside_of_its_place(local: str) -> None:
    maildir = Maildir(path=Path("/var/mail/{domain}/{local}"))
    place = maildir._maildir(Address(local, "local.example"))
    assert place.parent == Path("/var/mail/local.example")
    assert place.name not in ("", ".", "..")
    assert not place.name.startswith(("-", "."))


def test_a16_a_claimed_identity_is_not_believed() -> None:
    seen: list[tuple[str, str | None]] = []

    class Looks(Plugin):
        """Looks who is there."""

        def mail(self, transaction: Transaction, sender: Address) -> Answer:
            seen.append((transaction.session.user, transaction.parameters.auth))
            return None

    lines = "MAIL FROM:<anne@client.example> AUTH=<admin@local.example>", "RSET"
    assert answers(*lines, "MAIL FROM:<anne@client.example> AUTH=<>", chain=[Looks()]) == [
        "250 2.1.0", "250 2.0.0", "250 2.1.0",
    ]  # fmt: skip
    assert [user for user, _ in seen] == ["", ""]


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("ENVID=a+0D+0AX:+20y", "501 5.5.4"),
        ("ENVID=a+00", "501 5.5.4"),
        ("ENVID=" + "a" * 101, "501 5.5.4"),
        ("ENVID=" + "a" * 1500, "501 5.5.4"),
        ("AUTH=a+0D+0A", "501 5.5.4"),
        ("ENVID=a+2B RET=HDRS", "250 2.1.0"),
    ],
)
def test_a17_parameters_hold_no_control_characters(parameters: str, reply: str) -> None:
    assert answers(f"MAIL FROM:<anne@client.example> {parameters}") == [reply]


@pytest.mark.parametrize(
    ("block", "values"),
    [
        (b"From: a@good.example\r\nFrom: b@evil.example\r\n", ["a@good.example", "b@evil.example"]),
        (b"From : b@evil.example\r\nFROM: a@good\r\n", ["b@evil.example", "a@good"]),
        (b"FROM:\r\n b@evil.example\r\n", ["b@evil.example"]),
        (b'From: "a@evil.example" <b@good.example>\r\n', ['"a@evil.example" <b@good.example>']),
        (b"From: a@good.example <b@evil.example>\r\n", ["a@good.example <b@evil.example>"]),
        (b"From: a@good.example\0<b@evil.example>\r\n", ["a@good.example <b@evil.example>"]),
        (b"From: \xff\xfe <b@evil.example>\r\n", ["\ufffd\ufffd <b@evil.example>"]),
    ],
)
def test_a19_a_hook_sees_every_author(block: bytes, values: list[str]) -> None:
    headers = Headers(block)
    assert headers.get_all("from") == values
    assert headers.count("From") == len(values)


def test_to_be_allowed_is_not_to_relay() -> None:
    class Friends(Plugin):
        """Knows everybody."""

        def mail(self, transaction: Transaction, sender: Address) -> Answer:
            transaction.session.allow("a friend")
            return Accept()

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
            return None

    chain = [Friends(), *plugins()]
    rcpt = "RCPT TO:<victim@remote.example>"
    assert answers("MAIL FROM:<anne@client.example>", rcpt, chain=chain)[1] == RELAYING
