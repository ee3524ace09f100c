"""What is recorded, in sentences."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from gatepost.archive.configurations import Configuration, PlacedPlugin
from gatepost.archive.records import Record, RecordedDecision, RecordedResult
from gatepost.cli.explanation import Explanation
from gatepost.cli.wording import LIMIT_SENTENCES
from gatepost.limits import Limits

DOMAINS = PlacedPlugin("domains", "domains", {"domains": '["example.org"]'}, hooks=("rcpt",))
DNSBL = PlacedPlugin("zen", "dnsbl", {"zones": '["zen.example"]'}, hooks=("connect", "rcpt"))
MAILDIR = PlacedPlugin("maildir", "maildir", hooks=("queue",))


def decision(plugin: str, hook: str, verdict: Any, text: str = "", **more: Any) -> RecordedDecision:
    return RecordedDecision(plugin, hook, verdict, text, **{"message": 1, **more})


NOBODY = decision("nobody", "rcpt", "deny", "We do not relay", recipient=0)
ACCEPTED = decision("domains", "rcpt", "accept", recipient=0)
TAKEN = decision("maildir", "queue", "accept")


def a_record(*decisions: RecordedDecision, **fields: Any) -> Record:
    usual = {
        "session": "mwsd6dic19vw",
        "message": 1,
        "started": 0.0,
        "seconds": 0.25,
        "listener": "mx",
        "client": "192.0.2.1",
        "hello": "client.example",
        "sender": "anne@client.example",
        "recipients": ("bob@example.org",),
    }
    return Record(**{**usual, **fields}, decisions=decisions)


def explained(
    *decisions: RecordedDecision,
    plugins: Configuration = (DOMAINS,),
    about: str = "",
    **fields: Any,
) -> list[str]:
    """The sentences without the last, which has the time of day."""
    record = a_record(*decisions, **fields)
    *sentences, last = Explanation(record, plugins, frozenset([about])).sentences()
    assert last.startswith("It came through the listener mx on 1970-01-01 ") or "1969" in last
    return sentences


WHO = "Message mwsd6dic19vw.1 from <anne@client.example> (client.example [192.0.2.1])"


def test_a_recipient_that_nobody_accepted() -> None:
    assert explained(
        NOBODY, recipients=("bob@elsewhere.example",), tls="TLSv1.3 TLS_AES_256_GCM_SHA384"
    ) == [
        "Message mwsd6dic19vw.1 from <anne@client.example> (client.example [192.0.2.1], TLSv1.3) "
        "to <bob@elsewhere.example> was refused at RCPT: 550 5.7.1 We do not relay.",
        'Nobody accepted the recipient: `domains` (domains = ["example.org"]) had no opinion.',
    ]


def test_a_message_that_was_taken() -> None:
    reply = "250 2.0.0 Queued as mwsd6dic19vw.1"
    assert explained(ACCEPTED, TAKEN, plugins=(DOMAINS, MAILDIR), reply=reply) == [
        f"{WHO} to <bob@example.org> was accepted: {reply}.",
        '`domains` (domains = ["example.org"]) accepted the recipient <bob@example.org>.',
        "`maildir` took the message.",
    ]


def test_a_plugin_that_took_its_time() -> None:
    slow = decision("forward", "queue", "accept", "queued as 5", seconds=12.34)
    assert explained(slow, reply="250 Ok")[1:] == [
        "`forward` took the message after 12.3 s: queued as 5."
    ]


def test_a_refusal_at_the_end() -> None:
    deny = decision("clamd", "message", "deny", "A virus")
    assert explained(ACCEPTED, deny, reply="550 5.7.1 A virus", plugins=()) == [
        f"{WHO} to <bob@example.org> was refused after DATA: 550 5.7.1 A virus.",
        "`clamd` denied it.",
        "`domains` accepted the recipient <bob@example.org>.",
    ]


def test_a_refusal_of_the_server() -> None:
    assert explained(reply="552 5.3.4 Message too big") == [
        f"{WHO} to <bob@example.org> was refused: 552 5.3.4 Message too big.",
        "No plugin decided that: the server did.",
    ]


def limited(limit: str, value: str, message: int = 1) -> RecordedResult:
    return RecordedResult("limits", "fail", limit, word=value, message=message)


def test_a_limit_that_the_server_held() -> None:
    found = RecordedResult("spf", "pass", message=1)
    big = limited("message_size", "1000")
    assert explained(ACCEPTED, reply="552 5.3.4 Message too big", results=(found, big)) == [
        f"{WHO} to <bob@example.org> was refused: 552 5.3.4 Message too big.",
        "No plugin decided that: the server did.",
        "The message was bigger than 1000 octets (limit `message_size`).",
        '`domains` (domains = ["example.org"]) accepted the recipient <bob@example.org>.',
        "`spf` found pass.",
    ]


def test_a_refusal_that_was_the_last() -> None:
    assert explained(NOBODY, results=(limited("errors", "20", 0),))[1:] == [
        'Nobody accepted the recipient: `domains` (domains = ["example.org"]) had no opinion.',
        "The client was sent away, for more than 20 of its commands were refused (limit `errors`).",
    ]


def test_a_client_for_whom_there_was_no_room() -> None:
    sentences = explained(
        results=(limited("connections_per_address", "50", 0),), message=0, recipients=(), hello=""
    )
    assert sentences == [
        "Session mwsd6dic19vw from [192.0.2.1] was refused for now.",
        "No plugin decided that: the server did.",
        "The client was turned away, for its address had 50 connections "
        "(limit `connections_per_address`).",
    ]


def test_a_client_that_fell_silent() -> None:
    silent = limited("command_timeout", "300", 0)
    assert explained(results=(silent,), message=0, recipients=())[1:] == [
        "The client was sent away, for it said nothing for 300 s (limit `command_timeout`)."
    ]


def test_every_limit_has_its_sentence() -> None:
    silent = {"memory", "ipv4_prefix", "ipv6_prefix"}  # nobody runs into them
    assert LIMIT_SENTENCES.keys() == {limit.name for limit in fields(Limits)} - silent
    assert all(text.count("{}") == 1 for text in LIMIT_SENTENCES.values())


@pytest.mark.parametrize("result", [limited("patience", "3"), limited("errors", "")])
def test_a_limit_that_nobody_knows_is_a_finding(result: RecordedResult) -> None:
    told = explained(ACCEPTED, TAKEN, reply="250 Ok", results=(result,))
    assert any(line.startswith(f"`limits` found fail: {result.text}") for line in told)


def test_a_plugin_that_failed() -> None:
    broken = decision("clamd", "message", "defer", "Internal error", code=451, status="4.3.0")
    assert explained(broken, reply="451 4.3.0 Internal error")[:2] == [
        f"{WHO} to <bob@example.org> was refused for now after DATA: 451 4.3.0 Internal error.",
        "`clamd` failed after DATA; the log says how.",
    ]


def test_a_message_that_nobody_took() -> None:
    nobody = decision("nobody", "queue", "defer", "Nobody took the message")
    reply = "451 4.3.0 Nobody took the message"
    assert explained(nobody, reply=reply)[1] == (
        "Nobody took the message: no plugin speaks after DATA."
    )
    assert explained(nobody, reply=reply, plugins=())[1] == (
        "Nobody took the message: it is not known who was asked after DATA."
    )


def test_several_recipients_are_told_of_one_by_one() -> None:
    both = ("bob@elsewhere.example", "sales@example.org")
    sales = decision("rules", "rcpt", "deny", "Moved", status="5.1.6", recipient=1)
    assert explained(NOBODY, sales, recipients=both) == [
        f"{WHO} to <bob@elsewhere.example> and <sales@example.org> "
        "was refused at RCPT for every recipient.",
        "<bob@elsewhere.example> was refused at RCPT: 550 5.7.1 We do not relay.",
        'Nobody accepted the recipient: `domains` (domains = ["example.org"]) had no opinion.',
        "<sales@example.org> was refused at RCPT: 550 5.1.6 Moved.",
        "`rules` denied it.",
    ]


def test_the_recipient_that_is_asked_about_comes_first_and_alone() -> None:
    many = (*(f"r{number}@example.org" for number in range(9)), "Sales@example.org")
    sales = decision("rules", "rcpt", "deny", "Moved", recipient=9)
    others = [decision("domains", "rcpt", "accept", recipient=number) for number in range(9)]
    told = explained(
        *others, sales, TAKEN, recipients=many, about="sales@example.org", reply="250 Ok"
    )
    assert told == [
        f"{WHO} to <Sales@example.org>, <r0@example.org>, <r1@example.org>, <r2@example.org>, "
        "<r3@example.org> and 5 more was accepted: 250 Ok.",
        "<Sales@example.org> was refused at RCPT: 550 5.7.1 Moved.",
        "`rules` denied it.",
        "`maildir` took the message.",
    ]


def test_recipients_that_were_accepted_are_told_together() -> None:
    three = tuple(f"r{number}@example.org" for number in range(3))
    accepted = [decision("domains", "rcpt", "accept", recipient=number) for number in range(3)]
    assert explained(*accepted, recipients=three)[1:] == [
        '`domains` (domains = ["example.org"]) accepted the recipients <r0@example.org>, '
        "<r1@example.org> and <r2@example.org>."
    ]


def test_recipients_that_were_not_kept_are_counted() -> None:
    assert explained(more_recipients=40, about="x")[0] == (
        f"{WHO} to <bob@example.org> and 40 more was never finished."
    )
    assert explained(recipients=())[0] == f"{WHO} to nobody was never finished."


# -- Who was asked --------------------------------------------------------------------------------


def silence(*plugins: PlacedPlugin, **fields: Any) -> str:
    sentence = explained(NOBODY, plugins=plugins, **fields)[1]
    return sentence.removeprefix("Nobody accepted the recipient: ").removesuffix(".")


def test_those_who_are_asked_elsewhere_are_left_out() -> None:
    on_mx = PlacedPlugin("a", "a", hooks=("rcpt",), listeners=("mx",))
    on_lmtp = PlacedPlugin("b", "b", hooks=("rcpt",), listeners=("lmtp",))
    on_queue = PlacedPlugin("c", "c", hooks=("queue",))
    assert silence(on_mx, on_lmtp, on_queue) == "`a` had no opinion"
    assert silence(on_lmtp, on_queue) == "no plugin speaks at RCPT"


def test_whoever_spoke_was_not_silent() -> None:
    noted = decision("zen", "rcpt", "deny", "Listed", recipient=0, mode="report")
    other = decision("zen", "rcpt", "deny", "Listed", recipient=1, mode="report")
    assert explained(noted, NOBODY, plugins=(DNSBL, DOMAINS))[1].count("`zen`") == 0
    both = ("bob@example.org", "carol@example.org")
    assert "`zen`" in explained(NOBODY, other, plugins=(DNSBL,), recipients=both)[2]


@pytest.mark.parametrize(
    ("fields", "doubt"),
    [
        ({}, ""),
        ({"relaying": True}, ", or was not asked"),
        ({"user": "anne"}, ""),
        ({"allowed": "a friend"}, ", or was not asked"),
    ],
)
def test_whether_a_plugin_was_asked_is_only_said_where_it_is_known(
    fields: dict[str, Any], doubt: str
) -> None:
    choosy = PlacedPlugin("a", "a", hooks=("rcpt",), unless=("relay", "allowed"))
    assert silence(choosy, **fields) == f"`a` had no opinion{doubt}"


def test_whether_a_plugin_failed_is_not_known_where_that_is_ignored() -> None:
    careless = PlacedPlugin("a", "a", hooks=("rcpt",), may_fail=True, unless=("relay",))
    assert silence(careless) == "`a` had no opinion, or failed"
    assert silence(careless, DOMAINS, relaying=True) == (
        '`domains` (domains = ["example.org"]) had no opinion; '
        "`a` had no opinion, or was not asked or failed"
    )


# -- What had no effect, what was found, and the rest ---------------------------------------------


def test_a_refusal_that_was_held_back_and_pronounced() -> None:
    later = PlacedPlugin("zen", "dnsbl", {"zones": '["zen.example"]'}, {"mode": '"later"'})
    held = decision("zen", "connect", "deny", "Listed", mode="later", message=0)
    pronounced = decision("zen", "rcpt", "deny", "Listed", recipient=0)
    assert explained(held, pronounced, plugins=(later,)) == [
        f"{WHO} to <bob@example.org> was refused at RCPT: 550 5.7.1 Listed.",
        '`zen` (use = "dnsbl", zones = ["zen.example"], mode = "later") denied it.',
        "`zen` denied the client when it connected: Listed; that was held back.",
    ]


def test_a_refusal_that_was_only_noted() -> None:
    noted = decision("zen", "rcpt", "defer", recipient=0, mode="report")
    assert explained(noted, ACCEPTED, TAKEN, plugins=(), reply="250 Ok")[3:] == [
        "`zen` would have deferred the recipient <bob@example.org> at RCPT; that was only noted."
    ]


def test_what_was_found() -> None:
    results = (
        RecordedResult("spf", "fail", "no", "spf", "softfail", (("smtp.mailfrom", "a.example"),)),
        RecordedResult("fcrdns", "pass"),
    )
    assert explained(results=results)[1:] == [
        "`spf` found fail: no (spf=softfail smtp.mailfrom=a.example).",
        "`fcrdns` found pass.",
    ]


def test_what_was_known_of_the_client() -> None:
    headline, *others = explained(
        client_name="mail.example", user="anne", allowed="a friend", relaying=True, omitted=3
    )
    assert "(client.example [192.0.2.1], in DNS mail.example, user anne)" in headline
    assert others == [
        "The client was exempt from checks: a friend.",
        "The client was allowed to relay.",
        "Of 3 more decisions and results nothing was kept.",
    ]


def test_a_client_on_a_unix_socket_that_did_not_greet() -> None:
    assert "(on a Unix socket)" in explained(client="", hello="")[0]


def test_time_and_size_come_last() -> None:
    *_, last = Explanation(a_record(size=1234), ()).sentences()
    assert last.endswith(", had 1234 octets and took 0.25 s.")
    *_, last = Explanation(a_record(seconds=0.001), ()).sentences()
    assert last.endswith(":00 and took less than 0.01 s.")


def test_a_reply_of_several_lines_stands_on_one() -> None:
    assert explained(reply="250 2.0.0 One\nTwo!")[0].endswith("was accepted: 250 2.0.0 One Two!")


# -- Sessions -------------------------------------------------------------------------------------

CLIENT = "Session mwsd6dic19vw from client.example [192.0.2.1]"


def about_session(*decisions: RecordedDecision, **fields: Any) -> list[str]:
    return explained(*decisions, **{"message": 0, "recipients": (), "sender": "", **fields})


def test_a_client_that_was_turned_away() -> None:
    deny = decision("zen", "connect", "deny", "Listed", message=0)
    assert about_session(deny, plugins=(DNSBL,)) == [
        f"{CLIENT} was refused when it connected: 554 5.7.1 Listed.",
        '`zen` (use = "dnsbl", zones = ["zen.example"]) denied it.',
    ]


def test_a_user_whom_nobody_knew() -> None:
    nobody = decision("nobody", "auth", "deny", message=0)
    users = PlacedPlugin("users", "auth_file", hooks=("auth",))
    assert about_session(nobody, plugins=(users,)) == [
        f"{CLIENT} was refused at AUTH: 535 5.7.8 Authentication failed.",
        'Nobody knew the user: `users` (use = "auth_file") had no opinion.',
    ]


def test_a_client_that_needed_two_attempts() -> None:
    failed = decision("users", "auth", "deny", message=0)
    proved = decision("users", "auth", "accept", message=0)
    assert about_session(failed, proved, messages=2) == [
        f"{CLIENT} brought 2 messages.",
        "The client was refused at AUTH: 535 5.7.8 Authentication failed.",
        "`users` denied it.",
        "`users` accepted the client at AUTH.",
    ]


@pytest.mark.parametrize(
    ("messages", "words"), [(0, "brought no message"), (1, "brought 1 message")]
)
def test_a_client_that_was_welcome(messages: int, words: str) -> None:
    assert about_session(messages=messages) == [f"{CLIENT} {words}."]


def test_commands_that_concern_no_message() -> None:
    deny = decision("count_unrecognized", "unrecognized", "deny", "Enough", message=0)
    assert about_session(deny)[1] == (
        "The client was refused for a word that is no command: 500 5.5.2 Enough."
    )
