"""Passwords are checked by Linux-PAM: with a program, and with every result that it has.

For a while there is a service of our own in /etc/pam.d, so that this is for root.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import TypeAlias

import pytest

from gatepost import Accept, Defer, Deny, Password, Site, Verdict
from gatepost.plugins.auth.auth_pam import AuthPam
from gatepost.testing import a_session

SERVICES = Path("/etc/pam.d")
MODULES = ("pam_debug.so", "pam_deny.so", "pam_exec.so", "pam_permit.so")
PATIENCE = 20.0

#: Writes the lines of a service and gives its name.
Service: TypeAlias = Callable[..., str]


def is_installed(module: str) -> bool:
    return any(Path(root).glob(f"**/security/{module}") for root in ("/lib", "/usr/lib"))


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can write a service of PAM"),
    pytest.mark.skipif(find_library("pam") is None, reason="libpam is not installed"),
    pytest.mark.skipif(
        not SERVICES.is_dir() or not all(map(is_installed, MODULES)),
        reason=f"PAM's modules {', '.join(MODULES)} are not installed",
    ),
]


@pytest.fixture
def service() -> Iterator[Service]:
    path = SERVICES / f"gatepost-test-{secrets.token_hex(8)}"

    def write(*lines: str) -> str:
        path.write_text("".join(f"{line}\n" for line in lines))
        return path.name

    yield write
    path.unlink(missing_ok=True)


@pytest.fixture
def check(tmp_path: Path) -> Path:
    """A program that knows the password of anne."""
    program = tmp_path / "check"
    program.write_text(
        "#!/bin/sh\n"
        "password=$(tr -d '\\0')\n"
        f'echo "$PAM_USER $PAM_RHOST $PAM_SERVICE $PAM_TYPE" >> {tmp_path}/asked\n'
        '[ "$PAM_USER:$password" = "anne:sécret" ]\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def by_program(check: Path) -> list[str]:
    return [
        f"auth sufficient pam_exec.so quiet expose_authtok {check}",
        "auth required pam_deny.so",
        "account required pam_permit.so",
    ]


def asked(plugin: AuthPam, *credentials: tuple[str, str]) -> list[Verdict | None]:
    async def ask() -> list[Verdict | None]:
        session = a_session()
        verdicts = [await plugin.auth(session, Password(*one)) for one in credentials]
        plugin.shutdown(Site("mx.example"))
        return verdicts

    return asyncio.run(ask())


def test_a_program_checks_passwords(service: Service, check: Path) -> None:
    name = service(*by_program(check))
    verdicts = asked(
        AuthPam(name), ("anne", "sécret"), ("anne", "wrong"), ("anne", ""), ("eve", "sécret")
    )
    assert verdicts == [Accept(), Deny(), Deny(), Deny()]
    lines = (check.parent / "asked").read_text().splitlines()
    assert lines[0] == f"anne 192.0.2.1 {name} auth"
    assert lines[-1] == f"eve 192.0.2.1 {name} auth"


def test_a_locked_account_is_refused(service: Service, check: Path) -> None:
    name = service(*by_program(check)[:2], "account required pam_deny.so")
    assert asked(AuthPam(name), ("anne", "sécret")) == [Deny()]


def test_many_ask_at_once(service: Service, check: Path) -> None:
    name = service(*by_program(check))

    async def ask() -> list[Verdict | None]:
        plugin = AuthPam(name, remember=0)
        passwords = [Password("anne", word) for word in ("sécret", "wrong") * 20]
        verdicts = await asyncio.gather(*(plugin.auth(a_session(), one) for one in passwords))
        plugin.shutdown(Site("mx.example"))
        return verdicts

    assert asyncio.run(ask()) == [Accept(), Deny()] * 20


# fmt: off
OF_PASSWORDS = [
    ("success",           Accept()), ("auth_err",         Deny()),  ("user_unknown", Deny()),
    ("perm_denied",       Deny()),   ("maxtries",         Deny()),  ("acct_expired", Deny()),
    ("authtok_expired",   Deny()),   ("cred_expired",     Deny()),
    ("cred_insufficient", Defer()),  ("authinfo_unavail", Defer()), ("system_err",   Defer()),
    ("service_err",       Defer()),  ("open_err",         Defer()), ("conv_err",     Defer()),
    ("abort",             Defer()),  ("buf_err",          Defer()),
]
OF_ACCOUNTS = [
    ("success",           Accept()), ("acct_expired",     Deny()),  ("new_authtok_reqd", Deny()),
    ("perm_denied",       Deny()),   ("auth_err",         Deny()),  ("user_unknown",     Deny()),
    ("authinfo_unavail",  Defer()),  ("system_err",       Defer()), ("service_err",      Defer()),
]
# fmt: on


@pytest.mark.parametrize(("result", "expected"), OF_PASSWORDS)
def test_what_a_module_says_of_the_password(
    result: str, expected: Verdict, service: Service
) -> None:
    name = service(f"auth required pam_debug.so auth={result}", "account required pam_permit.so")
    assert asked(AuthPam(name), ("anne", "secret")) == [expected]


@pytest.mark.parametrize(("result", "expected"), OF_ACCOUNTS)
def test_what_a_module_says_of_the_account(
    result: str, expected: Verdict, service: Service
) -> None:
    name = service("auth required pam_permit.so", f"account required pam_debug.so acct={result}")
    assert asked(AuthPam(name), ("anne", "secret")) == [expected]


def test_a_module_that_is_not_there_defers(service: Service) -> None:
    name = service("auth required pam_no_such_module.so", "account required pam_permit.so")
    assert asked(AuthPam(name), ("anne", "secret")) == [Defer()]


def test_a_module_that_hangs_defers_and_comes_back(service: Service, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    program = tmp_path / "hang"
    program.write_text(f"#!/bin/sh\nread -r go < {tmp_path}/go\n")
    program.chmod(0o755)
    name = service(
        f"auth required pam_exec.so quiet {program}",
        "account required pam_permit.so",
    )

    async def ask() -> None:
        plugin = AuthPam(name, at_once=1, wait=0.5)
        hung = await plugin.auth(a_session(), Password("anne", "secret"))
        assert hung == Defer()
        go = os.open(tmp_path / "go", os.O_RDWR)
        try:
            os.write(go, b"now\nagain\n" * 100)
            end = time.monotonic() + PATIENCE
            while await plugin.auth(a_session(), Password("anne", "secret")) == Defer():
                assert time.monotonic() < end
        finally:
            os.close(go)
        plugin.shutdown(Site("mx.example"))

    asyncio.run(ask())
