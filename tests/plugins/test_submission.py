"""The plugin submission: who may write as whom, and what a message gets that it lacks."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import Awaitable
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
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
    ROW_LIMIT,
    UNCLEAR_AUTHOR,
    UNKNOWN,
    Submission,
)
from gatepost.received import received_field
from gatepost.testing import a_session, a_transaction, converse, run

ANNE = "anne@example.org"


def said_of(sender: str, *, user: str = ANNE, **options: Any) -> Answer:
    transaction = a_transaction(a_session(user=user), sender=sender)
    return Submission(**options).mail(transaction, transaction.sender)


def submitted(message: bytes, *, user: str = ANNE, **options: Any) -> tuple[Answer, Transaction]:
    """What the plugin says of a message, and the transaction with what it has made of it."""
    plugin = Submission(**options)
    plugin.startup(Site("mx.example"))
    transaction = a_transaction(a_session(user=user), message=message)
    return plugin.headers(transaction), transaction


def said_of_fields(fields: str, **options: Any) -> Answer:
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


# -- Whose it is by a database --------------------------------------------------------------------

ROWS = [
    ("anne", "sales@example.org"),
    ("anne", b"@shop.example"),
    ("anne", None),
    ("bob", "bob@example.org"),
    ("wiki", "*"),
    ("broken", "nonsense"),
    ("number", 5),
    ("octets", b"\xff"),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database of who may send as whom."""
    with closing(sqlite3.connect(tmp_path / "mail.db")) as connection:
        connection.execute("CREATE TABLE senders (name TEXT, address)")
        connection.executemany("INSERT INTO senders VALUES (?, ?)", ROWS)
        many = [("many", f"{number}@example.org") for number in range(ROW_LIMIT)]
        connection.executemany(
            "INSERT INTO senders VALUES (?, ?)", [*many, ("beyond", "a@b.example")]
        )
        connection.executemany(
            "INSERT INTO senders VALUES ('beyond', ?)", [row[1:] for row in many]
        )
        connection.commit()
    return tmp_path


def asked(
    directory: Path,
    sender: str,
    *,
    user: str,
    fields: str = "",
    query: str = "SELECT address FROM senders WHERE name = :user",
    **options: Any,
) -> tuple[Verdict | None, Verdict | None]:
    """What is said of a sender, and of the header fields of a message."""

    async def ask() -> tuple[Verdict | None, Verdict | None]:
        plugin = Submission(url="sqlite:///mail.db", query=query, **options)
        site = Site("mx.example", directory)
        plugin.startup(site)
        message = f"{fields or f'From: {sender}'}\r\n\r\n".encode()
        transaction = a_transaction(a_session(user=user), sender=sender, message=message)
        try:
            return (
                await waited_for(plugin.mail(transaction, transaction.sender)),
                await waited_for(plugin.headers(transaction)),
            )
        finally:
            await plugin.shutdown(site)

    return asyncio.run(ask())


async def waited_for(answer: Answer) -> Verdict | None:
    return await answer if isinstance(answer, Awaitable) else answer


@pytest.mark.parametrize(
    ("user", "sender", "owned"),
    [
        ("anne", "sales@example.org", True),
        ("anne", "whoever@shop.example", True),
        ("anne", "bob@example.org", False),
        ("bob", "Bob@Example.org", True),
        ("bob", "sales@example.org", False),
        ("wiki", "whoever@wherever.example", True),
        ("nobody", "sales@example.org", False),
        ("many", f"{ROW_LIMIT - 1}@example.org", True),
        ("x' OR name = 'anne", "sales@example.org", False),
    ],
)
def test_users_write_as_what_a_database_says(
    user: str, sender: str, owned: bool, database: Path
) -> None:
    verdicts = (None, None) if owned else (FOREIGN_SENDER, FOREIGN_AUTHOR)
    assert asked(database, sender, user=user) == verdicts


def test_a_database_may_know_the_parts_of_a_name(database: Path) -> None:
    query = "SELECT address FROM senders WHERE name = :local AND :domain = 'example.org'"
    sender = "sales@example.org"
    assert asked(database, sender, user="anne@example.org", query=query) == (None, None)
    refused = (FOREIGN_SENDER, FOREIGN_AUTHOR)
    assert asked(database, sender, user="anne@example.com", query=query) == refused
    assert asked(database, sender, user="anne", query=query) == refused


def test_the_database_comes_on_top_of_the_rest(database: Path) -> None:
    fields = "From: sales@example.org, anne@example.net, other@example.org, sales+x@example.org"
    assert asked(
        database,
        "anne@example.net",
        user="anne",
        fields=fields,
        domains=["example.net"],
        senders=["anne other@example.org"],
        extension="+",
    ) == (None, None)
    assert asked(database, "<>", user="anne", fields=fields) == (None, FOREIGN_AUTHOR)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("broken", "no address"),
        ("number", "type int"),
        ("octets", "utf-8"),
        ("beyond", "more than 1000"),
    ],
)
def test_a_database_that_says_nonsense_defers(
    user: str, words: str, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert asked(database, "a@b.example", user=user) == (UNKNOWN, UNKNOWN)
    assert words in caplog.text


def test_a_database_that_cannot_be_asked_defers_what_it_is_needed_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert asked(tmp_path, "a@b.example", user=ANNE) == (UNKNOWN, UNKNOWN)
    assert "cannot be looked up" in caplog.text
    assert asked(tmp_path, ANNE, user=ANNE) == (None, None)
    assert asked(tmp_path, "<>", user=ANNE, fields="From: a b") == (None, UNCLEAR_AUTHOR)


def test_a_message_is_looked_up_once(database: Path) -> None:
    async def ask() -> None:
        plugin = Submission(
            url="sqlite:///mail.db", query="SELECT address FROM senders WHERE name = :user"
        )
        site = Site("mx.example", database)
        plugin.startup(site)
        session = a_session(user="bob")
        message = b"From: bob@example.org\r\n\r\n"
        first = a_transaction(session, sender="bob@example.org", message=message)
        assert await waited_for(plugin.mail(first, first.sender)) is None
        (database / "mail.db").unlink()
        assert await waited_for(plugin.headers(first)) is None
        second = a_transaction(session, sender="bob@example.org", message=message)
        assert await waited_for(plugin.mail(second, second.sender)) == UNKNOWN
        await plugin.shutdown(site)

    asyncio.run(ask())


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
    plugin = Submission(relaying=True)
    for relaying, names in (
        (True, ["From", "Date", "Message-ID"]),
        (False, ["From", "Bcc"]),
    ):
        transaction = a_transaction(
            a_session(relaying=relaying),
            sender="x@y.example",
            message=b"From: somebody else <x\r\nBcc: bob@example.org\r\n\r\n",
        )
        assert plugin.mail(transaction, transaction.sender) is None
        assert plugin.headers(transaction) is None
        assert [name for name, _ in transaction.message.headers] == names


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
            "option 'senders': 'anne <>': '<>' is nobody's address",
        ),
        ({"senders": ["anne @"]}, "option 'senders': 'anne @': no domain"),
        ({"url": "sqlite:///x.db"}, "options 'url' and 'query' go together"),
        ({"query": "SELECT :user"}, "options 'url' and 'query' go together"),
        (
            {"url": "sqlite:///x.db", "query": "SELECT address FROM senders"},
            "option 'query' must have :user or :local in it",
        ),
        (
            {"url": "mysql://x", "query": "SELECT :user"},
            "option 'url' must begin with sqlite:/// or postgresql://",
        ),
        (
            {"url": "sqlite:///x.db", "query": "SELECT :user, :sender"},
            "option 'query' has a parameter :sender; there are :user, :local, :domain",
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
