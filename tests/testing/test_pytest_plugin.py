"""The pytest plugin: which files it takes, and how it shows what went wrong."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

DIALOGUES = """\
# Words about the file.
hostname = "mx.test"

[limits]
message_size = 1000

[[plugin]]
use = "domains"
domains = ["example.org"]
---
# It greets
S: 220 mx.test ...
C: EHLO client.example
S: 250 ... SIZE 1000 ...
---
S: 220 ...
C: NOOP
S: 250 2.0.0 Never
"""

PLUGIN = '''
from dataclasses import dataclass
from gatepost import Deny, Plugin, Recipient, Transaction


@dataclass
class NoSales(Plugin):
    """Sells nothing.

        names = ["sales"]

        S: 220 ...
        C: HELO client.example
        S: 250 ...
        C: MAIL FROM:<>
        S: 250 ...
        C: RCPT TO:<sales@example.org>
        S: 550 5.7.1 Nobody reads sales here
        C: RCPT TO:<bob@example.org>
        S: 550 5.7.1 We do not relay

        S: 220 ...
        C: HELO client.example
        S: 250 mx.other
    """

    names: tuple[str, ...]

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Deny | None:
        local = recipient.address.local
        return Deny(f"Nobody reads {local} here") if local in self.names else None
'''


def held(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_files_of_dialogues(pytester: pytest.Pytester) -> None:
    pytester.makefile(".smtp", greeting=DIALOGUES)
    result = held(pytester, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "greeting.smtp::It greets PASSED*",
            "greeting.smtp::line 16 FAILED*",
            "*greeting.smtp:18: expected  250 2.0.0 Never",
            "    heard     250 2.0.0 Ok",
            "The dialogue so far:",
            "    S: 220 mx.test ESMTP",
            "    C: NOOP",
        ]
    )


WRONG = {
    "one": ("[[plugin]", "Expected ']]' at the end of an array declaration*"),
    "two": ('hostnam = "x"', "unknown option 'hostnam', did you mean 'hostname'?"),
    "three": ("[limits]\nrecipients = 5", "option 'limits': recipients: never fewer than 100*"),
    "four": ('[[plugin]]\nuse = "domain"', "no plugin 'domain', did you mean 'domains'?"),
    "five": ('[[plugin]]\nuse = "domains"', "domains: option 'domains' is missing*"),
}


def test_files_that_are_wrong(pytester: pytest.Pytester) -> None:
    for name, (head, _) in WRONG.items():
        (pytester.path / f"{name}.smtp").write_text(f"{head}\n---\nS: 220 ...\n")
    (pytester.path / "six.smtp").write_text("S: 220 ...\nQUIT\n")
    result = held(pytester)
    result.assert_outcomes(failed=6)
    for name, (_, words) in WRONG.items():
        result.stdout.fnmatch_lines_random([f"*{name}.smtp: {words}"])
    result.stdout.fnmatch_lines_random(["*line 2 begins with neither S: nor C:, 'QUIT'*"])


def test_plugins_beside_the_file_and_a_directory_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(turns_sales_away=PLUGIN)
    pytester.makefile(
        ".smtp",
        dialogue="""
plugin_directories = ["."]
[[plugin]]
use = "turns_sales_away"
names = ["sales"]
[[plugin]]
use = "domains"
domains = ["example.org"]
[[plugin]]
use = "maildir"
path = "mail"
---
S: 220 ...
C: EHLO client.example
S: 250 ...
C: MAIL FROM:<>
S: 250 ...
C: RCPT TO:<sales@example.org>
S: 550 5.7.1 Nobody reads sales here
C: RCPT TO:<bob@example.org>
S: 250 ...
C: DATA
S: 354 ...
C: .
S: 250 2.0.0 ...
""",
    )
    held(pytester).assert_outcomes(passed=1)
    assert not (pytester.path / "mail").exists()


def test_docstrings_where_they_are_wanted(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        turns_sales_away=PLUGIN, other="class Plugin:\n    '''x\n\n     S: 220\n    '''\n"
    )
    pytester.syspathinsert()
    held(pytester).assert_outcomes()
    result = held(pytester, "--gatepost-docstrings", "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "turns_sales_away.py::NoSales line 11 PASSED*",
            "turns_sales_away.py::NoSales line 21 FAILED*",
            "*turns_sales_away.py:23: expected  250 mx.other",
        ]
    )
    pytester.makeini("[pytest]\ngatepost_docstrings = true\n")
    held(pytester).assert_outcomes(passed=1, failed=1)
