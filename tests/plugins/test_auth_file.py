"""The plugin auth_file: who is let in, by what, and what a change of the file does."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from gatepost import (
    Accept,
    Certificate,
    Credentials,
    Defer,
    Deny,
    Entries,
    External,
    HashedPassword,
    Password,
    PlainSecret,
    Proven,
    ScramKeys,
    Secret,
    Site,
    Token,
    Verdict,
)
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth.auth_file import AuthFile, user_name
from gatepost.testing import a_session, converse, run

SITE = Site("mx.example")
_versions = count(1)


def cheap(password: str, *, passes: int = 1) -> str:
    """A hash that costs next to nothing."""
    return PasswordHasher(time_cost=passes, memory_cost=8, parallelism=1).hash(password)


def auth_file(*lines: str, **options: Any) -> AuthFile:
    return AuthFile(Entries(lines), **options)


def write(path: Path, text: str) -> None:
    """Write a file whose time differs from that of every version before."""
    path.write_text(text)
    os.utime(path, ns=(0, next(_versions) * 1_000_000_000))


def followed(path: Path, clock: Callable[[], float] | None = None, **options: Any) -> AuthFile:
    """A plugin that looks at its file whenever it is asked."""
    return AuthFile(Entries.in_file(path, clock=clock or count(0, 10).__next__), **options)


async def verdict_on(plugin: AuthFile, user: str, password: str) -> Verdict | None:
    return await plugin.auth(a_session(), Password(user, password))


def verdicts(plugin: AuthFile, *pairs: tuple[str, str]) -> list[Verdict | None]:
    """What becomes of names and passwords, one after the other."""

    async def ask() -> list[Verdict | None]:
        return [await verdict_on(plugin, user, password) for user, password in pairs]

    return asyncio.run(ask())


def mechanisms(plugin: AuthFile, offered: tuple[str, ...] = ()) -> tuple[str, ...]:
    async def ask() -> tuple[str, ...]:
        answer = plugin.mechanisms(a_session(), offered)
        return await answer if isinstance(answer, Awaitable) else answer

    return asyncio.run(ask())


def secret(plugin: AuthFile, user: str, mechanism: str) -> Secret | None:
    return asyncio.run(plugin.secret(a_session(), user, mechanism))


# -- Who is let in ---------------------------------------------------------------------------------


def test_a_password_is_right_or_wrong_or_nobodys() -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}", f"anne@example.org:{cheap('paper')}")
    assert verdicts(
        plugin,
        ("bob", "pencil"),
        ("bob", "paper"),
        ("bob", ""),
        ("anne@example.org", "paper"),
        ("anne@example.org", "pencil"),
        ("anne", "paper"),
        ("Bob", "pencil"),
        ("", ""),
    ) == [Accept(), Deny(), Deny(), Accept(), Deny(), None, None, None]


@pytest.mark.parametrize(
    "scheme", ["argon2id", "scrypt", "sha512-crypt", "scram-sha-256", "scram-sha-1", "plain"]
)
def test_a_password_is_checked_against_whatever_is_kept(scheme: str) -> None:
    plugin = auth_file(f"bob:{HashedPassword.make('pencil', scheme)}")
    assert verdicts(plugin, ("bob", "pencil"), ("bob", "paper"), ("anne", "pencil")) == [
        Accept(), Deny(), None,
    ]  # fmt: skip


def test_of_several_lines_a_password_is_checked_against_the_hash() -> None:
    lines = [
        "bob:{PLAIN}plain",
        f"bob:{HashedPassword.make('scram', 'scram-sha-1')}",
        f"bob:{cheap('hash')}",
    ]
    words = [("bob", "plain"), ("bob", "scram"), ("bob", "hash")]
    assert verdicts(auth_file(*lines), *words) == [Deny(), Deny(), Accept()]
    assert verdicts(auth_file(*lines[:2]), *words) == [Deny(), Accept(), Deny()]
    assert verdicts(auth_file(*lines[:1]), *words) == [Accept(), Deny(), Deny()]


@pytest.mark.parametrize(
    "credentials",
    [
        Proven("bob", "SCRAM-SHA-256"),
        Token("bob", "pencil"),
        External("bob", Certificate("CN=bob", (), "00", b"")),
    ],
)
def test_it_has_an_opinion_on_passwords_alone(credentials: Credentials) -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}")
    assert asyncio.run(plugin.auth(a_session(), credentials)) is None


def test_a_file_without_users_knows_nobody() -> None:
    assert verdicts(auth_file(), ("bob", "pencil")) == [None]


def test_the_client_hears_the_same_of_a_wrong_password_and_an_unknown_user() -> None:
    def plain(user: str, password: str) -> str:
        return base64.b64encode(f"\0{user}\0{password}".encode()).decode()

    run(
        converse(
            [auth_file(f"bob:{cheap('pencil')}")],
            f"""
            S: 220 ...
            C: EHLO client.example
            S: 250-mx.example
            S: 250 ...
            C: AUTH PLAIN {plain("bob", "paper")}
            S: 535 5.7.8 Authentication failed
            C: AUTH PLAIN {plain("anne", "pencil")}
            S: 535 5.7.8 Authentication failed
            C: AUTH PLAIN {plain("bob", "pencil")}
            S: 235 2.7.0 Authentication succeeded
            """,
            tls=True,
        )
    )


# -- What is offered, and supplied -----------------------------------------------------------------

SCRAM_256 = f"bob:{HashedPassword.make('pencil', 'scram-sha-256')}"
SCRAM_1 = f"bob:{HashedPassword.make('pencil', 'scram-sha-1')}"


@pytest.mark.parametrize(
    ("lines", "offered"),
    [
        ([], ()),
        ([f"bob:{cheap('pencil')}"], ()),
        ([SCRAM_256], ("SCRAM-SHA-256",)),
        ([f"anne:{cheap('pencil')}", SCRAM_1], ("SCRAM-SHA-1",)),
        ([SCRAM_1, SCRAM_256], ("SCRAM-SHA-256", "SCRAM-SHA-1")),
        (["bob:{PLAIN}pencil"], ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5")),
    ],
)
def test_a_mechanism_is_offered_if_somebody_has_what_it_needs(
    lines: list[str], offered: tuple[str, ...]
) -> None:
    assert mechanisms(auth_file(*lines)) == (*offered, "PLAIN", "LOGIN")
    assert mechanisms(auth_file(*lines), ("X",)) == ("X", *offered, "PLAIN", "LOGIN")


@pytest.mark.parametrize(
    ("scheme", "mechanism", "kind"),
    [
        ("scram-sha-256", "SCRAM-SHA-256", ScramKeys),
        ("scram-sha-256", "SCRAM-SHA-1", None),
        ("scram-sha-256", "CRAM-MD5", None),
        ("scram-sha-1", "SCRAM-SHA-1", ScramKeys),
        ("scram-sha-1", "SCRAM-SHA-256", None),
        ("plain", "SCRAM-SHA-256", PlainSecret),
        ("plain", "SCRAM-SHA-1", PlainSecret),
        ("plain", "CRAM-MD5", PlainSecret),
        ("plain", "DIGEST-MD5", None),
        ("argon2id", "SCRAM-SHA-256", None),
        ("argon2id", "CRAM-MD5", None),
    ],
)
def test_what_a_proof_is_checked_against(scheme: str, mechanism: str, kind: type | None) -> None:
    plugin = auth_file(f"bob:{HashedPassword.make('pencil', scheme)}")
    given = secret(plugin, "bob", mechanism)
    assert given is None if kind is None else isinstance(given, kind)
    if isinstance(given, ScramKeys):
        assert given == ScramKeys.derive(
            "pencil", digest=given.digest, salt=given.salt, iterations=given.iterations
        )
    assert secret(plugin, "anne", mechanism) is None


def test_keys_are_better_than_the_secret_itself() -> None:
    plugin = auth_file("bob:{PLAIN}pencil", SCRAM_256)
    assert isinstance(secret(plugin, "bob", "SCRAM-SHA-256"), ScramKeys)
    assert secret(plugin, "bob", "SCRAM-SHA-1") == PlainSecret("pencil")


# -- What a check costs ----------------------------------------------------------------------------


def test_a_right_password_is_not_checked_again_at_once() -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}")

    async def ask() -> None:
        assert await verdict_on(plugin, "bob", "pencil") == Accept()
        plugin.shutdown(SITE)  # there is no thread any more that could check anything
        assert await verdict_on(plugin, "bob", "pencil") == Accept()
        for user, password in (("bob", "paper"), ("anne", "pencil")):
            with pytest.raises(RuntimeError):
                await verdict_on(plugin, user, password)

    asyncio.run(ask())


def test_with_nothing_remembered_each_is_checked() -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}", remember=0)

    async def ask() -> None:
        assert await verdict_on(plugin, "bob", "pencil") == Accept()
        plugin.shutdown(SITE)
        with pytest.raises(RuntimeError):
            await verdict_on(plugin, "bob", "pencil")

    asyncio.run(ask())


def test_wrong_ones_are_not_remembered() -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}")
    attempts = [("bob", "paper"), ("anne", "pencil")] * 2
    assert verdicts(plugin, *attempts) == [Deny(), None, Deny(), None]


def test_an_unknown_user_costs_as_much_as_most_in_the_file() -> None:
    lines = [
        f"anne:{cheap('pencil', passes=3)}",
        f"bob:{cheap('pencil', passes=2)}",
        f"carol:{cheap('paper', passes=2)}",
        "dora:{PLAIN}pencil",
        f"dora:{cheap('pencil', passes=2)}",
        "eve:{PLAIN}pencil",
        "fay:{PLAIN}paper",
    ]
    decoy = auth_file(*lines)._users.latest.decoy
    assert decoy is not None
    assert (decoy.scheme, decoy.effort) == ("argon2id", "m=8,t=2,p=1")


def test_when_too_many_wait_the_others_are_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}", threads=1)

    async def ask() -> list[Verdict | None]:
        attempts = (verdict_on(plugin, "bob", "paper") for _ in range(110))
        return await asyncio.gather(*attempts)

    answers = asyncio.run(ask())
    assert (answers.count(Deny()), answers.count(Defer())) == (101, 9)
    assert "paper" not in caplog.text
    assert verdicts(plugin, ("bob", "pencil")) == [Accept()]


def test_an_overlong_password_is_wrong() -> None:
    plugin = auth_file(f"bob:{cheap('pencil')}")
    password = "x" * 2000
    assert verdicts(plugin, ("bob", password), ("anne", password)) == [Deny(), None]


# -- When the file changes -------------------------------------------------------------------------


def test_a_new_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "users"
    write(path, f"# who is here\nbob:{cheap('pencil')}  # since June\n")
    plugin = followed(path)
    assert verdicts(plugin, ("bob", "pencil")) == [Accept()]
    write(path, f"bob:{cheap('paper')}\n{SCRAM_256.replace('bob', 'anne')}\n")
    assert verdicts(plugin, ("bob", "pencil")) == [Deny()]  # and is not remembered, either
    assert verdicts(plugin, ("bob", "paper"), ("anne", "pencil")) == [Accept(), Accept()]
    write(path, f"bob:{cheap('paper')}\n{SCRAM_1}\n")
    assert mechanisms(plugin) == ("SCRAM-SHA-1", "PLAIN", "LOGIN")
    write(path, "bob:{PLAIN}pencil\n")
    assert secret(plugin, "bob", "CRAM-MD5") == PlainSecret("pencil")


def test_a_bad_one_changes_nothing_and_the_log_tells_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users"
    write(path, f"bob:{cheap('pencil')}\n")
    plugin = followed(path)
    write(path, "\nanne:{PLAIN}sesame\n# a comment\nbob:{SHA}sesame\nsesame\n")
    with caplog.at_level(logging.WARNING):
        assert verdicts(plugin, ("bob", "pencil"), ("anne", "sesame")) == [Accept(), None]
    assert [record.getMessage().partition("stays in force: ")[2] for record in caplog.records] == [
        "option 'users': entry 2: bob: it is no hash that is known here; "
        "entry 3: there is no colon between a name and a hash"
    ]
    assert "sesame" not in caplog.text


def test_the_event_loop_does_not_read_passwords(tmp_path: Path) -> None:
    path = tmp_path / "users"
    write(path, f"bob:{cheap('pencil')}\n")
    seconds, elsewhere, here = count(0, 10), set[bool](), threading.current_thread()

    def clock() -> float:
        elsewhere.add(threading.current_thread() is not here)
        return next(seconds)

    plugin = followed(path, clock)
    assert verdicts(plugin, ("bob", "pencil")) == [Accept()]
    assert elsewhere == {False}
    write(path, f"bob:{cheap('paper')}\n")
    assert verdicts(plugin, ("bob", "paper")) == [Accept()]
    assert elsewhere == {False, True}


# -- What is wrong with it -------------------------------------------------------------------------


def loaded(tmp_path: Path, **options: Any) -> list[str]:
    """The complaints about a table."""
    outcome = load({"use": "auth_file", **options}, directory=tmp_path, directories=[])
    return [one.text for one in outcome] if isinstance(outcome, list) else []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("sesame", "there is no colon between a name and a hash"),
        ("bob:sesame", "bob: it is no hash that is known here"),
        ("bob:", "bob: it is no hash that is known here"),
        ("bob:{SSHA}sesame", "bob: it is no hash that is known here"),
        ("bob:{PLAIN}", "bob: the secret is empty"),
        ("bob:SCRAM-SHA-256$4096:sesame", "bob: it is no hash that is known here"),
        (":{PLAIN}sesame", "the name is empty"),
        ("b ob:{PLAIN}sesame", "a name holds no colon and no blank, and does not begin with '#'"),
        ("#bob:{PLAIN}sesame", "a name holds no colon and no blank, and does not begin with '#'"),
        ("b\1b:{PLAIN}sesame", "it holds a character that is prohibited"),
        (f"{'b' * 256}:{{PLAIN}}sesame", "the name is longer than 255 octets"),
        (
            "bob:{PLAIN}sesame:1000:1000::/home/bob::nologin",
            "bob: extra fields of Dovecot are not known here",
        ),
    ],
)
def test_a_bad_line_is_told_at_load(line: str, complaint: str, tmp_path: Path) -> None:
    (complained,) = loaded(tmp_path, users=["anne:{PLAIN}pencil", line])
    assert complained == f"auth_file: option 'users': entry 2: {complaint}"
    assert "sesame" not in complained


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"remember": -1}, "option 'remember' must be 0 or more"),
        ({"threads": -1}, "option 'threads' must be 0 or more"),
        (
            {"users": ["bob:{PLAIN}a", "anne:{PLAIN}a", "bob:{PLAIN}b", SCRAM_1, SCRAM_1]},
            "option 'users': two of one kind for one user: 'bob' (plain), 'bob' (scram-sha-1)",
        ),
    ],
)
def test_a_bad_option_is_told_at_load(
    options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    assert loaded(tmp_path, **({"users": []} | options)) == [f"auth_file: {complaint}"]


def test_what_is_not_installed_is_told_at_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"bob:{cheap('pencil')}"
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert loaded(tmp_path, users=[line]) == [
        "auth_file: option 'users': entry 1: bob: it needs the package argon2: "
        "pip install 'gatepost[auth]'"
    ]


def test_a_passwd_file_of_dovecot(tmp_path: Path) -> None:
    bcrypt = HashedPassword.make("pencil", "bcrypt")
    (tmp_path / "users").write_text(
        f"bob:{{BLF-CRYPT}}{bcrypt}:1000:1000::/home/bob:/bin/false:\n"
        f"anne:{{ARGON2ID}}{cheap('pencil')}::::::\n"
        "carol:{PLAIN}pencil\n"
    )
    outcome = load({"use": "auth_file", "users": "users"}, directory=tmp_path, directories=[])
    assert isinstance(outcome, Loaded)
    assert isinstance(outcome.plugin, AuthFile)
    names = ("bob", "anne", "carol")
    assert verdicts(outcome.plugin, *((name, "pencil") for name in names)) == [Accept()] * 3


def test_nothing_secret_is_shown() -> None:
    plugin = auth_file("bob:{PLAIN}sesame", remember=5)
    assert "sesame" not in repr(plugin)
    assert "sesame" not in repr(plugin._users.latest)


def test_names_are_kept_in_the_form_of_saslprep() -> None:
    assert user_name("I\u00adX\u2168") == "IXIX"  # RFC 4013, 3
    plugin = auth_file("I\u00adX:{PLAIN}pencil")
    assert verdicts(plugin, ("IX", "pencil")) == [Accept()]
