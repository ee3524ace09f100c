"""The plugin senders: a list of senders and what becomes of their mail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatepost import Accept, Address, Defer, Deny, Entries, Result, Verdict
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.mail.senders import Senders
from gatepost.testing import a_recipient, a_transaction, converse, run


def said_of(sender: str, *rules: str) -> Verdict | None:
    address = Address.of(sender)
    return Senders(Entries(rules)).mail(a_transaction(sender=sender), address)


@pytest.mark.parametrize(
    ("sender", "verdict"),
    [
        ("anne@spam.example", Deny("Not from you", status="5.7.1")),
        ("anne@www.SPAM.example", Defer()),
        ("good@spam.example", None),
        ("boss@elsewhere.example", Accept()),
        ("offers42@shop.example", Deny(code=553)),
        ("anne@client.example", None),
        ("<>", None),
    ],
)
def test_rules_on_senders(sender: str, verdict: Verdict | None) -> None:
    rules = (
        "good@spam.example none",
        "@spam.example deny 5.7.1 Not from you",
        ".spam.example defer",
        "boss@ accept",
        r"/^offers\d+@/ deny 553",
    )
    assert said_of(sender, *rules) == verdict


@pytest.mark.parametrize("rule", ["/.*/ deny", "@client.example deny", "anne@ deny"])
def test_only_a_rule_for_the_null_sender_is_about_the_null_sender(rule: str) -> None:
    assert said_of("<>", rule) is None
    assert said_of("<>", rule, "<> deny No notifications") == Deny("No notifications")
    assert said_of("anne@client.example", "<> deny", rule) == Deny()


@pytest.mark.parametrize(
    ("sender", "recipient", "verdict"),
    [
        ("anne@shop.example", "bob@example.org", Deny("No customer")),
        ("anne@shop.example", "carol@example.org", None),
        ("anne@client.example", "bob@example.org", None),
        ("boss@shop.example", "bob@example.org", None),
        ("<>", "list@example.org", Deny("No notifications to the list")),
        ("<>", "bob@example.org", None),
        ("anne@client.example", "list@example.org", Defer(code=451)),
        ("anne@example.org", "list@example.org", None),
    ],
)
def test_rules_on_pairs(sender: str, recipient: str, verdict: Verdict | None) -> None:
    plugin = Senders(
        pairs=Entries(
            [
                "boss@ bob@example.org none",
                "@shop.example bob@example.org deny No customer",
                "<> list@example.org deny No notifications to the list",
                "@example.org list@example.org none",
                "/./ list@ defer 451",
            ]
        )
    )
    transaction = a_transaction(sender=sender)
    assert plugin.mail(transaction, transaction.sender) is None
    assert plugin.rcpt(transaction, a_recipient(recipient)) == verdict


def test_the_trail_tells_the_rule() -> None:
    transaction = a_transaction()
    plugin = Senders(Entries(["anne@ accept"]), Entries(["anne@ bob@ deny No"]))
    plugin.mail(transaction, transaction.sender)
    plugin.rcpt(transaction, a_recipient())
    assert transaction.session.trail.results == [
        Result("senders", "pass", "anne@ accept"),
        Result("senders", "fail", "anne@ bob@ deny No"),
    ]


@pytest.mark.parametrize(
    ("options", "complaint", "key"),
    [
        (
            {"rules": ["anne@client.example"]},
            "option 'rules': 'anne@client.example': no verdict behind it: accept, deny, defer "
            "or none",
            "rules",
        ),
        (
            {"pairs": ["anne@client.example deny"]},
            "option 'pairs': 'anne@client.example deny': 'deny' is no address (The domain is "
            "missing); for a domain write '@example.org', for a local part 'bob@'",
            "pairs",
        ),
        (
            {"pairs": ["anne@client.example bob@example.org accept"]},
            "option 'pairs': 'anne@client.example bob@example.org accept': whoever forges the "
            "sender could relay: an exception says 'none'",
            "pairs",
        ),
    ],
)
def test_what_is_wrong_is_said_at_load(
    options: dict[str, Any], complaint: str, key: str, tmp_path: Path
) -> None:
    outcome = load({"use": "senders", **options}, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(one.text, one.key) for one in outcome] == [(f"senders: {complaint}", key)]


def test_it_is_loaded_with_files(tmp_path: Path) -> None:
    (tmp_path / "senders").write_text("# unwanted\n@spam.example deny 550 5.7.1 No # never\n")
    (tmp_path / "pairs").write_text("@shop.example bob@ deny\n")
    options = {"rules": "senders", "pairs": "pairs"}
    loaded = load({"use": "senders", **options}, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    spam = Address.of("anne@spam.example")
    assert loaded.plugin.mail(a_transaction(), spam) == Deny("No", 550, "5.7.1")
    assert loaded.plugin.rcpt(a_transaction(sender="x@shop.example"), a_recipient()) == Deny()


def test_a_refused_sender_can_try_again() -> None:
    run(
        converse(
            [Senders(Entries(["@spam.example deny", "@late.example defer"]))],
            """
            S: 220 ...
            C: EHLO client.example
            S: 250 ...
            C: MAIL FROM:<anne@Spam.Example>
            S: 550 5.7.1 <anne@Spam.Example> refused
            C: MAIL FROM:<anne@late.example>
            S: 451 4.7.1 <anne@late.example> refused for now
            C: MAIL FROM:<>
            S: 250 2.1.0 Sender ok
            """,
        )
    )
