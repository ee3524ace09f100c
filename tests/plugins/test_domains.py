"""The plugin domains: whose mail we take."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from gatepost import Accept, Entries
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.rcpt.domains import Domains
from gatepost.testing import a_recipient, a_session, a_transaction, converse, run

OURS = Domains(Entries(["example.org", ".Example.org", "münchen.example", "[192.0.2.1]"]))


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("bob@example.org", Accept()),
        ("BOB@EXAMPLE.ORG", Accept()),
        ("bob@a.b.example.org", Accept()),
        ("bob@xn--mnchen-3ya.example", Accept()),
        ("bob@www.münchen.example", None),
        ("bob@[192.0.2.1]", Accept()),
        ("bob@[192.0.2.2]", None),
        ("bob@[IPv6:2001:db8::1]", None),
        ("bob@notexample.org", None),
        ("bob@example.org.evil.example", None),
        ("bob%elsewhere.example@example.org", Accept()),
        ('"bob@example.org"@elsewhere.example', None),
        ("<Postmaster>", Accept()),
        ("<POSTMASTER>", Accept()),
        ("postmaster@elsewhere.example", None),
        ("<>", None),
    ],
)
def test_whose_mail_we_take(address: str, verdict: Accept | None) -> None:
    assert OURS.rcpt(a_transaction(), a_recipient(address)) == verdict


@pytest.mark.parametrize("address", ["bob@elsewhere.example", "bob@[192.0.2.2]", "bob@example.org"])
def test_relay_clients_may_write_to_anybody(address: str) -> None:
    transaction = a_transaction(a_session(relaying=True))
    assert OURS.rcpt(transaction, a_recipient(address)) == Accept()


def test_being_allowed_or_known_by_name_is_not_being_allowed_to_relay() -> None:
    transaction = a_transaction(a_session(allowed="a friend", user="anne"))
    assert OURS.rcpt(transaction, a_recipient("bob@elsewhere.example")) is None


def test_a_hundred_thousand_domains() -> None:
    many = Domains(Entries([f"d{number}.example" for number in range(100_000)]))
    assert many.rcpt(a_transaction(), a_recipient("bob@d99999.example")) == Accept()
    assert many.rcpt(a_transaction(), a_recipient("bob@d100000.example")) is None


def test_a_list_in_a_file_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "domains.txt"
    path.write_text("example.org\n")
    plugin = Domains(Entries.in_file(path, clock=count(0, 10).__next__))
    assert plugin.rcpt(a_transaction(), a_recipient("bob@new.example")) is None
    path.write_text("# ours\nexample.org\nnew.example # since June\n")
    os.utime(path, ns=(0, 1))
    assert plugin.rcpt(a_transaction(), a_recipient("bob@new.example")) == Accept()


def test_it_is_loaded_by_its_name(tmp_path: Path) -> None:
    table = {"use": "domains", "domains": ["example.org"]}
    loaded = load(table, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    assert loaded.plugin.rcpt(a_transaction(), a_recipient()) == Accept()


def test_an_entry_that_is_no_domain_is_an_error(tmp_path: Path) -> None:
    table = {"use": "domains", "domains": ["example.org", "*.example.org"]}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        (
            "domains: option 'domains': '*.example.org': "
            "for everything below a domain write '.example.org'",
            "domains",
        )
    ]


def test_a_plain_list_will_do() -> None:
    answer = Domains(["example.org"]).rcpt(a_transaction(), a_recipient("bob@example.org"))
    assert answer == Accept()


def test_nobody_else_is_relayed_for() -> None:
    run(
        converse(
            [OURS],
            """
            S: 220 ...
            C: HELO client.example
            S: 250 ...
            C: MAIL FROM:<bob@example.org>
            S: 250 2.1.0 ...
            C: RCPT TO:<bob@elsewhere.example>
            S: 550 5.7.1 We do not relay
            C: RCPT TO:<@example.org:bob@elsewhere.example>
            S: 550 5.7.1 We do not relay
            C: RCPT TO:<postMASTER>
            S: 250 2.1.5 Recipient ok
            """,
        )
    )
