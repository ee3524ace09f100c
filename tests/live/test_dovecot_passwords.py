"""Passwords and tokens that Dovecot knows, asked for in its own protocol."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from gatepost import Accept, Credentials, Defer, Deny, Password, Site, Tls, Token, Verdict
from gatepost.plugins.auth.auth_dovecot import AuthDovecot
from gatepost.testing import a_session
from tests.ports import free_ports

PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
DOVECOT = shutil.which("dovecot", path=PATH)
PATIENCE = 20.0
SITE = Site("mx.example")
pytestmark = [
    pytest.mark.skipif(DOVECOT is None, reason="dovecot is not installed (Debian: dovecot-core)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="dovecot is started by root"),
]

CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/run
log_path = {directory}/log
protocols =
ssl = no
auth_mechanisms = plain login oauthbearer xoauth2
auth_failure_delay = 0
auth_username_chars =
auth_username_format = %Lu
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {directory}/oauth2
}}
passdb {{
  driver = checkpassword
  args = {directory}/no-such-program
  username_filter = *@broken.example
  mechanisms = plain
}}
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {directory}/users
  mechanisms = plain
}}
service auth {{
  unix_listener auth-gatepost {{
    mode = 0600
  }}
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""
OAUTH2 = """
introspection_mode = post
introspection_url = http://127.0.0.1:{tokens}/
username_attribute = username
active_attribute = active
active_value = true
"""
USERS = """\
anne@example.org:s3cret
änne:Grüße, 你好
suspended:s3cret::::::nologin=y reason=Suspended
elsewhere:s3cret::::::proxy=y host=192.0.2.9
anywhere:::::::nopassword=y proxy=y host=192.0.2.9
alias:s3cret::::::user=anne@example.org
"""


@dataclass
class Dovecot:
    """A Dovecot of our own."""

    directory: Path
    port: int  #: where it is asked over TCP
    tokens: int  #: where it asks about tokens
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def server(self) -> str:
        return f"unix:{self.directory}/run/auth-gatepost"

    def start(self) -> None:
        assert DOVECOT is not None
        command = [DOVECOT, "-F", "-c", str(self.directory / "dovecot.conf")]
        self._running.append(subprocess.Popen(command, start_new_session=True))
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < end, (self.directory / "log").read_text()
            time.sleep(0.02)

    def reload(self) -> None:
        self._running[-1].send_signal(signal.SIGHUP)

    def stop(self) -> None:
        while self._running:
            with self._running.pop() as process:
                os.killpg(process.pid, signal.SIGTERM)  # its children would live on for a while

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(self.server.removeprefix("unix:"))
            return asking.recv(1) == b"V"
        return False


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    # Not below pytest's own directory, into which only root can look.
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        port, tokens = free_ports(2)
        ours = Dovecot(directory, port, tokens)
        values = {"directory": directory, "port": ours.port, "tokens": ours.tokens}
        (directory / "dovecot.conf").write_text(CONFIGURATION.format(**values), encoding="utf-8")
        (directory / "oauth2").write_text(OAUTH2.format(**values), encoding="utf-8")
        (directory / "users").write_text(USERS, encoding="utf-8")
        try:
            ours.start()
            yield ours
        finally:
            ours.stop()


def judged(dovecot: Dovecot, *credentials: Credentials, server: str = "") -> list[Verdict | None]:
    async def judge() -> list[Verdict | None]:
        plugin = AuthDovecot(server or dovecot.server)
        session = a_session()
        session.tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
        verdicts = [await plugin.auth(session, one) for one in credentials]
        plugin.shutdown(SITE)
        return verdicts

    return asyncio.run(judge())


ANNE = ("anne@example.org", "s3cret")
#: The 16 KB of a line that Dovecot reads would be more than enough for it.
LONG = "x" * 11_900


# fmt: off
PASSWORDS = [
    (*ANNE,                       Accept()),
    ("änne", "Grüße, 你好",       Accept()),
    ("anne@example.org", "wrong", Deny()),
    ("anne@example.org", "",      Deny()),
    ("anne@example.org", LONG,    Deny()),
    ("nobody", "s3cret",          Deny()),
    ("", "s3cret",                Deny()),
    ("suspended", "s3cret",       Deny()),
    ("suspended", "wrong",        Deny()),
    ("elsewhere", "s3cret",       Defer()),
    ("anywhere", "no password",   Defer()),
    ("anne@broken.example", "x",  Defer()),
]
# fmt: on


@pytest.mark.parametrize(("user", "password", "expected"), PASSWORDS)
def test_dovecot_decides_on_passwords(
    user: str, password: str, expected: Verdict, dovecot: Dovecot
) -> None:
    assert judged(dovecot, Password(user, password)) == [expected]


@pytest.mark.parametrize(("name", "user"), [("ANNE@Example.org", ANNE[0]), ("alias", ANNE[0])])
def test_the_user_is_who_dovecot_says(name: str, user: str, dovecot: Dovecot) -> None:
    password = Password(name, "s3cret")
    assert judged(dovecot, password) == [Accept()]
    assert password.user == user


def test_it_can_be_asked_over_tcp(dovecot: Dovecot) -> None:
    wrong = Password(ANNE[0], "wrong")
    server = f"127.0.0.1:{dovecot.port}"
    assert judged(dovecot, Password(*ANNE), wrong, server=server) == [Accept(), Deny()]


def test_many_ask_at_once_over_one_connection(dovecot: Dovecot) -> None:
    async def judge() -> list[Verdict | None]:
        plugin = AuthDovecot(dovecot.server, at_once=30)
        passwords = [Password(ANNE[0], word) for word in ("s3cret", "wrong") * 100]
        verdicts = await asyncio.gather(*(plugin.auth(a_session(), one) for one in passwords))
        plugin.shutdown(SITE)
        return verdicts

    assert asyncio.run(judge()) == [Accept(), Deny()] * 100


def test_it_offers_what_dovecot_has(dovecot: Dovecot) -> None:
    async def ask() -> object:
        plugin = AuthDovecot(dovecot.server)
        await plugin.startup(SITE)
        offered = plugin.mechanisms(a_session(), ())
        plugin.shutdown(SITE)
        return offered

    assert asyncio.run(ask()) == ("PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2")


# -- Tokens ---------------------------------------------------------------------------------------


async def introspect(request: web.BaseRequest) -> web.StreamResponse:
    """RFC 7662; the token `right` is for anne."""
    assert isinstance(request, web.BaseRequest)
    text = await request.text()
    active = "token=right" in text.split("&")
    return web.json_response({"active": active} | ({"username": ANNE[0]} if active else {}))


async def with_tokens(dovecot: Dovecot, ask: Callable[[], Awaitable[None]]) -> None:
    runner = web.ServerRunner(web.Server(introspect), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", dovecot.tokens).start()
    try:
        await ask()
    finally:
        await runner.cleanup()


def test_dovecot_decides_on_tokens(dovecot: Dovecot) -> None:
    async def ask() -> None:
        plugin = AuthDovecot(dovecot.server)
        for user, token, expected in (
            (ANNE[0], "right", Accept()),
            (ANNE[0], "wrong", Deny()),
            ("eve@example.org", "right", Deny()),
            (ANNE[0], "right", Accept()),
        ):
            assert await plugin.auth(a_session(), Token(user, token)) == expected, (user, token)
        plugin.shutdown(SITE)

    asyncio.run(with_tokens(dovecot, ask))


def test_when_tokens_cannot_be_checked_clients_are_to_wait(dovecot: Dovecot) -> None:
    assert judged(dovecot, Token(ANNE[0], "right")) == [Defer()]


# -- Dovecot comes and goes -----------------------------------------------------------------------


async def settled(plugin: AuthDovecot, expected: Verdict) -> None:
    """Ask until that is the answer: another process tells nobody."""
    end = time.monotonic() + PATIENCE
    while await plugin.auth(a_session(), Password(*ANNE)) != expected:
        assert time.monotonic() < end
        time.sleep(0.02)  # noqa: ASYNC251  # nothing else is to go on


def test_it_is_asked_again_when_it_has_been_started_anew(dovecot: Dovecot) -> None:
    async def judge() -> None:
        plugin = AuthDovecot(dovecot.server)
        assert await plugin.auth(a_session(), Password(*ANNE)) == Accept()
        await asyncio.to_thread(dovecot.stop)
        await asyncio.to_thread(dovecot.start)
        assert await plugin.auth(a_session(), Password(*ANNE)) == Accept(), "at once"
        await asyncio.to_thread(dovecot.stop)
        await settled(plugin, Defer())
        await asyncio.to_thread(dovecot.start)
        await settled(plugin, Accept())
        assert await plugin.auth(a_session(), Password(ANNE[0], "wrong")) == Deny()
        plugin.shutdown(SITE)

    asyncio.run(judge())


def test_a_reload_of_dovecot_refuses_nobody(dovecot: Dovecot) -> None:
    async def judge() -> None:
        plugin = AuthDovecot(dovecot.server)
        verdicts: list[Verdict | None] = []
        for number in range(500):
            verdicts.append(await plugin.auth(a_session(), Password(*ANNE)))
            if number in (10, 100):
                dovecot.reload()
        plugin.shutdown(SITE)
        assert set(verdicts) == {Accept()}

    asyncio.run(judge())
