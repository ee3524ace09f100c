"""The plugin recipients: a list of recipients and what becomes of their mail."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gatepost import Accept, Defer, Deny, Entries, Result, Verdict
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.rcpt.recipients import Recipients
from gatepost.testing import a_recipient, a_transaction, converse, run

NO_MAILBOX = Deny("No such mailbox here", status="5.1.1")


def recipients(*rules: str, domains: tuple[str, ...] | None = None, **options: Any) -> Recipients:
    ours = None if domains is None else Entries(domains)
    return Recipients(Entries(rules), ours, **options)


def verdict(plugin: Recipients, address: str) -> Verdict | None:
    return plugin.rcpt(a_transaction(), a_recipient(address))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("bob@example.org accept", Accept()),
        ("@example.org accept Bob will be glad", Accept("Bob will be glad")),
        ("bob@ deny 550 5.1.1 No such user", Deny("No such user", 550, "5.1.1")),
        ("/^b.b@/ defer 4.2.2 Bob is on holiday", Defer("Bob is on holiday", status="4.2.2")),
        ("bob@example.org none", None),
        ("bob@elsewhere.example deny", None),
    ],
)
def test_a_rule_decides(rule: str, expected: Verdict | None) -> None:
    assert verdict(recipients(rule), "bob@example.org") == expected


def test_the_trail_tells_the_rule() -> None:
    transaction = a_transaction()
    plugin = recipients("bob@example.org none", "@example.org deny Nobody")
    for address in ("bob@example.org", "anne@example.org", "bob@elsewhere.example"):
        plugin.rcpt(transaction, a_recipient(address))
    assert transaction.session.trail.results == [
        Result("recipients", "neutral", "bob@example.org none"),
        Result("recipients", "fail", "@example.org deny Nobody"),
    ]


@pytest.mark.parametrize(
    ("default", "unlisted"),
    [("none", None), ("accept", Accept()), ("deny", NO_MAILBOX), ("defer", Defer())],
)
def test_the_default_is_for_our_domains(default: str, unlisted: Verdict | None) -> None:
    rules = ("bob@example.org accept", "abuse@ none", "spam@ deny", "postmaster@ accept")
    plugin = recipients(*rules, domains=("example.org", ".example.org"), default=default)
    assert {
        address: verdict(plugin, address)
        for address in (
            "bob@example.org",
            "carol@example.org",
            "carol@a.example.org",
            "abuse@example.org",
            "spam@example.org",
            "spam@elsewhere.example",
            "carol@elsewhere.example",
            "<Postmaster>",
        )
    } == {
        "bob@example.org": Accept(),
        "carol@example.org": unlisted,
        "carol@a.example.org": unlisted,
        "abuse@example.org": None,
        "spam@example.org": Deny(),
        "spam@elsewhere.example": None,
        "carol@elsewhere.example": None,
        "<Postmaster>": Accept(),
    }


def test_the_postmaster_is_no_matter_of_default() -> None:
    assert verdict(recipients(domains=("example.org",), default="deny"), "<Postmaster>") is None


@pytest.mark.parametrize("rule", ["postmaster@ accept", "/@example.org/ accept"])
def test_a_rule_that_would_relay_to_any_domain_is_an_error(rule: str) -> None:
    with pytest.raises(ValueError, match=r"would relay to any domain: say with .* 'domains'"):
        recipients(rule)
    plugin = recipients(rule, domains=("example.org",))
    assert verdict(plugin, "postmaster@example.org") == Accept()
    assert verdict(plugin, "postmaster@example.org.evil.example") is None


def test_a_list_of_domains_that_is_empty_is_no_permission() -> None:
    assert verdict(recipients("bob@ accept", domains=()), "bob@example.org") is None


def test_a_hundred_thousand_mailboxes() -> None:
    plugin = recipients(*(f"user{number}@example.org accept" for number in range(100_000)))
    assert verdict(plugin, "user99999@example.org") == Accept()
    assert verdict(plugin, "user100000@example.org") is None


def test_rules_from_a_file_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "recipients.txt"
    path.write_text("# who is here\nbob@example.org accept # since June\n")
    plugin = Recipients(Entries.in_file(path, clock=count(0, 10).__next__))
    assert verdict(plugin, "bob@example.org") == Accept()
    path.write_text("bob@example.org deny 5.1.6 Bob has moved\n")
    os.utime(path, ns=(0, 1))
    assert verdict(plugin, "bob@example.org") == Deny("Bob has moved", status="5.1.6")
    path.write_text("bob@example.org maybe\n")
    os.utime(path, ns=(0, 2))
    assert verdict(plugin, "bob@example.org") == Deny("Bob has moved", status="5.1.6")


@pytest.mark.parametrize(
    ("options", "complaint", "key"),
    [
        (
            {"rules": ["bob@example.org acept", "bob@example.org accept", "@ deny"]},
            "option 'rules': 'bob@example.org acept': 'acept' is no verdict: write accept, deny, "
            "defer or none; '@ deny': no domain",
            "rules",
        ),
        (
            {"domains": ["exa mple"]},
            "option 'domains': 'exa mple': The domain is malformed",
            "domains",
        ),
        (
            {"default": "deny"},
            "option 'default' needs the option 'domains', or it would be for the whole world",
            "default",
        ),
    ],
)
def test_what_is_wrong_is_said_at_load(
    options: dict[str, Any], complaint: str, key: str, tmp_path: Path
) -> None:
    outcome = load({"use": "recipients", **options}, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(one.text, one.key) for one in outcome] == [(f"recipients: {complaint}", key)]


def test_it_is_loaded_with_files(tmp_path: Path) -> None:
    (tmp_path / "mailboxes").write_text("bob@example.org accept\n")
    (tmp_path / "domains").write_text("example.org\n")
    options = {"rules": "mailboxes", "domains": "domains", "default": "deny"}
    loaded = load({"use": "recipients", **options}, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    assert loaded.plugin.rcpt(a_transaction(), a_recipient("bob@example.org")) == Accept()
    assert loaded.plugin.rcpt(a_transaction(), a_recipient("anne@example.org")) == NO_MAILBOX


def test_codes_and_texts_reach_the_client() -> None:
    run(
        converse(
            [
                recipients(
                    "bob@ deny 551 5.1.6 Try bob@elsewhere.example", "carol@ defer", "d@ deny"
                )
            ],
            """
            S: 220 ...
            C: EHLO client.example
            S: 250 ...
            C: MAIL FROM:<>
            S: 250 2.1.0 Sender ok
            C: RCPT TO:<Bob@example.org>
            S: 551 5.1.6 Try bob@elsewhere.example
            C: RCPT TO:<carol@example.org>
            S: 450 4.2.1 <carol@example.org> refused for now
            C: RCPT TO:<d@example.org>
            S: 550 5.7.1 <d@example.org> refused
            """,
        )
    )
