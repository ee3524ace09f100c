"""`gatepost try`: the dialogue, the decisions and what became of the message."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

Gatepost: TypeAlias = Callable[..., Result]

DOMAINS = '[[plugin]]\nuse = "domains"\ndomains = ["example.org"]\n'
MAILDIR = '[[plugin]]\nuse = "maildir"\npath = "mail"\n'
RULES = '[[plugin]]\nuse = "recipients"\nrules = ["sales@ deny 550 5.1.6 Sales has moved"]\n'
LMTP = '[[listen]]\naddress = "127.0.0.1:0"\nprotocol = "lmtp"\n'
TAKER = """
from gatepost import Accept, Decision, Plugin, Reply, Session, Site, Transaction

class Taker(Plugin):
    def startup(self, site: Site) -> None:
        (site.directory / "started").touch()

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        raise AssertionError("it was not")

    async def queue(self, transaction: Transaction) -> Accept:
        raise AssertionError("nobody may be asked")
"""
BROKEN = """
from gatepost import Plugin, Session, Site

class Broken(Plugin):
    def startup(self, site: Site) -> None:
        raise RuntimeError("no disk")
"""


@pytest.fixture(autouse=True)
def usual(configure: Callable[[str], None]) -> None:
    configure(RULES + DOMAINS + MAILDIR)


def dialogue(output: str) -> list[str]:
    """The lines of the client, and the decisions that they led to, without their time."""
    lines = output.splitlines()
    return [
        re.sub(r" {2}\[\d+\.\d\d ms\]$", "", line).strip()
        for line in lines
        if line.startswith(("C: ", "   "))
    ]


def test_the_dialogue_stands_with_its_decisions(gatepost: Gatepost) -> None:
    result = gatepost("try")
    assert result.exit_code == 0
    assert dialogue(result.output) == [
        "C: EHLO client.example",
        "C: MAIL FROM:<anne@client.example> SIZE=59",
        "C: RCPT TO:<bob@example.org>",
        "rcpt: domains accepts",
        "C: DATA",
        "C: From: anne@client.example",
        "C: Subject: Hello",
        "C:",
        "C: How are you?",
        "C: .",
        "queue: maildir would be asked to take it; --deliver does that",
        "C: QUIT",
    ]
    assert "S: 220 mx.example ESMTP\n" in result.output
    assert result.output.endswith(
        "Accepted for <bob@example.org>: 250 2.0.0 Not delivered: maildir would be asked now\n"
    )


def test_nothing_is_touched_without_deliver(gatepost: Gatepost, tmp_path: Path) -> None:
    gatepost("try")
    assert not (tmp_path / "mail").exists()


def test_a_plugin_that_only_takes_messages_is_not_even_started(
    gatepost: Gatepost, configure: Callable[[str], None], tmp_path: Path
) -> None:
    (tmp_path / "taker.py").write_text(TAKER)
    configure(DOMAINS + '[[plugin]]\nuse = "taker"\n')
    result = gatepost("try")
    assert result.exit_code == 0
    assert not (tmp_path / "started").exists()
    assert result.stderr == ""


def test_with_deliver_it_is_delivered(gatepost: Gatepost, tmp_path: Path) -> None:
    result = gatepost("try", "--deliver")
    assert result.exit_code == 0
    assert "queue: maildir accepts" in dialogue(result.output)
    (mail,) = (tmp_path / "mail" / "new").iterdir()
    assert mail.read_bytes().endswith(b"\r\n\r\nHow are you?\r\n")


def test_a_refusal_shows_who_refused_and_why(gatepost: Gatepost) -> None:
    result = gatepost("try", "--to", "sales@example.org", "--from", "", "--helo", "h.example")
    assert result.exit_code == 1
    assert dialogue(result.output)[:4] == [
        "C: EHLO h.example",
        "C: MAIL FROM:<> SIZE=59",
        "C: RCPT TO:<sales@example.org>",
        "rcpt: recipients denies: Sales has moved",
    ]
    assert "C: DATA" not in dialogue(result.output)
    assert "Refused for <sales@example.org>: 550 5.1.6 Sales has moved" in result.output


def test_each_recipient_has_its_own_end(gatepost: Gatepost) -> None:
    result = gatepost("try", "--to", "<bob@example.org>", "--to", "carol@elsewhere.example")
    assert result.exit_code == 1
    assert result.output.splitlines()[-2:] == [
        "Accepted for <bob@example.org>: 250 2.0.0 Not delivered: maildir would be asked now",
        "Refused for <carol@elsewhere.example>: 550 5.7.1 We do not relay",
    ]


def test_the_address_of_the_client_counts(
    gatepost: Gatepost, configure: Callable[[str], None]
) -> None:
    relay = '[[plugin]]\nuse = "relay"\nnetworks = ["192.0.2.7"]\n'
    configure(relay + DOMAINS + MAILDIR)
    to = ("--to", "carol@elsewhere.example")
    assert gatepost("try", *to).exit_code == 1
    result = gatepost("try", *to, "--ip", "192.0.2.7")
    assert result.exit_code == 0
    assert "What the plugins found\n   relay: pass: 192.0.2.7 is in 192.0.2.7/32" in result.output


def test_a_message_comes_from_a_file_or_from_standard_input(
    gatepost: Gatepost, tmp_path: Path
) -> None:
    letter = b"Subject: dots\n\n.one\n..two\nna\xc3\xafve"
    (tmp_path / "letter").write_bytes(letter)
    told = gatepost("try", "--deliver", "letter")
    assert "(The line ends of the message are made CRLF)" in told.output
    assert "SIZE=36 BODY=8BITMIME" in told.output
    assert "C: ..one\nC: ...two\n" in told.output
    typed = gatepost("try", "--deliver", "-", typed=letter.replace(b"\n", b"\r\n"))
    assert "line ends" not in typed.output
    mails = [path.read_bytes() for path in (tmp_path / "mail" / "new").iterdir()]
    assert len(mails) == 2
    assert all(mail.endswith(b"\r\n\r\n.one\r\n..two\r\nna\xc3\xafve\r\n") for mail in mails)


def test_a_long_message_is_shown_in_part(gatepost: Gatepost) -> None:
    result = gatepost("try", "-", typed="Subject: long\r\n\r\n" + "line\r\n" * 100)
    assert "C: ... 90 lines more ...\nC: .\n" in result.output


def test_addresses_in_other_scripts_ask_for_smtputf8(gatepost: Gatepost) -> None:
    result = gatepost("try", "--from", "jürgen@bücher.example")
    assert "C: MAIL FROM:<jürgen@bücher.example> SIZE=59 SMTPUTF8" in dialogue(result.output)
    assert result.exit_code == 0


@pytest.mark.parametrize("options", [["--lmtp"], []], ids=["asked for", "the listener's"])
def test_lmtp_answers_for_each(
    options: list[str], gatepost: Gatepost, configure: Callable[..., None]
) -> None:
    if not options:
        configure(DOMAINS + MAILDIR, listen=LMTP)
    result = gatepost("try", *options, "--to", "a@example.org", "--to", "b@example.org")
    assert result.exit_code == 0
    assert dialogue(result.output)[0] == "C: LHLO client.example"
    assert result.output.count("\nS: 250 2.0.0 Not delivered") == 2


def test_nobody_takes_it_where_nobody_is_configured_to(
    gatepost: Gatepost, configure: Callable[[str], None]
) -> None:
    configure(DOMAINS)
    result = gatepost("try")
    assert result.exit_code == 1
    assert "Refused for <bob@example.org>: 451 4.3.0 Nobody took the message" in result.output


def test_a_server_that_hangs_up_is_not_spoken_to(
    gatepost: Gatepost, configure: Callable[[str], None]
) -> None:
    configure('[[plugin]]\nuse = "senders"\nrules = ["@client.example deny"]\ndisconnect = true\n')
    result = gatepost("try", "--to", "bob@example.org")
    assert result.exit_code == 1
    assert dialogue(result.output)[2].startswith("mail: senders denies")
    assert "C: QUIT" not in dialogue(result.output)


@pytest.mark.parametrize(
    ("options", "complaint", "code"),
    [
        (["--listener", "inside"], "there is no listener 'inside'\n", 1),
        (["--ip", "localhost"], "'localhost' is no IP address", 2),
        (["nowhere.eml"], "No such file", 2),
    ],
)
def test_what_cannot_be_tried_is_told(
    options: list[str], complaint: str, code: int, gatepost: Gatepost
) -> None:
    result = gatepost("try", *options)
    assert result.exit_code == code
    assert complaint in result.stderr


def test_a_plugin_that_cannot_start_is_named(
    gatepost: Gatepost, configure: Callable[[str], None], tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    configure('[[plugin]]\nuse = "broken"\n')
    result = gatepost("try")
    assert result.exit_code == 1
    assert result.stderr == "broken failed on startup: RuntimeError: no disk\n"
