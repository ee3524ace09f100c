"""Users in a real PostgreSQL: who is let in, and what becomes of servers that do not answer."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it comes without types
import pytest
from argon2 import PasswordHasher

from gatepost import Accept, Defer, Deny, HashedPassword, Password, PlainSecret, Site, Verdict
from gatepost.plugins.auth.auth_sql import AuthSql
from gatepost.testing import a_session

T = TypeVar("T")

#: A server on which we may make a schema of our own.
SERVER = os.environ.get("GATEPOST_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
#: Seconds for anything that the server is to do at once.
PATIENCE = 15.0


@dataclass(frozen=True)
class Database:
    """A schema of our own, with a table of users."""

    schema: str

    @property
    def query(self) -> str:
        return f"SELECT password, name FROM {self.schema}.users WHERE lower(name) = lower(:user)"

    def plugin(self, query: str = "", url: str = SERVER, **options: Any) -> AuthSql:
        return AuthSql(url, query.replace("users", f"{self.schema}.users") or self.query, **options)


async def execute(*statements: str) -> None:
    connection = await asyncpg.connect(SERVER, timeout=PATIENCE)
    try:
        for statement in statements:
            await connection.execute(statement, timeout=PATIENCE)
    finally:
        await connection.close()


async def fetched(query: str) -> Any:
    connection = await asyncpg.connect(SERVER, timeout=PATIENCE)
    try:
        return await connection.fetchval(query, timeout=PATIENCE)
    finally:
        await connection.close()


def cheap(password: str) -> str:
    """A hash that costs next to nothing."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    schema = f"gatepost_{secrets.token_hex(8)}"
    users = {
        "Bob": cheap("pencil"),
        "anne@example.org": HashedPassword.make("paper", "scram-sha-256"),
        "o'neil\\": cheap("pen"),
        "büch": "{PLAIN}bücher",
    }
    rows = [f"($q${name}$q$, $q${kept}$q$)" for name, kept in users.items()]
    try:
        asyncio.run(
            execute(
                f"CREATE SCHEMA {schema}",
                f"CREATE TABLE {schema}.users (name varchar(100), password text)",
                f"INSERT INTO {schema}.users VALUES {', '.join(rows)}, ('nobody', NULL)",
            )
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        pytest.skip(f"there is no PostgreSQL at {SERVER}: {error}")
    try:
        yield Database(schema)
    finally:
        asyncio.run(execute(f"DROP SCHEMA {schema} CASCADE"))


def used(plugin: AuthSql, use: Callable[[AuthSql], Awaitable[T]]) -> T:
    """What comes of a use of the plugin, between its start and its end."""

    async def scenario() -> T:
        site = Site("mx.example")
        plugin.startup(site)
        try:
            return await use(plugin)
        finally:
            await plugin.shutdown(site)

    return asyncio.run(scenario())


async def verdict_on(plugin: AuthSql, user: str, password: str) -> Verdict | None:
    return await plugin.auth(a_session(), Password(user, password))


def verdicts(plugin: AuthSql, *shown: tuple[str, str]) -> list[Verdict | None]:
    """What becomes of names and passwords, one after the other."""

    async def ask(plugin: AuthSql) -> list[Verdict | None]:
        return [await verdict_on(plugin, user, password) for user, password in shown]

    return used(plugin, ask)


# -- Who is let in --------------------------------------------------------------------------------


def test_a_password_is_right_or_wrong_or_nobodys(database: Database) -> None:
    shown = {
        ("bob", "pencil"): Accept(),
        ("bob", "paper"): Deny(),
        ("bob", ""): Deny(),
        ("anne@example.org", "paper"): Accept(),
        ("anne", "paper"): None,
        ("nobody", ""): None,
        ("büch", "bücher"): Accept(),
        ("o'neil\\", "pen"): Accept(),
        ("' OR '1'='1", "pencil"): None,
        ("bob' --", "pencil"): None,
        ("bob'; DROP SCHEMA public; --", "pencil"): None,
        ("$1", "pencil"): None,
        ("%", "pencil"): None,
        ("x" * 5000, "pencil"): None,
        ("bob\0", "pencil"): Defer(),  # which PostgreSQL cannot spell, and SASLprep prohibits
        ("BOB", "pencil"): Accept(),
    }
    assert verdicts(database.plugin(), *shown) == list(shown.values())


def test_the_second_column_is_the_name(database: Database) -> None:
    async def ask(plugin: AuthSql) -> list[str]:
        shown = [Password("bob", "pencil") for _ in range(2)]
        assert [await plugin.auth(a_session(), one) for one in shown] == [Accept()] * 2
        return [one.user for one in shown]

    assert used(database.plugin(), ask) == ["Bob", "Bob"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT password FROM users WHERE name = :user",
        "SELECT password FROM users WHERE name = :user OR lower(name) = :user -- :comment",
        "SELECT password::bytea FROM users WHERE name::text = :user::text AND ':x' <> $$:y$$",
        "SELECT password, NULL FROM users WHERE name = :local AND :domain = ''",
        "WITH found AS (SELECT * FROM users WHERE name = :user) SELECT password FROM found;",
    ],
)
def test_queries_of_all_sorts(database: Database, query: str) -> None:
    plugin = database.plugin(query)
    shown = ("Bob", "pencil"), ("Bob", "paper"), ("carol", "pencil")
    assert verdicts(plugin, *shown) == [Accept(), Deny(), None]


def test_a_secret_is_supplied(database: Database) -> None:
    async def ask(plugin: AuthSql) -> None:
        session = a_session()
        keys = HashedPassword.parse(
            await fetched(f"SELECT password FROM {database.schema}.users WHERE name ~ 'anne'")
        )
        assert await plugin.secret(session, "anne@example.org", "SCRAM-SHA-256") == keys.secret
        assert await plugin.secret(session, "büch", "CRAM-MD5") == PlainSecret("bücher")
        assert await plugin.secret(session, "carol", "SCRAM-SHA-256") is None

    used(database.plugin(), ask)


def test_many_ask_at_once(database: Database) -> None:
    async def ask(plugin: AuthSql) -> list[Verdict | None]:
        asking = (verdict_on(plugin, "bob", "pencil" if odd % 2 else "x") for odd in range(60))
        return await asyncio.gather(*asking)

    name = f"gatepost_{secrets.token_hex(4)}"
    url = f"{SERVER}?application_name={name}"

    async def scenario(plugin: AuthSql) -> None:
        assert await ask(plugin) == [Deny(), Accept()] * 30
        connections = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"
        assert 1 <= await fetched(connections) <= 3

    used(database.plugin(url=url, at_once=3, remember=0), scenario)


# -- What is broken -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT nonsense FROM users WHERE name = :user", 'column "nonsense" does not exist'),
        ("SELECT password FROM none WHERE name = :user", 'relation "none" does not exist'),
        ("SELECT FROM WHERE :user", "syntax error"),
        ("SELECT 12345 WHERE :user = 'bob'", "a column is of the type int and no text"),
        ("SELECT 'sesame' WHERE :user = 'bob'", "it is no hash that is known here"),
        ("SELECT password FROM users WHERE :user = 'bob'", "finds several rows for 'bob'"),
        ("SELECT generate_series(1, 1e15::bigint)::text WHERE :user = 'bob'", "several rows"),
        ("SELECT (1 / length(:user || '') * 0 / 0)::text", "division by zero"),
        ("SELECT password FROM users WHERE length(name) = :user", "invalid input for query"),
    ],
)
def test_what_is_broken_defers(
    database: Database, query: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert verdicts(database.plugin(query), ("bob", "sesame")) == [Defer()]
    assert told in caplog.text
    assert "sesame" not in caplog.text


def test_nothing_can_be_written(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(
        execute(
            f"CREATE FUNCTION {database.schema}.seen(text) RETURNS text LANGUAGE sql AS "
            f"$$ DELETE FROM {database.schema}.users WHERE name = $1 RETURNING password $$"
        )
    )
    for query in (
        "DELETE FROM users WHERE name = :user RETURNING password",
        f"SELECT {database.schema}.seen(:user)",
    ):
        assert verdicts(database.plugin(query), ("Bob", "pencil")) == [Defer()]
    assert caplog.text.count("read-only transaction") == 2
    assert verdicts(database.plugin(), ("bob", "pencil")) == [Accept()]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres@127.0.0.1:{port}/test",
        f"{SERVER.rpartition('/')[0]}/no_such_database",
        f"{SERVER}?sslmode=sometimes",
    ],
)
def test_without_a_server_it_defers(
    database: Database, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    plugin = database.plugin(url=url.format(port=port))
    assert verdicts(plugin, ("bob", "pencil"), ("bob", "pencil")) == [Defer(), Defer()]
    assert "pencil" not in caplog.text


def test_a_connection_that_was_cut_is_no_obstacle(database: Database) -> None:
    name = f"gatepost_{secrets.token_hex(4)}"

    async def scenario(plugin: AuthSql) -> list[Verdict | None]:
        before = await verdict_on(plugin, "bob", "pencil")
        sessions = f"pg_stat_activity WHERE application_name = '{name}'"
        cut = f"SELECT pg_terminate_backend(pid, 5000) FROM {sessions}"
        assert await fetched(cut) is True
        return [before, await verdict_on(plugin, "bob", "pencil")]

    plugin = database.plugin(url=f"{SERVER}?application_name={name}")
    assert used(plugin, scenario) == [Accept(), Accept()]


# -- Servers that do not answer -------------------------------------------------------------------


async def no_longer_there(name: str) -> None:
    """Wait until the server has ended all that an application has begun."""
    counted = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"
    end = time.monotonic() + PATIENCE
    while await fetched(counted):
        assert time.monotonic() < end


def test_a_slow_query_is_given_up_and_cancelled(database: Database) -> None:
    name = f"gatepost_{secrets.token_hex(4)}"

    async def scenario(plugin: AuthSql) -> None:
        began = time.monotonic()
        answers = await asyncio.gather(*(verdict_on(plugin, f"user{n}", "x") for n in range(9)))
        assert answers == [Defer()] * 9
        assert time.monotonic() - began < 9 * 0.5

    query, url = "SELECT pg_sleep(60)::text WHERE :user <> ''", f"{SERVER}?application_name={name}"
    used(database.plugin(query, url, wait=0.5, at_once=1), scenario)
    asyncio.run(no_longer_there(name))


@asynccontextmanager
async def between(stalled: asyncio.Event) -> AsyncIterator[str]:
    """The URL of a server that passes on what is said, until it stalls and keeps it."""
    host, _, port = SERVER.rpartition("@")[2].partition("/")[0].partition(":")
    tasks: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while octets := await reader.read(65536):
                if not stalled.is_set():
                    writer.write(octets)
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(port or 5432))
        for one, other in ((reader, there[1]), (there[0], writer)):
            tasks.add(asyncio.create_task(carry(one, other)))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as server:
        mine = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield SERVER.replace(f"{host}:{port}" if port else host, mine)
        await asyncio.gather(*tasks)


def test_a_server_that_falls_silent_is_given_up(database: Database) -> None:
    async def scenario() -> list[Verdict | None]:
        stalled, site = asyncio.Event(), Site("mx.example")
        async with between(stalled) as url:
            plugin = database.plugin(url=url, wait=0.5, at_once=1)
            answers = [await verdict_on(plugin, "bob", "pencil")]
            stalled.set()
            began = time.monotonic()
            for _ in range(4):
                answers.append(await verdict_on(plugin, "bob", "pencil"))
            assert time.monotonic() - began < 4 * 0.5 + 1
            stalled.clear()
            async with asyncio.timeout(PATIENCE):
                while (answer := await verdict_on(plugin, "bob", "pencil")) == Defer():
                    pass
            await plugin.shutdown(site)
        return [*answers, answer]

    assert asyncio.run(scenario()) == [Accept(), *[Defer()] * 4, Accept()]


def test_a_server_that_never_says_anything_is_given_up(database: Database) -> None:
    async def scenario() -> Verdict | None:
        stalled = asyncio.Event()
        stalled.set()
        async with between(stalled) as url:
            plugin = database.plugin(url=url, wait=0.3)
            try:
                return await verdict_on(plugin, "bob", "pencil")
            finally:
                await plugin.shutdown(Site("mx.example"))

    assert asyncio.run(scenario()) == Defer()


def test_a_client_that_goes_away_leaves_nothing_behind(database: Database) -> None:
    name = f"gatepost_{secrets.token_hex(4)}"

    async def scenario(plugin: AuthSql) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await verdict_on(plugin, "bob", "pencil")

    began = time.monotonic()
    query, url = "SELECT pg_sleep(60)::text WHERE :user <> ''", f"{SERVER}?application_name={name}"
    used(database.plugin(query, url, wait=60), scenario)
    asyncio.run(no_longer_there(name))
    assert time.monotonic() - began < PATIENCE
