"""Passwords that Dovecot knows, asked for over IMAP."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from gatepost import Accept, Defer, Deny, Password, Verdict
from gatepost.plugins.auth import auth_imap
from gatepost.plugins.auth.auth_imap import AuthImap
from gatepost.testing import a_session
from tests.ports import free_ports

PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
DOVECOT = shutil.which("dovecot", path=PATH)
IMAP = Path("/usr/lib/dovecot/imap-login")
pytestmark = [
    pytest.mark.skipif(
        DOVECOT is None or not IMAP.exists(),
        reason="dovecot is not installed (Debian: dovecot-imapd)",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="dovecot is started by root"),
]

CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/run
log_path = {directory}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{directory}/certificate.pem
ssl_key = <{directory}/certificate.pem
auth_mechanisms = plain
auth_failure_delay = 0
auth_username_chars =
auth_verbose = yes
mail_location = maildir:{directory}/mail/%u
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users
}}
passdb {{
  driver = checkpassword
  args = {directory}/broken
  username_filter = *@broken.example
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={directory}/mail/%u
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
"""
#: What people may well choose.
PASSWORDS = {
    "anne@example.org": "s3cret",
    "quotes": 'a"b\\c" {3}',
    "blanks": " ",
    "umlauts": "Grüße, 你好 \N{PILE OF POO}",
    "long": "x" * 900,
    "user with blanks": "y",
    "grün": "ä",
}


@dataclass(frozen=True)
class Dovecot:
    """A Dovecot that runs."""

    directory: Path
    ports: dict[str, int]

    def ask(self, user: str, password: str, tls: Any = "implicit") -> Verdict | None:
        plugin = AuthImap(
            "127.0.0.1",
            self.ports["imaps" if tls == "implicit" else "imap"],
            tls=tls,
            authorities=self.directory / "authority.pem",
        )
        return asyncio.run(plugin.auth(a_session(), Password(user, password)))


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with tempfile.TemporaryDirectory() as name:  # pytest's own only root may enter
        directory = Path(name)
        directory.chmod(0o755)
        ports = dict(zip(("imap", "imaps"), free_ports(2), strict=True))
        _furnish(directory, ports)
        process = subprocess.Popen(
            [str(DOVECOT), "-F", "-c", directory / "dovecot.conf"], stderr=subprocess.PIPE
        )
        try:
            for port in ports.values():
                _await_listener(process, port)
            yield Dovecot(directory, ports)
        finally:
            process.terminate()
            process.communicate()


def _furnish(directory: Path, ports: dict[str, int]) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(directory / "authority.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "certificate.pem")
    (directory / "mail").mkdir()
    (directory / "mail").chmod(0o777)
    (directory / "users").write_text(
        "".join(
            f"{user}:{{PLAIN.b64}}{b64encode(password.encode()).decode()}\n"
            for user, password in PASSWORDS.items()
        )
        + "lost:{PLAIN}s3cret::::::userdb_tempfail=yes\n"
    )
    broken = directory / "broken"
    broken.write_text("#!/bin/sh\nexit 111\n")
    broken.chmod(0o755)
    (directory / "dovecot.conf").write_text(CONFIGURATION.format(directory=directory, **ports))


def _await_listener(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    assert process.stderr
    pytest.skip(f"dovecot does not start: {process.stderr.read().decode()}")


@pytest.mark.parametrize("tls", ["implicit", "starttls", "off"])
def test_right_and_wrong(dovecot: Dovecot, tls: str) -> None:
    assert dovecot.ask("anne@example.org", "s3cret", tls) == Accept()
    assert dovecot.ask("anne@example.org", "s3cret ", tls) == Deny()
    assert dovecot.ask("anne@example.org", "", tls) == Deny()
    assert dovecot.ask("bob@example.org", "s3cret", tls) == Deny()
    assert dovecot.ask("", "s3cret", tls) == Deny()


@pytest.mark.parametrize("by", ["AUTHENTICATE", "LOGIN"])
@pytest.mark.parametrize("user", PASSWORDS)
def test_whatever_people_choose(
    dovecot: Dovecot, user: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "LOGIN":  # it cannot be told not to offer the other
        with_all = auth_imap._login
        monkeypatch.setattr(auth_imap, "_login", lambda _, *names: with_all(set(), *names))
    assert dovecot.ask(user, PASSWORDS[user]) == Accept()


@pytest.mark.parametrize("password", ['x"\r\ng3 LOGOUT', "{3}\r\nabc", "x\ny"])
def test_what_dovecot_takes_for_no_password(dovecot: Dovecot, password: str) -> None:
    assert dovecot.ask("anne@example.org", password) == Deny()


@pytest.mark.parametrize("user", ["lost", "anne@broken.example"])
def test_passwords_that_cannot_be_checked_now(
    dovecot: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert dovecot.ask(user, "s3cret") == Defer()
    # The one has no mailbox that Dovecot could find; the other's password nobody could check.
    assert ("it answers UNAVAILABLE" if "@" in user else "it hung up") in caplog.text


def test_a_password_does_not_go_to_somebody_else(dovecot: Dovecot) -> None:
    plugin = AuthImap("127.0.0.1", dovecot.ports["imaps"])  # nobody vouches for the certificate
    verdict = asyncio.run(plugin.auth(a_session(), Password("anne@example.org", "s3cret")))
    assert verdict == Defer()
    assert "s3cret" not in (dovecot.directory / "log").read_text()
