"""`gatepost check`: who is asked, or all that is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

Gatepost: TypeAlias = Callable[..., Result]
Configure: TypeAlias = Callable[..., None]

TWO = """
[[listen]]
name = "mx"
address = "127.0.0.1:2525"
[[listen]]
name = "inside"
address = "unix:inside.sock"
protocol = "lmtp"
"""
DOMAINS = '[[plugin]]\nuse = "domains"\ndomains = ["example.org"]\n'
DISCARD = '[[plugin]]\nuse = "discard"\n'
NOBODY = """
from gatepost import Address, Deny, Plugin, Transaction

class Nobody(Plugin):
    def mail(self, transaction: Transaction, sender: Address) -> Deny:
        return Deny()
"""


def rows(output: str) -> list[str]:
    return [" ".join(line.split()) for line in output.split("\n\n")[1].splitlines()]


def test_each_hook_has_those_who_are_asked_in_their_order(
    gatepost: Gatepost, configure: Configure
) -> None:
    configure(f'[[plugin]]\nuse = "recipients"\nrules = ["bob@ deny"]\n{DOMAINS}{DISCARD}')
    result = gatepost("check")
    assert result.exit_code == 0
    assert rows(result.output) == ["rcpt recipients", "domains", "queue discard"]
    assert result.output.endswith("gatepost.toml is sound\n")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('unless = ["relay", "allowed"]', ["mail nobody unless relay, allowed"]),
        ('mode = "report"', ["mail nobody only reported"]),
        (
            'mode = "later"\npronounce = "data"',
            ["mail nobody refusals wait for data", "data nobody pronounces what it held back"],
        ),
        (
            'soften = true\ndisconnect = true\non_error = "ignore"',
            ["mail nobody denials become deferrals; hangs up after a refusal; failures ignored"],
        ),
    ],
)
def test_it_says_what_follows_from_verdicts(
    keys: str, expected: list[str], gatepost: Gatepost, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "nobody.py").write_text(NOBODY)
    configure(f'{DISCARD}{DOMAINS}[[plugin]]\nuse = "nobody"\n{keys}\n')
    told = rows(gatepost("check").output)
    assert [row for row in told if "nobody " in row] == expected


def test_listeners_are_told_apart_where_they_differ(
    gatepost: Gatepost, configure: Configure
) -> None:
    configure(f'{DOMAINS}{DISCARD}listeners = ["inside"]\n', listen=TWO)
    output = gatepost("check").output
    assert output.startswith("smtp on 127.0.0.1:2525 (mx)\nlmtp on unix:")
    assert rows(output) == [
        "rcpt domains",
        "queue on mx (nobody) every message is deferred",
        "queue on inside discard",
    ]


def test_it_says_what_becomes_of_mail_that_nobody_takes(
    gatepost: Gatepost, configure: Configure
) -> None:
    configure("")
    assert rows(gatepost("check").output) == [
        "rcpt (nobody) every recipient is refused",
        "queue (nobody) every message is deferred",
    ]


def test_all_that_is_wrong_is_told_with_its_line(gatepost: Gatepost, configure: Configure) -> None:
    configure('hostnme = "x"\n[[plugin]]\nuse = "domans"\n', listen="")
    result = gatepost("check")
    assert result.exit_code == 1
    assert result.stdout == ""
    complaints = result.stderr.splitlines()
    assert len(complaints) == 3
    assert "gatepost.toml:3: unknown option 'hostnme', did you mean 'hostname'?" in complaints
    assert "gatepost.toml:5: no plugin 'domans', did you mean 'domains'?" in complaints


def test_a_configuration_that_is_not_there_is_told_with_what_to_do(gatepost: Gatepost) -> None:
    result = gatepost("check", "-c", "other.toml")
    assert result.exit_code == 1
    assert result.stderr == (
        "other.toml: there is no such file; `gatepost init` writes a first configuration\n"
    )


def test_a_complaint_does_not_command_the_terminal(gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").write_text('hostname = "\\u001b[2J"\n')
    assert "\x1b" not in gatepost("check").stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_configuration_that_may_not_be_read(
    gatepost: Gatepost, configure: Configure, tmp_path: Path
) -> None:
    configure(DISCARD)
    (tmp_path / "gatepost.toml").chmod(0)
    result = gatepost("check")
    assert result.exit_code == 1
    assert result.output == "gatepost.toml: cannot be read: Permission denied\n"
