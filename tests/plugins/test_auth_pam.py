"""PAM: what its results mean, what it is told, and threads that hang.

libpam is stood in for; the real one is asked in tests/live/test_pam.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pam  # type: ignore[import-untyped]  # it comes without types
import pytest

from gatepost import (
    Accept,
    Certificate,
    Credentials,
    Defer,
    Deny,
    External,
    Password,
    Proven,
    Site,
    Token,
    Verdict,
)
from gatepost.plugins.auth.auth_pam import REFUSALS, AuthPam
from gatepost.testing import a_session

CODES = {name: code for name, code in vars(pam).items() if name.startswith("PAM_")}
#: The results of Linux-PAM (_pam_types.h); other constants have the same numbers.
RESULTS = range(32)
SITE = Site("mx.example")


class Authenticator:
    """Stands in for python-pam's, and for libpam below it."""

    code: int = 0
    reason = "as the test says"
    result: ClassVar[int] = 0
    told: ClassVar[list[tuple[Any, ...]]] = []
    hanging: ClassVar[threading.Event | None] = None

    def __init__(self) -> None:
        self.pam_authenticate = self._authenticate

    def pam_set_item(self, handle: object, item: int, value: bytes) -> int:
        self.told.append((item, value))
        return 0

    def _authenticate(self, handle: object, flags: int) -> int:
        self.told.append((flags,))
        return self.result

    def authenticate(self, user: str, password: str, service: str, **options: Any) -> bool:
        self.told.append((user, password, service, options))
        if self.hanging is not None:
            self.hanging.wait(20)
        self.code = self.pam_authenticate(self, 0)
        return self.code == 0


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pam, "PamAuthenticator", Authenticator)
    monkeypatch.setattr(Authenticator, "result", 0)
    monkeypatch.setattr(Authenticator, "told", [])


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    event = threading.Event()
    monkeypatch.setattr(Authenticator, "hanging", event)
    yield event
    event.set()


def asked(
    *passwords: str, user: str = "anne", client: str = "192.0.2.1", **options: Any
) -> list[Verdict | None]:
    async def ask() -> list[Verdict | None]:
        plugin = AuthPam(**options)
        session = a_session(client)
        verdicts = [await plugin.auth(session, Password(user, word)) for word in passwords]
        plugin.shutdown(SITE)
        return verdicts

    return asyncio.run(ask())


# -- What the results mean ------------------------------------------------------------------------


@pytest.mark.parametrize("code", RESULTS)
def test_a_result_accepts_denies_or_defers(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Authenticator, "result", code)
    expected = Accept() if code == 0 else Deny() if code in REFUSALS else Defer()
    assert asked("secret") == [expected]


def test_what_speaks_of_the_user_is_a_refusal() -> None:
    names = {
        "PAM_AUTH_ERR", "PAM_USER_UNKNOWN", "PAM_PERM_DENIED", "PAM_MAXTRIES", "PAM_ACCT_EXPIRED",
        "PAM_AUTHTOK_EXPIRED", "PAM_CRED_EXPIRED", "PAM_NEW_AUTHTOK_REQD",
    }  # fmt: skip
    assert {CODES[name] for name in names} == REFUSALS


@pytest.mark.parametrize(
    "name",
    ["PAM_SYSTEM_ERR", "PAM_SERVICE_ERR", "PAM_AUTHINFO_UNAVAIL", "PAM_CRED_INSUFFICIENT",
     "PAM_CONV_ERR", "PAM_ABORT", "PAM_OPEN_ERR", "PAM_MODULE_UNKNOWN", "PAM_IGNORE"],
)  # fmt: skip
def test_a_trouble_is_told_to_the_operator(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Authenticator, "result", CODES[name])
    assert asked("s3cret") == [Defer()]
    assert f"PAM cannot tell: as the test says ({CODES[name]})" in caplog.text
    assert "s3cret" not in caplog.text


CERTIFICATE = Certificate("CN=anne", (), "00", b"")


@pytest.mark.parametrize(
    "credentials",
    [Token("anne", "token"), External("anne", CERTIFICATE), Proven("anne", "SCRAM-SHA-256")],
    ids=lambda credentials: type(credentials).__name__,
)
def test_it_answers_for_passwords_only(credentials: Credentials) -> None:
    plugin = AuthPam()
    assert asyncio.run(plugin.auth(a_session(), credentials)) is None
    assert Authenticator.told == []


# -- What it is told ------------------------------------------------------------------------------


def test_it_is_told_the_user_the_service_and_the_client() -> None:
    assert asked("pässword", user="änne", service="smtp-auth") == [Accept()]
    assert Authenticator.told == [
        ("änne", "pässword", "smtp-auth", {"resetcreds": False}),
        (pam.PAM_RHOST, b"192.0.2.1"),
        (pam.PAM_SILENT | pam.PAM_DISALLOW_NULL_AUTHTOK,),
    ]


def test_a_client_on_a_unix_socket_comes_from_nowhere() -> None:
    assert asked("secret", client="") == [Accept()]
    assert pam.PAM_RHOST not in {told[0] for told in Authenticator.told}


@pytest.mark.parametrize(("user", "password"), [("an\0ne", "secret"), ("anne", "sec\0ret")])
def test_a_nul_is_in_no_name_or_password(user: str, password: str) -> None:
    assert asked(password, user=user) == [Deny()]
    assert Authenticator.told == []


# -- Memory ---------------------------------------------------------------------------------------


def questions() -> int:
    return sum(len(told) == 4 for told in Authenticator.told)


def test_a_right_password_is_remembered() -> None:
    assert asked("secret", "secret") == [Accept(), Accept()]
    assert questions() == 1


def test_another_password_is_asked_about() -> None:
    assert asked("secret", "Secret", "secret") == [Accept()] * 3
    assert questions() == 3


def test_a_wrong_password_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Authenticator, "result", pam.PAM_AUTH_ERR)
    assert asked("wrong", "wrong") == [Deny(), Deny()]
    assert questions() == 2


def test_nothing_is_remembered_for_0_seconds() -> None:
    assert asked("secret", "secret", remember=0) == [Accept(), Accept()]
    assert questions() == 2


# -- Time -----------------------------------------------------------------------------------------


def test_a_module_that_hangs_defers(
    hanging: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    assert asked("s3cret", wait=0.1) == [Defer()]
    assert "PAM has no time: TimeoutError()" in caplog.text
    assert "s3cret" not in caplog.text


def test_modules_that_hang_use_up_no_more_than_the_pool(hanging: threading.Event) -> None:
    async def ask() -> None:
        plugin = AuthPam(at_once=2, wait=0.5, remember=0)
        credentials = [Password("anne", "secret") for _ in range(200)]
        verdicts = await asyncio.gather(*(plugin.auth(a_session(), one) for one in credentials))
        assert verdicts == [Defer()] * 200
        assert questions() == 2
        plugin.shutdown(SITE)

    asyncio.run(ask())


def test_the_event_loop_goes_on_meanwhile(hanging: threading.Event) -> None:
    async def ask() -> Verdict | None:
        plugin = AuthPam()
        asyncio.get_running_loop().call_later(0.05, hanging.set)
        verdict = await plugin.auth(a_session(), Password("anne", "secret"))
        plugin.shutdown(SITE)
        return verdict

    assert asyncio.run(ask()) == Accept()


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"service": ""}, "option 'service' must be the name of a file in /etc/pam.d"),
        ({"service": "../shadow"}, "option 'service' must be the name of a file in /etc/pam.d"),
        ({"service": "smtp\n"}, "option 'service' must be the name of a file in /etc/pam.d"),
        ({"wait": 0}, "option 'wait' must be more than 0"),
        ({"at_once": 0}, "option 'at_once' must be at least 1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AuthPam(**options)


def test_without_libpam_it_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise AttributeError("undefined symbol: pam_start")

    monkeypatch.setattr(pam, "PamAuthenticator", missing)
    with pytest.raises(ValueError, match="the library libpam cannot be used: undefined symbol"):
        AuthPam()


def test_a_service_that_is_not_there_is_told_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    AuthPam(service="no-such-service").startup(SITE)
    assert "there is no PAM service 'no-such-service': the service 'other' counts" in caplog.text
