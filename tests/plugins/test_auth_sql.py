"""The plugin auth_sql on SQLite: whom it lets in, as whom, by what, and what that costs."""

from __future__ import annotations

import asyncio
import base64
import re
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
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
    External,
    HashedPassword,
    Password,
    PlainSecret,
    Proven,
    ScramKeys,
    Site,
    Token,
    Verdict,
)
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth.auth_sql import AuthSql
from gatepost.testing import a_session, converse, run

QUERY = "SELECT password, name FROM users WHERE lower(name) = lower(:user)"


def cheap(password: str, *, passes: int = 1) -> str:
    """A hash that costs next to nothing."""
    return PasswordHasher(time_cost=passes, memory_cost=8, parallelism=1).hash(password)


def put(directory: Path, *rows: tuple[str | None, object]) -> None:
    """Let the database be of these names and passwords."""
    with closing(sqlite3.connect(directory / "mail.db")) as connection:
        connection.execute("DROP TABLE IF EXISTS users")
        connection.execute("CREATE TABLE users (name TEXT, password)")
        connection.executemany("INSERT INTO users VALUES (?, ?)", rows)
        connection.commit()


def auth_sql(directory: Path, query: str = QUERY, **options: Any) -> AuthSql:
    plugin = AuthSql("sqlite:///mail.db", query, **options)
    plugin.startup(Site("mx.example", directory))
    return plugin


def asked(plugin: AuthSql, *shown: tuple[str, str]) -> list[tuple[Verdict | None, str]]:
    """What becomes of names and passwords, one after the other, and by what names."""

    async def ask() -> list[tuple[Verdict | None, str]]:
        credentials = [Password(user, password) for user, password in shown]
        try:
            return [(await plugin.auth(a_session(), one), one.user) for one in credentials]
        finally:
            await plugin.shutdown(Site("mx.example"))

    return asyncio.run(ask())


def verdicts(plugin: AuthSql, *shown: tuple[str, str]) -> list[Verdict | None]:
    return [verdict for verdict, _ in asked(plugin, *shown)]


# -- Who is let in --------------------------------------------------------------------------------


def test_a_password_is_right_or_wrong_or_nobodys(tmp_path: Path) -> None:
    put(tmp_path, ("bob", cheap("pencil")), ("anne@example.org", cheap("paper")))
    shown = {
        ("bob", "pencil"): Accept(),
        ("bob", "paper"): Deny(),
        ("bob", ""): Deny(),
        ("bob", "pencil\0"): Deny(),
        ("anne@example.org", "paper"): Accept(),
        ("anne", "paper"): None,
        ("", ""): None,
        ("' OR '1'='1", "pencil"): None,
        ("bob' --", "pencil"): None,
        ("%", "pencil"): None,
    }
    assert verdicts(auth_sql(tmp_path), *shown) == list(shown.values())


@pytest.mark.parametrize(
    "scheme", ["argon2id", "scrypt", "bcrypt", "sha512-crypt", "scram-sha-256", "plain"]
)
def test_a_password_is_checked_against_whatever_is_kept(scheme: str, tmp_path: Path) -> None:
    kept = HashedPassword.make("pencil", scheme)
    for value in kept, kept.encode():
        put(tmp_path, ("bob", value))
        shown = ("bob", "pencil"), ("bob", "paper"), ("anne", "pencil")
        assert verdicts(auth_sql(tmp_path), *shown) == [Accept(), Deny(), None]


def test_null_is_no_password(tmp_path: Path) -> None:
    put(tmp_path, ("bob", None))
    assert verdicts(auth_sql(tmp_path), ("bob", ""), ("bob", "None")) == [None, None]


def test_parts_of_the_name_may_be_asked_for(tmp_path: Path) -> None:
    put(tmp_path, ("bob", cheap("pencil")))
    query = "SELECT password FROM users WHERE name = :local AND :domain IN ('example.org', '')"
    shown = ("bob@example.org", "pencil"), ("bob@elsewhere.example", "pencil"), ("bob", "pencil")
    assert asked(auth_sql(tmp_path, query), *shown) == [
        (Accept(), "bob@example.org"),
        (None, "bob@elsewhere.example"),
        (Accept(), "bob"),
    ]


def test_the_second_column_is_the_name(tmp_path: Path) -> None:
    put(tmp_path, ("Bob", cheap("pencil")))
    shown = ("BOB", "pencil"), ("BOB", "pencil"), ("BOB", "paper")
    assert asked(auth_sql(tmp_path), *shown) == [
        (Accept(), "Bob"),
        (Accept(), "Bob"),
        (Deny(), "BOB"),
    ]
    for column in "NULL", "''":
        query = QUERY.replace("password, name", f"password, {column}")
        assert asked(auth_sql(tmp_path, query), ("BOB", "pencil")) == [(Accept(), "BOB")]


@pytest.mark.parametrize(
    "credentials",
    [Token("bob", "pencil"), External("bob", Certificate("CN=bob", (), "00", b""))],
)
def test_it_has_no_opinion_on_tokens_and_certificates(
    credentials: Credentials, tmp_path: Path
) -> None:
    plugin = auth_sql(tmp_path)  # there is not even a database
    assert asyncio.run(plugin.auth(a_session(), credentials)) is None


# -- What is broken -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "query", "told"),
    [
        ([("bob", "{PLAIN}a"), ("BOB", "{PLAIN}a")], QUERY, "finds several rows for 'bob'"),
        ([("bob", "sesame")], QUERY, "what is kept for 'bob': it is no hash that is known here"),
        ([("bob", "")], QUERY, "what is kept for 'bob': it is no hash that is known here"),
        ([("bob", 12345)], QUERY, "a column is of the type int and no text"),
        ([("bob", b"\xff")], QUERY, "what is kept for 'bob': it is no hash that is known here"),
        ([], "SELECT nonsense FROM users WHERE name = :user", "no such column: nonsense"),
        ([("bob", "{PLAIN}sesame")], "DELETE FROM users WHERE name = :user", "readonly database"),
    ],
)
def test_what_is_broken_defers(
    rows: Sequence[tuple[str, object]],
    query: str,
    told: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(tmp_path, *rows)
    assert verdicts(auth_sql(tmp_path, query), ("bob", "sesame")) == [Defer()]
    assert told in caplog.text
    assert "sesame" not in caplog.text


def test_without_a_database_it_defers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugin = auth_sql(tmp_path)
    assert verdicts(plugin, ("bob", "sesame")) == [Defer()]
    assert f"{tmp_path}/mail.db" in caplog.text


# -- What is offered, and supplied ----------------------------------------------------------------


def test_what_is_offered_is_what_the_option_says(tmp_path: Path) -> None:
    assert auth_sql(tmp_path).mechanisms(a_session(), ("X",)) == ("X", "PLAIN", "LOGIN")
    plugin = auth_sql(tmp_path, offer=("SCRAM-SHA-256",))
    assert plugin.mechanisms(a_session(), ()) == ("SCRAM-SHA-256",)


KEPT = {
    "a hash": cheap("pencil"),
    "keys for 256": HashedPassword.make("pencil", "scram-sha-256"),
    "keys for 1": HashedPassword.make("pencil", "scram-sha-1"),
    "the secret": "{PLAIN}pencil",
    "nothing": None,
}


@pytest.mark.parametrize(
    ("kept", "mechanism", "kind"),
    [
        ("keys for 256", "SCRAM-SHA-256", ScramKeys),
        ("keys for 256", "SCRAM-SHA-1", None),
        ("keys for 256", "CRAM-MD5", None),
        ("keys for 1", "SCRAM-SHA-1", ScramKeys),
        ("keys for 1", "SCRAM-SHA-256", None),
        ("the secret", "SCRAM-SHA-256", PlainSecret),
        ("the secret", "SCRAM-SHA-1", PlainSecret),
        ("the secret", "CRAM-MD5", PlainSecret),
        ("a hash", "SCRAM-SHA-256", None),
        ("nothing", "SCRAM-SHA-256", None),
    ],
)
def test_what_a_proof_is_checked_against(
    kept: str, mechanism: str, kind: type | None, tmp_path: Path
) -> None:
    put(tmp_path, ("bob", KEPT[kept]))
    plugin = auth_sql(tmp_path)
    given = asyncio.run(plugin.secret(a_session(), "bob", mechanism))
    assert given is None if kind is None else isinstance(given, kind)
    assert asyncio.run(plugin.secret(a_session(), "anne", mechanism)) is None


def proven(plugin: AuthSql, asked_for: tuple[str, str], proof: Proven) -> tuple[Any, str]:
    """What is said of a proof after a secret was asked for, and the name of the user then."""

    async def scenario() -> tuple[Any, str]:
        session = a_session()
        await plugin.secret(session, *asked_for)
        verdict = await plugin.auth(session, proof)
        return verdict, proof.user

    return asyncio.run(scenario())


def test_who_has_proved_our_secret_has_our_name(tmp_path: Path) -> None:
    put(tmp_path, ("Bob", "{PLAIN}pencil"))
    scram = ("bob", "SCRAM-SHA-256")
    for name in "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS":
        assert proven(auth_sql(tmp_path), scram, Proven("bob", name)) == (None, "Bob")


@pytest.mark.parametrize(
    ("asked_for", "proof"),
    [
        (("anne", "SCRAM-SHA-256"), Proven("anne", "SCRAM-SHA-256")),
        (("bob", "SCRAM-SHA-256"), Proven("anne", "SCRAM-SHA-256")),
        (("bob", "CRAM-MD5"), Proven("bob", "SCRAM-SHA-256")),
    ],
)
def test_who_has_proved_another_secret_has_another_name(
    asked_for: tuple[str, str], proof: Proven, tmp_path: Path
) -> None:
    put(tmp_path, ("Bob", "{PLAIN}pencil"))
    name = proof.user
    assert proven(auth_sql(tmp_path), asked_for, proof) == (None, name)


# -- What a check costs ---------------------------------------------------------------------------


def test_a_right_password_is_not_checked_again_until_it_changes(tmp_path: Path) -> None:
    put(tmp_path, ("bob", cheap("pencil")))
    plugin = auth_sql(tmp_path)
    assert asyncio.run(plugin.auth(a_session(), Password("bob", "pencil"))) == Accept()
    plugin._pool.close()  # there is no thread any more that could check anything
    assert asyncio.run(plugin.auth(a_session(), Password("bob", "pencil"))) == Accept()
    for user, password in ("bob", "paper"), ("anne", "pencil"):
        with pytest.raises(RuntimeError):
            asyncio.run(plugin.auth(a_session(), Password(user, password)))
    put(tmp_path, ("bob", cheap("pencil")))  # with another salt
    with pytest.raises(RuntimeError):
        asyncio.run(plugin.auth(a_session(), Password("bob", "pencil")))
    put(tmp_path)
    with pytest.raises(RuntimeError):
        asyncio.run(plugin.auth(a_session(), Password("bob", "pencil")))
    asyncio.run(plugin.shutdown(Site("mx.example")))


def test_a_password_is_not_right_any_more_when_it_has_changed(tmp_path: Path) -> None:
    put(tmp_path, ("bob", cheap("pencil")))
    plugin = auth_sql(tmp_path)
    assert asyncio.run(plugin.auth(a_session(), Password("bob", "pencil"))) == Accept()
    put(tmp_path, ("bob", cheap("paper")))
    assert verdicts(plugin, ("bob", "pencil"), ("bob", "paper")) == [Deny(), Accept()]


def test_an_unknown_user_costs_as_much_as_most_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify, make = HashedPassword.verify, HashedPassword.make

    def noted_verify(self: HashedPassword, password: str) -> bool:
        checked.append(self.effort)
        return verify(self, password)

    def noted_make(password: str) -> str:
        checked.append("a new one")
        return make(password)

    monkeypatch.setattr(HashedPassword, "verify", noted_verify)
    monkeypatch.setattr(HashedPassword, "make", staticmethod(noted_make))
    passwords = {"anne": 3, "bob": 2, "carol": 2, "dora": 1}
    put(tmp_path, *((user, cheap("pencil", passes=passes)) for user, passes in passwords.items()))
    verdicts(auth_sql(tmp_path), ("x", "pencil"), *((user, "x") for user in passwords), ("x", "x"))
    assert checked == ["a new one", *(f"m=8,t={passes},p=1" for passes in (3, 2, 2, 1, 2))]


def test_when_too_many_wait_the_others_are_to_come_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, ("bob", cheap("pencil")))
    plugin = auth_sql(tmp_path, threads=1, at_once=20)

    async def ask() -> list[Verdict | None]:
        go_on = threading.Event()
        asking = [asyncio.create_task(plugin._pool.run(go_on.wait, 60.0))]  # in the only thread
        shown = (Password("bob", "sesame") for _ in range(110))
        answers = [asyncio.create_task(plugin.auth(a_session(), one)) for one in shown]
        for early in islice(asyncio.as_completed(answers), 10):
            assert await early == Defer()
        go_on.set()
        await asyncio.gather(*asking)
        verdicts = await asyncio.gather(*answers)
        await plugin.shutdown(Site("mx.example"))
        return verdicts

    verdicts = asyncio.run(ask())
    assert (verdicts.count(Deny()), verdicts.count(Defer())) == (100, 10)
    assert "sesame" not in caplog.text


# -- On the wire ----------------------------------------------------------------------------------


def plain(user: str, password: str) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def test_the_client_hears_the_same_of_a_wrong_password_and_an_unknown_user(tmp_path: Path) -> None:
    put(tmp_path, ("Bob", cheap("pencil")))
    session = run(
        converse(
            [AuthSql("sqlite:///mail.db", QUERY)],
            f"""
            S: 220 ...
            C: EHLO client.example
            S: 250 ... AUTH PLAIN LOGIN
            C: AUTH PLAIN {plain("bob", "paper")}
            S: 535 5.7.8 Authentication failed
            C: AUTH PLAIN {plain("anne", "pencil")}
            S: 535 5.7.8 Authentication failed
            C: AUTH PLAIN {plain("bob", "pencil")}
            S: 235 2.7.0 Authentication succeeded
            """,
            tls=True,
            directory=tmp_path,
        )
    )
    assert session.user == "Bob"


def test_a_broken_database_is_told_for_now(tmp_path: Path) -> None:
    run(
        converse(
            [AuthSql("sqlite:///mail.db", QUERY, offer=("PLAIN", "CRAM-MD5"))],
            f"""
            S: 220 ...
            C: EHLO client.example
            S: 250 ... AUTH CRAM-MD5 PLAIN
            C: AUTH PLAIN {plain("bob", "pencil")}
            S: 454 4.7.0 ...
            C: AUTH CRAM-MD5
            S: 334 ...
            C: {base64.b64encode(b"bob " + b"0" * 32).decode()}
            S: 454 4.7.0 ...
            """,
            tls=True,
            directory=tmp_path,
        )
    )


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "mail.db"}, "option 'url' must begin with sqlite:/// or postgresql://"),
        ({"query": "SELECT 1"}, "option 'query' must have :user or :local in it"),
        ({"query": "SELECT :domain"}, "option 'query' must have :user or :local in it"),
        ({"query": "SELECT ':user'"}, "option 'query' must have :user or :local in it"),
        ({"query": "SELECT :name"}, "option 'query' has a parameter :name; there are :user, .*"),
        ({"remember": -1}, "option 'remember' must be 0 or more"),
        ({"threads": -1}, "option 'threads' must be 0 or more"),
        ({"wait": 0}, "options 'wait' and 'at_once' must be more than 0"),
        ({"at_once": 0}, "options 'wait' and 'at_once' must be more than 0"),
        ({"offer": ["GSSAPI"]}, "option 'offer': item 1 must be .*"),
        ({"offer": []}, "option 'offer' must name at least one mechanism"),
    ],
)
def test_what_is_wrong_is_said_at_load(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    table = {"use": "auth_sql", "url": "sqlite:///mail.db", "query": QUERY, **options}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    (complaint,) = outcome
    assert re.fullmatch(f"auth_sql: {told}", complaint.text), complaint.text


def test_the_password_of_the_database_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql://gatepost:sesame@db.example/mail"
    table = {"use": "auth_sql", "url": url, "query": QUERY}
    loaded = load(table, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    assert "sesame" not in repr(loaded.plugin)
