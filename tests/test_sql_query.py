"""Queries of the configuration: their parameters, SQLite's files, and what cannot be asked."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.sql_query import QueryFailed, Row, SqlQuery, _Sqlite, _translated

PARAMETERS = ("user", "domain")
ENDLESS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def sqlite(path: Path, text: str, **options: Any) -> SqlQuery:
    return SqlQuery(
        "sqlite:///" + path.name, text, parameters=PARAMETERS, directory=path.parent, **options
    )


def asked(query: SqlQuery, *, most: int = 2, **values: str) -> list[Row]:
    async def ask() -> list[Row]:
        try:
            return await query.rows(values, most=most)
        finally:
            await query.close()

    return asyncio.run(ask())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of two users."""
    path = tmp_path / "mail #1?.db"  # characters that mean something in a URI
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name TEXT, domain TEXT, password BLOB)")
        rows = [("bob", "example.org", "pencil"), ("anne", "example.org", None)]
        connection.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
        connection.commit()
    return path


# -- Parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "translated", "names"),
    [
        ("SELECT :user", "SELECT $1", ("user",)),
        (
            "x=:user AND y = :domain OR :user=z",
            "x=$1 AND y = $2 OR $3=z",
            ("user", "domain", "user"),
        ),
        (":user::text", "$1::text", ("user",)),
        ("now()::date - :user", "now()::date - $1", ("user",)),
        ("':user' || :user", "':user' || $1", ("user",)),
        ("'it''s :user' || :user", "'it''s :user' || $1", ("user",)),
        (r"'\' || :user", r"'\' || $1", ("user",)),
        (r"E'\':user' || :user", r"E'\':user' || $1", ("user",)),
        ('":user" = :user', '":user" = $1', ("user",)),
        ("$$ :user $$ || :user", "$$ :user $$ || $1", ("user",)),
        ("$a$ $$ :user $a$ || :user", "$a$ $$ :user $a$ || $1", ("user",)),
        ("-- :user\n:user", "-- :user\n$1", ("user",)),
        ("/* :user\n */ :user", "/* :user\n */ $1", ("user",)),
        ("a[1:2]", "a[1:2]", ()),
        ("SELECT 1", "SELECT 1", ()),
    ],
)
def test_parameters_are_found_where_they_are_some(
    text: str, translated: str, names: tuple[str, ...]
) -> None:
    assert _translated(text, "${}") == (translated, names)
    marks = translated
    for number in range(len(names), 0, -1):
        marks = marks.replace(f"${number}", "?")
    assert _translated(text, "?") == (marks, names)


@given(st.text("':\"$-/*eE\\ user\n", max_size=40))
def test_whatever_the_text_is_it_is_translated_at_once(text: str) -> None:
    translated, names = _translated(text, "?")
    assert len(translated) == len(text) - sum(map(len, names))


def test_a_value_is_never_part_of_the_text(path: Path) -> None:
    text = "SELECT password FROM users WHERE name = :user"
    for name in "' OR '1'='1", "bob' --", "bob'; DROP TABLE users; --", "bob\0", "%", ":user", "?":
        assert asked(sqlite(path, text), user=name) == []
    assert asked(sqlite(path, text), user="bob") == [("pencil",)]
    assert asked(sqlite(path, "SELECT :user"), user="' OR 1 --") == [("' OR 1 --",)]


def test_a_parameter_may_stand_in_several_places(path: Path) -> None:
    text = "SELECT name FROM users WHERE :domain = domain AND (name = :user OR :user = 'x')"
    assert asked(sqlite(path, text), user="x", domain="example.org") == [("bob",), ("anne",)]
    assert sqlite(path, text).names == {"user", "domain"}


# -- SQLite ---------------------------------------------------------------------------------------


def test_no_more_rows_are_fetched_than_are_wanted(path: Path) -> None:
    text = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    assert asked(sqlite(path, text), most=3) == [(1,), (2,), (3,)]


def test_a_file_is_where_the_url_says(path: Path, tmp_path: Path) -> None:
    for url in "sqlite:///mail #1?.db", f"sqlite:///{path}":
        query = SqlQuery(url, "SELECT count(*) FROM users", parameters=(), directory=tmp_path)
        assert asked(query) == [(2,)]


def test_another_file_can_be_put_in_its_place(path: Path) -> None:
    query = sqlite(path, "SELECT name FROM users WHERE name = :user")
    assert asyncio.run(query.rows({"user": "bob"})) == [("bob",)]
    path.unlink()
    with pytest.raises(QueryFailed, match="unable to open database file"):
        asyncio.run(query.rows({"user": "bob"}))
    assert not path.exists()  # to open a file is not to make one
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users AS SELECT 'carol' AS name")
    assert asked(query, user="carol") == [("carol",)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT nonsense FROM users", "no such column: nonsense"),
        ("SELECT", "incomplete input"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("DELETE FROM users", "readonly database"),
        ("SELECT ?", "bindings"),
        ("SELECT CAST(x'ff' AS TEXT)", "Could not decode to UTF-8"),
    ],
)
def test_what_sqlite_says_is_told(path: Path, text: str, complaint: str) -> None:
    with pytest.raises(QueryFailed, match=complaint):
        asked(sqlite(path, text))
    assert asked(sqlite(path, "SELECT count(*) FROM users")) == [(2,)]


def test_what_is_no_database_is_told(path: Path) -> None:
    path.write_text("no database, but long enough to be taken for one" * 100)
    with pytest.raises(QueryFailed, match="file is not a database"):
        asked(sqlite(path, "SELECT count(*) FROM users"))


def test_a_query_without_end_is_ended(path: Path) -> None:
    began = time.monotonic()
    query = sqlite(path, ENDLESS, wait=0.2, at_once=1)

    async def scenario() -> None:
        for _ in range(2):  # the second needs the thread of the first
            with pytest.raises(QueryFailed, match=r"TimeoutError|interrupted"):
                await query.rows({})
        await query.close()

    asyncio.run(scenario())
    assert time.monotonic() - began < 10


def test_a_database_that_is_locked_is_waited_for(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(QueryFailed, match=r"TimeoutError|locked"):
            asked(sqlite(path, "SELECT count(*) FROM users", wait=0.2))


def test_when_too_many_wait_the_others_fail(path: Path) -> None:
    async def scenario() -> None:
        query = sqlite(path, ENDLESS, wait=0.2, at_once=1)
        asking = (query.rows({}) for _ in range(102))
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(outcome, QueryFailed) for outcome in outcomes)
        assert sum("PoolBusy" in str(outcome) for outcome in outcomes) == 1
        await query.close()

    asyncio.run(scenario())


def test_a_thread_that_is_stuck_is_not_waited_for(path: Path) -> None:
    async def scenario() -> None:
        query = sqlite(path, "SELECT count(*) FROM users", wait=0.2, at_once=1)
        assert isinstance(query._database, _Sqlite)
        go_on = threading.Event()
        stuck = asyncio.create_task(query._database._pool.run(go_on.wait, 60.0))
        await asyncio.sleep(0)  # it begins
        with pytest.raises(QueryFailed, match="TimeoutError"):
            await query.rows({})
        assert not stuck.done()
        go_on.set()
        await stuck
        await query.close()

    asyncio.run(scenario())


# -- What can never be asked ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "mail.db", "sqlite://mail.db", "sqlite:///", "mysql://db.example/mail", "postgresql:mail"],
)
def test_other_databases_are_not_known(url: str) -> None:
    with pytest.raises(ValueError, match=r"option 'url' must begin with sqlite:/// or postgres"):
        SqlQuery(url, "SELECT 1", parameters=(), directory=Path())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bob:se/cret@db.example/mail",
        "postgresql://bob:5/cret@db.example/mail",
        "postgresql://bob:se@cret/x@db.example/mail",
        "postgresql://db.example:port/mail",
        "postgresql://[::1/mail",
        "postgresql://a,b:x/mail",
        "postgresql://db example/mail",
    ],
)
def test_a_url_of_postgresql_must_be_plain(url: str) -> None:
    with pytest.raises(ValueError, match="option 'url' is malformed; in a password") as raised:
        SqlQuery(url, "SELECT 1", parameters=(), directory=Path())
    assert "cret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example/mail",
        "postgres://bob:s%2Fcr%40t@db.example:5433/mail?sslmode=verify-full",
        "postgresql://[2001:db8::1]:5432/mail",
        "postgresql://a.example,b.example:5433/mail",
        "postgresql:///mail?host=/run/postgresql",
        "postgresql://%2Frun%2Fpostgresql/mail",
    ],
)
def test_urls_of_postgresql(url: str) -> None:
    SqlQuery(url, "SELECT 1", parameters=(), directory=Path())


@pytest.mark.parametrize("url", ["sqlite:///mail.db", "postgresql://db.example/mail"])
def test_a_parameter_that_nobody_gives_is_told(url: str) -> None:
    with pytest.raises(ValueError, match=r"'query' has a parameter :usr; there are :user, :domain"):
        SqlQuery(url, "SELECT :usr", parameters=PARAMETERS, directory=Path())


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ValueError, match=r"needs asyncpg: pip install 'gatepost\[postgres\]'"):
        SqlQuery("postgresql://db.example/mail", "SELECT 1", parameters=(), directory=Path())
    SqlQuery("sqlite:///mail.db", "SELECT 1", parameters=(), directory=Path())
