"""What became of a message, and who settled it."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost.archive.conclusions import conclusion_of
from gatepost.archive.records import Record, RecordedDecision, RecordedResult


def decision(plugin: str, hook: str, verdict: Any, text: str = "", **more: Any) -> RecordedDecision:
    return RecordedDecision(plugin, hook, verdict, text, **{"message": 1, **more})


def a_record(*decisions: RecordedDecision, **fields: Any) -> Record:
    usual = {
        "session": "mwsd6dic19vw",
        "message": 1,
        "started": 0.0,
        "seconds": 0.0,
        "sender": "anne@client.example",
        "recipients": ("bob@example.org",),
        "hello": "client.example",
    }
    return Record(**{**usual, **fields}, decisions=decisions)


def concluded(*decisions: RecordedDecision, **fields: Any) -> tuple[str, str, str]:
    """The word, the reply and the plugin."""
    conclusion = conclusion_of(a_record(*decisions, **fields))
    settled = conclusion.decision.plugin if conclusion.decision else ""
    return conclusion.word, conclusion.reply, settled


RCPT = decision("domains", "rcpt", "accept", recipient=0)
QUEUE = decision("maildir", "queue", "accept")


def test_a_message_that_was_taken() -> None:
    reply = "250 2.0.0 Queued as mwsd6dic19vw.1"
    assert concluded(RCPT, QUEUE, reply=reply) == ("accepted", reply, "maildir")


def test_a_message_that_was_refused_at_its_end() -> None:
    deny = decision("clamd", "message", "deny", "A virus")
    assert concluded(RCPT, deny, reply="550 5.7.1 A virus") == (
        "refused",
        "550 5.7.1 A virus",
        "clamd",
    )


def test_a_message_that_nobody_took() -> None:
    defer = decision("nobody", "queue", "defer", "Nobody took the message")
    reply = "451 4.3.0 Nobody took the message"
    assert concluded(RCPT, defer, reply=reply) == ("deferred", reply, "nobody")


def test_a_message_that_the_server_refused() -> None:
    assert concluded(RCPT, reply="552 5.3.4 Message too big") == (
        "refused",
        "552 5.3.4 Message too big",
        "",
    )


def limited(limit: str, message: int = 1) -> RecordedResult:
    return RecordedResult("limits", "fail", limit, word="7", message=message)


@pytest.mark.parametrize(
    ("results", "limit"),
    [
        ((limited("recipients"), limited("message_size")), "message_size"),
        ((limited("line", 0),), ""),
        ((RecordedResult("spf", "fail", "message_size"),), ""),
    ],
)
def test_a_message_that_a_limit_refused(results: tuple[RecordedResult, ...], limit: str) -> None:
    record = a_record(RCPT, reply="552 5.3.4 Message too big", results=results)
    assert conclusion_of(record) == ("refused", "552 5.3.4 Message too big", None, limit)


def test_a_limit_that_a_plugin_was_quicker_than() -> None:
    deny = decision("clamd", "message", "deny", "A virus")
    record = a_record(deny, reply="550 5.7.1 A virus", results=(limited("message_size"),))
    assert conclusion_of(record) == ("refused", "550 5.7.1 A virus", deny, "")


@pytest.mark.parametrize(
    ("limit", "word"),
    [("connections", "deferred"), ("connection_rate", "deferred"), ("command_timeout", "idle")],
)
def test_a_session_that_a_limit_ended(limit: str, word: str) -> None:
    record = a_record(results=(limited(limit, 0),), message=0)
    assert conclusion_of(record).word == word


def test_a_sender_that_was_refused() -> None:
    deny = decision("senders", "mail", "deny", status="5.1.8")
    assert concluded(deny, recipients=()) == (
        "refused",
        "550 5.1.8 <anne@client.example> refused",
        "senders",
    )


def test_a_recipient_that_was_refused() -> None:
    deny = decision("nobody", "rcpt", "deny", "We do not relay", recipient=0)
    assert concluded(deny) == ("refused", "550 5.7.1 We do not relay", "nobody")


def test_a_refusal_that_was_only_noted_settles_nothing() -> None:
    noted = decision("dnsbl", "rcpt", "deny", recipient=0, mode="report")
    assert concluded(noted, RCPT) == ("unfinished", "", "")
    assert concluded(noted, RCPT, QUEUE, reply="250 2.0.0 Ok") == (
        "accepted",
        "250 2.0.0 Ok",
        "maildir",
    )


def test_while_one_recipient_is_accepted_the_message_is_not_refused() -> None:
    deny = decision("recipients", "rcpt", "deny", recipient=1)
    both = ("bob@example.org", "sales@example.org")
    assert concluded(RCPT, deny, recipients=both) == ("unfinished", "", "")


def test_a_message_that_was_refused_for_all_recipients() -> None:
    first = decision("recipients", "rcpt", "deny", recipient=0)
    second = decision("greylist", "rcpt", "defer", recipient=1)
    both = ("bob@example.org", "sales@example.org")
    assert concluded(first, second, recipients=both) == (
        "deferred",
        "450 4.2.1 <sales@example.org> refused for now",
        "greylist",
    )


def test_recipients_that_are_not_kept_may_have_been_accepted() -> None:
    deny = decision("recipients", "rcpt", "deny", recipient=0)
    assert concluded(deny, more_recipients=1)[0] == "unfinished"


def test_a_refusal_at_data() -> None:
    deny = decision("quota", "data", "defer", "Later")
    assert concluded(RCPT, deny) == ("deferred", "451 4.7.1 Later", "quota")


def test_what_was_decided_about_the_session_settles_no_message() -> None:
    failed = decision("auth_file", "auth", "deny", message=0)
    assert concluded(failed, RCPT) == ("unfinished", "", "")


def test_a_message_that_was_given_up() -> None:
    assert concluded(RCPT) == ("unfinished", "", "")
    assert concluded(recipients=()) == ("unfinished", "", "")


@pytest.mark.parametrize(
    ("hook", "verdict", "word", "reply"),
    [
        ("connect", "deny", "refused", "554 5.7.1 You are not welcome here"),
        ("connect", "defer", "deferred", "421 4.7.0 Come back later"),
        ("helo", "deny", "refused", "550 5.7.1 client.example is not welcome"),
        ("auth", "deny", "refused", "535 5.7.8 Authentication failed"),
        ("starttls", "defer", "deferred", "454 4.7.0 No TLS for now"),
    ],
)
def test_a_client_that_was_turned_away(hook: str, verdict: str, word: str, reply: str) -> None:
    refusal = decision("plugin", hook, verdict, message=0)
    assert concluded(refusal, message=0, recipients=()) == (word, reply, "plugin")


def test_a_client_that_found_its_way_later() -> None:
    failed = decision("auth_file", "auth", "deny", message=0)
    proved = decision("auth_file", "auth", "accept", message=0)
    assert concluded(failed, proved, message=0)[0] == "idle"
    assert concluded(proved, failed, message=0)[0] == "refused"


def test_what_was_only_noted_opens_no_door() -> None:
    failed = decision("auth_file", "auth", "deny", message=0)
    noted = decision("dnsbl", "helo", "accept", message=0, mode="report")
    assert concluded(failed, noted, message=0)[0] == "refused"


def test_a_session_without_anything() -> None:
    no_help = decision("help_text", "help", "deny", message=0)
    assert concluded(no_help, message=0) == ("idle", "", "")


def test_what_broke_the_rules_of_smtp() -> None:
    def told(reply: str, message: int) -> RecordedResult:
        return RecordedResult("protocol", "fail", reply, message=message)

    wrong = told("501 5.1.3 Bad recipient address", 1)
    assert concluded(recipients=(), results=(wrong,)) == ("refused", wrong.text, "")
    earlier = told("503 5.5.1 Say EHLO first", 0)
    assert concluded(recipients=(), results=(earlier,)) == ("unfinished", "", "")
    session = {"message": 0, "sender": "", "recipients": ()}
    assert concluded(**session, results=(earlier,)) == ("refused", earlier.text, "")
    assert concluded(**session, messages=2, results=(earlier,)) == ("idle", "", "")
