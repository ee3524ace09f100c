"""Programs that check passwords: what they are shown, what their end means, and their bounds."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop

from gatepost import (
    Accept,
    Certificate,
    Credentials,
    Defer,
    Deny,
    Endpoint,
    External,
    Password,
    Proven,
    Session,
    Site,
    Token,
    Verdict,
)
from gatepost.plugins.auth.auth_checkpassword import SHOWN_LIMIT, AuthCheckpassword
from gatepost.testing import a_session

Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]

#: A whole one, as the interface describes it: https://cr.yp.to/checkpwd/interface.html.
CHECKPASSWORD = f"""\
#!{sys.executable} -IS
import os, sys
shown = b""
while piece := os.read(3, 513):
    shown += piece
os.close(3)
if len(shown) > 512 or len(sys.argv) < 2:
    sys.exit(2)
user, password, timestamp, rest = shown.split(b"\\0", 3)
if user == b"later":
    sys.exit(111)
if (user, password) != (b"anne", "s\\u00e9cret".encode()):
    sys.exit(1)
os.environ["USER"] = user.decode()
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


def asked(
    plugin: AuthCheckpassword,
    *credentials: Credentials,
    session: Session | None = None,
    run: Runner = asyncio.run,
) -> list[Verdict | None]:
    async def ask() -> list[Verdict | None]:
        return [await plugin.auth(session or a_session(), one) for one in credentials]

    verdicts: list[Verdict | None] = run(ask())
    return verdicts


def sh(script: str, *arguments: str, **options: Any) -> AuthCheckpassword:
    return AuthCheckpassword(("sh", "-c", script, "sh", *arguments), **options)


ANNE = Password("anne", "sécret")


# -- The interface --------------------------------------------------------------------------------


def test_a_program_checks_passwords(run: Runner, tmp_path: Path) -> None:
    program = tmp_path / "checkpassword"
    program.write_text(CHECKPASSWORD, encoding="utf-8")
    program.chmod(0o755)
    plugin = AuthCheckpassword((str(program),))
    credentials = [
        ANNE,
        Password("anne", "wrong"),
        Password("eve", "sécret"),
        Password("later", ""),
    ]
    assert asked(plugin, *credentials, run=run) == [Accept(), Deny(), Deny(), Defer()]


def test_it_is_shown_them_on_descriptor_3_and_nothing_on_0(run: Runner, tmp_path: Path) -> None:
    assert asked(sh("cat > stdin; cat <&3 > shown"), ANNE, run=run) == [Accept()]
    assert (tmp_path / "shown").read_bytes() == "anne\0sécret\0\0".encode()
    assert (tmp_path / "stdin").read_bytes() == b""


def test_it_is_given_what_it_is_to_run(tmp_path: Path) -> None:
    plugin = sh('"$@"', then=("sh", "-c", 'printf "%s|" "$@" > ran', "sh", "a b", "", "c"))
    assert asked(plugin, ANNE) == [Accept()]
    assert (tmp_path / "ran").read_text() == "a b||c|"


def test_by_default_it_is_given_true() -> None:
    assert asked(sh('[ "$*" = /bin/true ] && exec "$@"'), ANNE) == [Accept()]


def test_the_status_is_that_of_what_it_runs() -> None:
    assert asked(sh('exec "$@"', then=("false",)), ANNE) == [Deny()]


def test_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    words = ("$(touch pwned)", "`touch pwned`", "; touch pwned", "'\"", "*", "-c", "3<&-", "\n")
    plugin = sh('printf "%s|" "$@" > words', *words, then=("--", "$HOME"))
    assert asked(plugin, ANNE) == [Accept()]
    assert (tmp_path / "words").read_text() == "|".join([*words, "--", "$HOME", ""])
    assert not (tmp_path / "pwned").exists()


def environment(session: Session, tmp_path: Path) -> dict[str, str]:
    assert asked(sh("env > environment"), ANNE, session=session) == [Accept()]
    lines = (tmp_path / "environment").read_text().splitlines()
    known = dict(line.split("=", 1) for line in lines)
    return {name: value for name, value in known.items() if name.startswith(("PROTO", "TCP"))}


def test_it_knows_the_connection_as_from_tcpserver(tmp_path: Path) -> None:
    assert environment(a_session("2001:db8::1"), tmp_path) == {
        "PROTO": "TCP",
        "TCPREMOTEIP": "2001:db8::1",
        "TCPREMOTEPORT": "49152",
        "TCPLOCALIP": "198.51.100.1",
        "TCPLOCALPORT": "25",
    }


def test_over_a_unix_socket_there_is_nothing_to_know(tmp_path: Path) -> None:
    assert environment(Session(Endpoint(""), Endpoint("/run/gatepost")), tmp_path) == {}


def test_it_knows_no_secrets_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    assert asked(sh('[ -z "$SECRET_TOKEN" ]'), ANNE) == [Accept()]


@pytest.mark.parametrize("length", [SHOWN_LIMIT - 7, SHOWN_LIMIT - 6])
def test_what_it_is_shown_has_512_octets_at_most(length: int, tmp_path: Path) -> None:
    verdicts = asked(sh("wc -c <&3 > length"), Password("anne", "x" * length))
    if length + 7 <= SHOWN_LIMIT:
        assert verdicts == [Accept()]
        assert (tmp_path / "length").read_text().strip() == "512"
    else:
        assert verdicts == [Deny()]
        assert not (tmp_path / "length").exists(), "it is not run"


@pytest.mark.parametrize(("user", "password"), [("anne\0sécret", "x"), ("anne", "sécret\0")])
def test_a_nul_is_in_no_name_or_password(user: str, password: str, tmp_path: Path) -> None:
    assert asked(sh("touch ran"), Password(user, password)) == [Deny()]
    assert not (tmp_path / "ran").exists()


CERTIFICATE = Certificate("CN=anne", (), "00", b"")


@pytest.mark.parametrize(
    "credentials",
    [Token("anne", "token"), External("anne", CERTIFICATE), Proven("anne", "SCRAM-SHA-256")],
    ids=lambda credentials: type(credentials).__name__,
)
def test_it_answers_for_passwords_only(credentials: Credentials, tmp_path: Path) -> None:
    assert asked(sh("touch ran"), credentials) == [None]
    assert not (tmp_path / "ran").exists()


# -- How it ends ----------------------------------------------------------------------------------


# fmt: off
STATUS = [
    (0, Accept()), (1, Deny()), (2, Defer()), (3, Defer()), (111, Defer()), (126, Defer()),
    (255, Defer()),
]
# fmt: on


@pytest.mark.parametrize(("status", "expected"), STATUS)
def test_the_status_decides(
    status: int, expected: Verdict, caplog: pytest.LogCaptureFixture
) -> None:
    assert asked(sh(f"exit {status}"), ANNE) == [expected]
    assert (f"sh ended with status {status}: " in caplog.text) == (expected == Defer())


def test_a_signal_defers(caplog: pytest.LogCaptureFixture) -> None:
    assert asked(sh("kill -SEGV $$"), ANNE) == [Defer()]
    assert "sh ended with signal 11" in caplog.text


def test_one_that_need_not_read_decides_all_the_same() -> None:
    assert asked(sh("exec 3<&-; exit 1"), ANNE) == [Deny()]


@pytest.mark.parametrize("program", ["/nowhere/to/be/found", "no-such-program", "/"])
def test_one_that_cannot_be_run_defers(program: str, caplog: pytest.LogCaptureFixture) -> None:
    plugin = AuthCheckpassword((program,))
    plugin.startup(Site("mx.example"))
    assert f"there is no program {program}" in caplog.text
    assert asked(plugin, ANNE) == [Defer()]
    assert f"{program} ended with status 12" in caplog.text


def test_what_it_prints_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert asked(sh("echo the disk is full >&2; exit 111"), ANNE) == [Defer()]
    assert "status 111: the disk is full" in caplog.text


def test_passwords_that_it_prints_do_not(caplog: pytest.LogCaptureFixture) -> None:
    script = "tr '\\0' ' ' <&3; echo; echo for nothing; exit 111"
    assert asked(sh(script), ANNE) == [Defer()]
    assert "status 111: for nothing" in caplog.text
    assert "sécret" not in caplog.text


# -- Time and number ------------------------------------------------------------------------------


def let_go(descriptor: int) -> bool:
    """Whether nobody holds the other end of a FIFO open any more; somebody has written to it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while poll.poll(5000):
        if not os.read(descriptor, 100):
            return True
    return False


def test_one_that_takes_too_long_is_killed(
    run: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "lifeline")
    lifeline = os.open(tmp_path / "lifeline", os.O_RDONLY | os.O_NONBLOCK)
    plugin = sh("(echo here; exec sleep 100) > lifeline & wait", wait=1)
    assert asked(plugin, ANNE, run=run) == [Defer()]
    assert "sh took too long" in caplog.text
    assert let_go(lifeline)
    os.close(lifeline)


@pytest.fixture
def begun_and_go(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Two FIFOs: programs write to one when they begin, and read from the other to end."""
    for name in ("begun", "go"):
        os.mkfifo(tmp_path / name)
    begun, go = (os.open(tmp_path / name, os.O_RDWR) for name in ("begun", "go"))
    yield begun, go
    os.close(begun)
    os.close(go)


WAITING = "printf . > begun; read -r go < go"


def test_so_many_run_at_once_and_the_others_wait(begun_and_go: tuple[int, int]) -> None:
    begun, go = begun_and_go

    def count() -> int:
        """How many begin, until for a while none does."""
        heard = os.read(begun, 100)
        poll = select.poll()
        poll.register(begun, select.POLLIN)
        while len(heard) < 2 or poll.poll(200):
            heard += os.read(begun, 100)
        return len(heard)

    async def ask() -> None:
        plugin = sh(WAITING, at_once=2)
        passwords = [Password("anne", str(number)) for number in range(6)]
        asking = asyncio.gather(*(plugin.auth(a_session(), one) for one in passwords))
        number = await asyncio.to_thread(count)
        os.write(go, b"now\n" * 6)
        assert await asking == [Accept()] * 6
        assert number == 2

    asyncio.run(ask())


def test_who_takes_too_long_leaves_room_for_the_next(begun_and_go: tuple[int, int]) -> None:
    async def ask() -> None:
        plugin = sh(WAITING, at_once=1, wait=2)
        assert await plugin.auth(a_session(), ANNE) == Defer()
        os.write(begun_and_go[1], b"now\n")
        assert await plugin.auth(a_session(), ANNE) == Accept()

    asyncio.run(ask())


# -- Memory ---------------------------------------------------------------------------------------


def test_a_right_password_is_remembered_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    script = 'echo >> asked; cat <&3 | tr "\\0" "\\n" | grep -qx secret'
    right, wrong = Password("anne", "secret"), Password("anne", "wrong")
    assert asked(sh(script), right, right, wrong, wrong, right) == [
        Accept(), Accept(), Deny(), Deny(), Accept()
    ]  # fmt: skip
    assert (tmp_path / "asked").read_text() == "\n" * 3


def test_nothing_is_remembered_for_0_seconds(tmp_path: Path) -> None:
    assert asked(sh("echo >> asked", remember=0), ANNE, ANNE) == [Accept()] * 2
    assert (tmp_path / "asked").read_text() == "\n" * 2


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"program": ()}, "option 'program' must name a program"),
        ({"program": ("",)}, "option 'program' must name a program"),
        ({"program": ("x", "\0")}, "option 'program' holds a NUL"),
        ({"then": ()}, "option 'then' must name a program"),
        ({"wait": 0}, "option 'wait' must be more than 0"),
        ({"at_once": 0}, "option 'at_once' must be at least 1"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AuthCheckpassword(**{"program": ("true",)} | options)
