"""The plugin submission: who may write as whom, and what a message gets that it lacks."""

from __future__ import annotations

import logging
import re
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Deny,
    Message,
    Plugin,
    Recipient,
    Result,
    Site,
    Transaction,
    Verdict,
)
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.mail.submission import (
    FOREIGN_AUTHOR,
    FOREIGN_SENDER,
    NOT_ONE_AUTHOR,
    UNCLEAR_AUTHOR,
    Submission,
)
from gatepost.received import received_field
from gatepost.testing import a_session, a_transaction, converse, run

ANNE = "anne@example.org"


def said_of(sender: str, *, user: str = ANNE, **options: Any) -> Verdict | None:
    transaction = a_transaction(a_session(user=user), sender=sender)
    return Submission(**options).mail(transaction, transaction.sender)


def submitted(
    message: bytes, *, user: str = ANNE, relaying: bool = False, **options: Any
) -> tuple[Verdict | None, Transaction]:
    """What the plugin says of a message, and the transaction with what it has made of it."""
    plugin = Submission(**options)
    plugin.startup(Site("mx.example"))
    transaction = a_transaction(a_session(user=user, relaying=relaying), message=message)
    return plugin.headers(transaction), transaction


def said_of_fields(fields: str, **options: Any) -> Verdict | None:
    verdict, _ = submitted(fields.encode() + b"\r\nDate: x\r\n\r\nHello\r\n", **options)
    return verdict


def completed(message: bytes, **options: Any) -> bytes:
    verdict, transaction = submitted(message, **options)
    assert verdict is None
    return bytes(transaction.message)


# -- Whose a sender is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "sender", "owned"),
    [
        ("anne@example.org", "anne@example.org", True),
        ("anne@example.org", "Anne@Example.ORG", True),
        ("ANNE@Example.org", "anne@example.org", True),
        ("anne@example.org", "bob@example.org", False),
        ("anne@example.org", "anne@example.com", False),
        ("anne@example.org", "anne@www.example.org", False),
        ("anne@example.org", "anne+x@example.org", False),
        ("anne@example.org", "<>", True),
        ("anne", "anne@example.org", True),
        ("anne", "anne@example.net", True),
        ("anne", "anne@example.com", False),
        ("anne", "bob@example.org", False),
        ("anne@bücher.example", "anne@xn--bcher-kva.example", True),
        # Letters beyond ASCII are not taken for each other: nobody gets another's address.
        ("jörg@example.org", "jörg@example.org", True),
        ("JÖRG@example.org", "jörg@example.org", False),
        ("strasse@example.org", "straße@example.org", False),
        ("kate@example.org", "\u212aate@example.org", False),
        # Names that are no addresses, or would be strange ones, own nothing else.
        ("@example.org", "anne@example.org", False),
        ("*", "anne@example.org", False),
        ("@other.example:anne@example.org", "anne@example.org", False),
        ("anne@example.org@evil.example", "anne@example.org", False),
        ("<anne@example.org>", "anne@example.org", False),
        ("anne@", "anne@example.org", False),
        ("anne@no domain", "anne@example.org", False),
        ("anne\r\nbob", "anne@example.org", False),
    ],
)
def test_users_write_as_what_they_are_called(user: str, sender: str, owned: bool) -> None:
    verdict = said_of(sender, user=user, domains=["example.org", "Example.NET"])
    assert verdict == (None if owned else FOREIGN_SENDER)


@pytest.mark.parametrize(
    ("user", "sender", "owned"),
    [
        ("anne", "sales@example.org", True),
        ("Anne", "SALES@example.ORG", True),
        ("anne", "anne@example.org", True),
        ("anne", "second@example.org", True),
        ("anne", "bob@example.org", False),
        ("bob", "sales@example.org", True),
        ("bob", "whoever@shop.example", True),
        ("bob", "whoever@www.shop.example", False),
        ("bob", "whoever@lists.example", False),
        ("bob", "whoever@one.lists.example", True),
        ("bob", "whoever@far.one.lists.example", True),
        ("bob", "whoever@mylists.example", False),
        ("bob", "second@example.org", False),
        ("wiki", "whoever@wherever.example", True),
        ("John Smith", "john@example.org", True),
        ('Say "x"', "say@example.org", True),
        ("carol", "a b@example.org", True),
        ("nobody", "sales@example.org", False),
        ("nobody", "<>", True),
    ],
)
def test_users_write_as_what_the_list_says(user: str, sender: str, owned: bool) -> None:
    lines = [
        "anne sales@example.org anne@Example.org",
        "ANNE second@example.org",
        "bob sales@example.org @shop.example .lists.example",
        "wiki *",
        '"John Smith" john@example.org',
        r'"Say \"x\"" say@example.org',
        'carol "a b"@example.org',
    ]
    address = Address("a b", "example.org") if " " in sender else Address.of(sender)
    transaction = a_transaction(a_session(user=user))
    plugin = Submission(lines, own_name=False)
    assert plugin.mail(transaction, address) == (None if owned else FOREIGN_SENDER)


def test_the_list_comes_on_top_of_the_name() -> None:
    for own_name, verdict in ((True, None), (False, FOREIGN_SENDER)):
        options: dict[str, Any] = {"senders": [f"{ANNE} sales@example.org"], "own_name": own_name}
        assert said_of("sales@example.org", **options) is None
        assert said_of(ANNE, **options) == verdict


@pytest.mark.parametrize(
    ("extension", "sender", "owned"),
    [
        ("+", "anne+lists@example.org", True),
        ("+", "ANNE+lists+more@example.org", True),
        ("+", "anne@example.org", True),
        ("+", "anne-lists@example.org", False),
        ("+", "bob+anne@example.org", False),
        ("+", "+anne@example.org", False),
        ("+", "anne+x@example.com", False),
        ("-", "anne-lists@example.org", True),
        ("", "anne+lists@example.org", False),
    ],
)
def test_extensions(extension: str, sender: str, owned: bool) -> None:
    assert said_of(sender, extension=extension) == (None if owned else FOREIGN_SENDER)


def test_an_extension_may_belong_to_somebody_by_itself() -> None:
    senders = ["bob anne+shop@example.org"]
    assert said_of("anne+shop@example.org", user="bob", senders=senders, extension="+") is None
    assert said_of("anne@example.org", user="bob", senders=senders, extension="+") == FOREIGN_SENDER


@pytest.mark.parametrize("relaying", [False, True])
def test_nobody_else_is_concerned(relaying: bool) -> None:
    plugin = Submission(hide_client=True)
    message = b"From: bob@example.org, x\r\nBcc: carol@example.org\r\n\r\nHello\r\n"
    session = a_session(relaying=relaying)
    transaction = a_transaction(session, sender="bob@example.org", message=message)
    assert plugin.mail(transaction, transaction.sender) is None
    assert plugin.headers(transaction) is None
    assert plugin.received(transaction, "from a by b") == "from a by b"
    assert bytes(transaction.message) == message


# -- Whose a message is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ("From: anne@example.org", None),
        ("FROM \t: Anne <Anne@Example.org>", None),
        ("From: Anne\r\n <anne@example.org>", None),
        ('From: "bob@example.org" <anne@example.org>', None),
        ("From: anne@example.org, Sales <sales@example.org>", None),
        ("From: anne@example.org\r\nSender: sales@example.org", None),
        ("From: bob@example.org", FOREIGN_AUTHOR),
        ("From: Anne <bob@example.org>", FOREIGN_AUTHOR),
        ("From: anne@example.org, bob@example.org", FOREIGN_AUTHOR),
        ("From: bob@example.org, anne@example.org", FOREIGN_AUTHOR),
        ("From: anne@example.org\r\nSender: bob@example.org", FOREIGN_AUTHOR),
        ("From: bob@example.org\r\nSender: anne@example.org", FOREIGN_AUTHOR),
        ("From: bob@example.org\r\nResent-From: anne@example.org", FOREIGN_AUTHOR),
        ("Subject: nobody's", NOT_ONE_AUTHOR),
        ("Sender: anne@example.org", NOT_ONE_AUTHOR),
        ("Sender: anne@example.org\r\nSender: anne@example.org", NOT_ONE_AUTHOR),
        ("From: anne@example.org\r\nfrom: anne@example.org", NOT_ONE_AUTHOR),
        ("From: anne@example.org\r\nFrom : bob@example.org", NOT_ONE_AUTHOR),
        (
            "From: anne@example.org\r\nSender: anne@example.org\r\nSENDER: anne@example.org",
            NOT_ONE_AUTHOR,
        ),
        # A19
        ("From: bob@example.org <anne@example.org>", UNCLEAR_AUTHOR),
        ("From: anne@example.org <bob@example.org>", UNCLEAR_AUTHOR),
        ("From: \x00<anne@example.org>", UNCLEAR_AUTHOR),
        ("From: Us: anne@example.org;", UNCLEAR_AUTHOR),
        ("From: <@bob.example:anne@example.org>", UNCLEAR_AUTHOR),
        ('From: "bob@evil.example x"@example.org', UNCLEAR_AUTHOR),
        ("From: Anne (a (b)) <anne@example.org>", UNCLEAR_AUTHOR),
        ("From:", UNCLEAR_AUTHOR),
        ("From: Anne", UNCLEAR_AUTHOR),
        ("From: <>", UNCLEAR_AUTHOR),
        ("From: anne@example.org\r\nSender: <>", UNCLEAR_AUTHOR),
    ],
)
def test_the_authors_must_be_the_user(fields: str, verdict: Verdict | None) -> None:
    assert said_of_fields(fields, senders=[f"{ANNE} sales@example.org"]) == verdict


def test_octets_that_are_no_utf_8_are_unclear() -> None:
    verdict, _ = submitted(b"From: J\xf6rg <anne@example.org>\r\n\r\n")
    assert verdict == UNCLEAR_AUTHOR


def test_whoever_may_write_as_anybody_must_be_plain_nevertheless() -> None:
    options: dict[str, Any] = {"user": "wiki", "senders": ["wiki *"]}
    assert said_of_fields("From: whoever@wherever.example", **options) is None
    assert said_of_fields("From: a@b.example, c@d.example", **options) is None
    assert said_of_fields("From: a@b.example c@d.example", **options) == UNCLEAR_AUTHOR
    assert said_of_fields("From: a@b.example\r\nFrom: a@b.example", **options) == NOT_ONE_AUTHOR


def test_a_refused_message_stays_as_it_is() -> None:
    message = b"From: bob@example.org\r\nBcc: carol@example.org\r\n\r\nHello\r\n"
    verdict, transaction = submitted(message)
    assert verdict == FOREIGN_AUTHOR
    assert bytes(transaction.message) == message


def test_the_trail_tells_what_is_wrong() -> None:
    transaction = a_transaction(
        a_session(user=ANNE),
        sender="bob@example.org",
        message=b"From: a@example.org, bob@example.org\r\n\r\n",
    )
    plugin = Submission(["anne@example.org a@example.org"])
    plugin.mail(transaction, transaction.sender)
    plugin.headers(transaction)
    transaction.message = Message.parse(b"From: a b\r\n\r\n")
    plugin.headers(transaction)
    foreign = "<bob@example.org> does not belong to anne@example.org"
    assert transaction.session.trail.results == [
        Result("submission", "fail", foreign, message=1),
        Result("submission", "fail", foreign, message=1),
        Result("submission", "fail", "no list of mailboxes", message=1),
    ]


# -- What a message lacks -------------------------------------------------------------------------


def test_date_and_message_id_are_added_where_they_are_missing() -> None:
    message = completed(b"From: anne@example.org\r\nSubject: Hello\r\n\r\nHow are you?\r\n")
    match = re.fullmatch(
        rb"From: anne@example\.org\r\n"
        rb"Subject: Hello\r\n"
        rb"Date: (?P<date>[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000)\r\n"
        rb"Message-ID: <[0-9a-f]{32}@mx\.example>\r\n"
        rb"\r\n"
        rb"How are you\?\r\n",
        message,
    )
    assert match is not None, message
    assert parsedate_to_datetime(match["date"].decode()).tzinfo is not None


def test_no_two_messages_get_the_same_id() -> None:
    ids = {re.search(rb"<.*@mx", completed(b"From: anne@example.org\r\n\r\n")) for _ in range(9)}
    assert len(ids) == 9


@pytest.mark.parametrize(
    "fields",
    [
        b"Date: Sun, 22 Nov 2026 17:00:00 +0000\r\nMessage-ID: <a@b>\r\n",
        b"date : yesterday\r\nMESSAGE-id\t: whatever\r\n",
        b"Date: a\r\nDate: b\r\nMessage-Id: <a@b>\r\nMessage-Id: <c@d>\r\n",
    ],
)
def test_what_is_there_stays(fields: bytes) -> None:
    message = b"From: anne@example.org\r\n" + fields + b"\r\nHello\r\n"
    assert completed(message) == message


def test_what_is_empty_is_filled() -> None:
    message = completed(b"Date: \r\nMessage-ID:\r\nFrom: anne@example.org\r\n\r\n")
    assert re.fullmatch(
        rb"Date: \w.*\r\nMessage-ID: <.*@mx.example>\r\nFrom: anne@example.org\r\n\r\n", message
    )


def test_no_blind_copy_is_seen() -> None:
    kept = b"From: anne@example.org\r\nDate: x\r\nX-Bcc: y\r\nMessage-ID: <a@b>\r\nCc: y@z\r\n"
    message = (
        b"Bcc: bob@example.org\r\n"
        + kept
        + b"BCC\t: carol@example.org,\r\n\tdave@example.org\r\n"
        + b"Resent-bcc: eve@example.org\r\nbcc:\r\n"
        + b"\r\nBcc: in the body\r\n"
    )
    assert completed(message) == kept + b"\r\nBcc: in the body\r\n"


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (
            b"From: anne@example.org\r\nnot a field\r\nFrom: b@c\r\n",
            b"not a field\r\nFrom: b@c\r\n",
        ),
        (b"From: anne@example.org\r\n", b""),
        (b"From: anne@example.org", b""),
    ],
)
def test_where_the_header_ends_is_plain(message: bytes, body: bytes) -> None:
    head, _, rest = completed(message).partition(b"\r\n\r\n")
    assert head.startswith(b"From: anne@example.org\r\nDate: ")
    assert rest == body


def test_other_clients_that_relay_are_served_when_that_is_wanted() -> None:
    message = b"From: somebody else <x\r\nBcc: bob@example.org\r\n\r\n"
    assert completed(message, user="", relaying=True) == message
    assert completed(message, user="", relaying=False, **{"hide_client": True}) == message
    verdict, transaction = submitted(message, user="", relaying=True)
    assert verdict is None
    plugin = Submission(relaying=True)
    assert plugin.mail(transaction, Address.of("x@y.example")) is None
    assert plugin.headers(transaction) is None
    assert [name for name, _ in transaction.message.headers] == ["From", "Date", "Message-ID"]


# -- Who sent it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hello", ["client.example", "[192.0.2.1]", "by", "by by x", "(", "", " "])
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", ""])
def test_the_client_is_hidden(hello: str, host: str) -> None:
    def field(hello: str, host: str) -> str:
        return received_field(
            hello=hello,
            client_host=host,
            client_name="by.client.example" if host else "",
            server="mx.example",
            protocol="ESMTPSA",
            identifier="x.1",
            tls="TLSv1.3",
            recipient="bob@elsewhere.example",
            date=0,
        )

    transaction = a_transaction(a_session(user=ANNE))
    hidden = Submission(hide_client=True).received(transaction, field(hello, host))
    assert hidden == field("hidden.invalid", "")
    assert Submission().received(transaction, field(hello, host)) == field(hello, host)
    other = a_transaction(a_session(relaying=True))
    shown = Submission(hide_client=True).received(other, field(hello, host))
    assert shown == field(hello, host)
    assert Submission(hide_client=True, relaying=True).received(other, field(hello, host)) == hidden


def test_what_cannot_be_hidden_is_not_sent() -> None:
    transaction = a_transaction(a_session(user=ANNE))
    with pytest.raises(RuntimeError, match="before this one"):
        Submission(hide_client=True).received(
            transaction, "(from client.example)\r\n\tby mx.example"
        )


# -- As part of the server ------------------------------------------------------------------------


class Takes(Plugin):
    """Takes everything."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    def queue(self, transaction: Transaction) -> Accept:
        self.taken = bytes(transaction.message)
        return Accept()


def test_a_submission() -> None:
    takes = Takes()
    run(
        converse(
            [Submission(hide_client=True), takes],
            """
            S: 220 ...
            C: EHLO client.example
            S: 250 ...
            C: MAIL FROM:<bob@example.org>
            S: 553 5.7.1 That sender address is not yours
            C: MAIL FROM:<anne@example.org>
            S: 250 2.1.0 ...
            C: RCPT TO:<bob@elsewhere.example>
            S: 250 2.1.5 ...
            C: DATA
            S: 354 ...
            C: From: bob@example.org
            C:
            C: Hello
            C: .
            S: 550 5.7.1 The From or Sender field names an address that is not yours
            C: MAIL FROM:<>
            S: 250 2.1.0 ...
            C: RCPT TO:<bob@elsewhere.example>
            S: 250 2.1.5 ...
            C: DATA
            S: 354 ...
            C: From: anne@example.org
            C: Bcc: carol@elsewhere.example
            C:
            C: Hello
            C: .
            S: 250 2.0.0 ...
            """,
            user=ANNE,
            tls=True,
        )
    )
    assert re.search(
        rb"Received: from hidden\.invalid\r\n\tby mx\.example with ESMTPSA[^;]*;\r\n\t.*\r\n"
        rb"From: anne@example\.org\r\nDate: .*\r\nMessage-ID: <.*@mx\.example>\r\n\r\nHello\r\n\Z",
        takes.taken,
    )


def test_a_client_that_cannot_be_hidden_is_told_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Rewrites(Plugin):
        def received(self, transaction: Transaction, field: str) -> str:
            return "by mx.example; now"

    with caplog.at_level(logging.CRITICAL):
        run(
            converse(
                [Rewrites(), Submission(hide_client=True), Takes()],
                """
                S: 220 ...
                C: EHLO client.example
                S: 250 ...
                C: MAIL FROM:<anne@example.org>
                S: 250 2.1.0 ...
                C: RCPT TO:<bob@elsewhere.example>
                S: 250 2.1.5 ...
                C: DATA
                S: 354 ...
                C: From: anne@example.org
                C:
                C: .
                S: 451 4.3.0 ...
                """,
                user=ANNE,
            )
        )


# -- Its options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"own_name": False}, "option 'senders' is missing: nobody could send anything"),
        ({"extension": "++"}, "option 'extension' must be one character, and no letter or digit"),
        ({"extension": "x"}, "option 'extension' must be one character, and no letter or digit"),
        (
            {"senders": ["anne"]},
            "option 'senders': 'anne': no address behind the name of the user",
        ),
        (
            {"senders": ["anne example.org"]},
            "option 'senders': 'anne example.org': 'example.org' is no address (The domain is "
            "missing); for a domain write '@example.org'",
        ),
        (
            {"senders": ["anne <>"]},
            "option 'senders': 'anne <>': '<>' is no address (no domain); for a domain write "
            "'@example.org'",
        ),
        ({"senders": ["anne @"]}, "option 'senders': 'anne @': no domain"),
        (
            {"senders": ["anne *@example.org @*.example"]},
            "option 'senders': 'anne *@example.org @*.example': The domain is malformed",
        ),
        (
            {"domains": ["@example.org"]},
            "option 'domains': '@example.org': The domain is malformed",
        ),
        (
            {"domains": [".example.org"]},
            "option 'domains': '.example.org': The domain is malformed",
        ),
    ],
)
def test_what_is_wrong_is_said_at_load(
    options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    outcome = load({"use": "submission", **options}, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [one.text for one in outcome] == [f"submission: {complaint}"]


def test_it_is_loaded_with_files(tmp_path: Path) -> None:
    (tmp_path / "senders").write_text("# who writes as whom\nanne sales@example.org # for now\n")
    (tmp_path / "domains").write_text("example.net\n")
    table = {"use": "submission", "senders": "senders", "domains": "domains"}
    loaded = load(table, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    transaction = a_transaction(a_session(user="anne"))
    for sender, verdict in (
        ("sales@example.org", None),
        ("anne@example.net", None),
        ("anne@example.org", Deny("That sender address is not yours", 553, "5.7.1")),
    ):
        assert loaded.plugin.mail(transaction, Address.of(sender)) == verdict
