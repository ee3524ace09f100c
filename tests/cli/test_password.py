"""`gatepost password`: one line for the file of users, from a terminal or from a pipe."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from typing import TypeAlias

import pytest
from click.testing import Result

from gatepost import Accept, Entries, HashedPassword, Password
from gatepost.hashed_password import FOR_NEW
from gatepost.plugins.auth.auth_file import AuthFile
from gatepost.testing import a_session, run

Gatepost: TypeAlias = Callable[..., Result]

#: Seconds within which a program says something.
PATIENCE = 30


def kept_in(line: str) -> HashedPassword:
    assert line.endswith("\n")
    name, _, kept = line.rstrip("\n").partition(":")
    assert name == "bob"
    return HashedPassword.parse(kept)


# -- From a pipe -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", FOR_NEW)
def test_a_line_for_each_scheme(gatepost: Gatepost, scheme: str) -> None:
    result = gatepost("password", "bob", "--scheme", scheme, typed="päncil: #1\n")
    assert (result.exit_code, result.stderr) == (0, "")
    kept = kept_in(result.stdout)
    assert kept.scheme == scheme
    assert kept.verify("päncil: #1")


def test_auth_file_lets_the_user_in(gatepost: Gatepost) -> None:
    line = gatepost("password", "bob", typed="pencil\n").stdout
    plugin = AuthFile(Entries([line.strip()]))
    assert run(plugin.auth(a_session(), Password("bob", "pencil"))) == Accept()


def test_without_a_scheme_it_is_argon2(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_in(gatepost("password", "bob", typed="pencil\n").stdout).scheme == "argon2id"
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert kept_in(gatepost("password", "bob", typed="pencil\n").stdout).scheme == "scrypt"


@pytest.mark.parametrize("typed", ["pencil", "pencil\n", "pencil\r\n", "pencil\npaper\n"])
def test_the_password_is_the_first_line(gatepost: Gatepost, typed: str) -> None:
    line = gatepost("password", "bob", "--scheme", "plain", typed=typed).stdout
    assert line == "bob:{PLAIN}pencil\n"


def test_the_name_is_written_in_the_form_of_saslprep(gatepost: Gatepost) -> None:
    line = gatepost("password", "b\u00adob", "--scheme", "plain", typed="pencil\n").stdout
    assert line == "bob:{PLAIN}pencil\n"


@pytest.mark.parametrize(
    ("arguments", "typed", "complaint"),
    [
        (("",), "pencil\n", ": the name is empty"),
        (("b:ob",), "pencil\n", "b:ob: a name holds no colon and no blank"),
        (("b ob",), "pencil\n", "b ob: a name holds no colon and no blank"),
        (("#bob",), "pencil\n", "does not begin with '#'"),
        (("b\nob",), "pencil\n", "b\\nob: it holds a character that is prohibited"),
        (("b" * 256,), "pencil\n", "the name is longer than 255 octets"),
        (("bob",), "", "the password cannot be kept: it is empty"),
        (("bob",), "\npencil\n", "the password cannot be kept: it is empty"),
        (("bob",), "pen\7cil\n", "the password cannot be kept: it holds a character"),
        (("bob",), b"pen\xffcil\n", "the password cannot be kept: it is not UTF-8"),
        (("bob",), "x" * 1025, "the password cannot be kept: it is longer than 1024 octets"),
        (("bob", "--scheme", "bcrypt"), "x" * 73, "it is longer than 72 octets"),
    ],
)
def test_what_cannot_be_is_told(
    gatepost: Gatepost, arguments: tuple[str, ...], typed: str | bytes, complaint: str
) -> None:
    result = gatepost("password", *arguments, typed=typed)
    assert (result.exit_code, result.stdout) == (1, "")
    assert complaint in result.stderr


def test_an_unknown_scheme_is_told(gatepost: Gatepost) -> None:
    result = gatepost("password", "bob", "--scheme", "md5", typed="pencil\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'md5' is not one of 'argon2id', 'scrypt'" in result.stderr


# -- At a terminal ---------------------------------------------------------------------------------


class Screen:
    """What a program shows on its terminal."""

    def __init__(self, terminal: int) -> None:
        self.seen = ""
        self._terminal = terminal
        self._answered = 0

    def answer(self, question: str, typed: str) -> None:
        """Wait for a question, and type something."""
        while question not in self.seen[self._answered :]:
            readable, _, _ = select.select([self._terminal], [], [], PATIENCE)
            assert readable, f"{question!r} did not come, but {self.seen!r}"
            self.seen += os.read(self._terminal, 1024).decode()
        self._answered = self.seen.index(question, self._answered) + len(question)
        os.write(self._terminal, typed.encode())


def test_a_terminal_is_asked_twice_and_shows_nothing() -> None:
    terminal, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "gatepost", "password", "bob", "--scheme", "plain"],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    screen = Screen(terminal)
    try:
        screen.answer("Password: ", "pencil\n")
        screen.answer("confirmation: ", "pensil\n")
        screen.answer("do not match", "")
        screen.answer("Password: ", "paper\n")
        screen.answer("confirmation: ", "paper\n")
        line, _ = program.communicate(timeout=PATIENCE)
    finally:
        program.kill()
        program.wait(PATIENCE)
        os.close(terminal)
    assert (program.returncode, line) == (0, b"bob:{PLAIN}paper\n")
    assert not any(word in screen.seen for word in ("pencil", "pensil", "paper"))
