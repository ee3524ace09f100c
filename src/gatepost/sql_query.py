"""SqlQuery: a question to a database, as it stands in the configuration."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeAlias

from gatepost.pool import Pool, PoolBusy

Row: TypeAlias = tuple[object, ...]

#: Steps of SQLite's machine between two looks at the clock.
STEPS: Final = 10_000

#: A parameter, and what only looks as if there were one in it.
_TOKEN: Final = re.compile(
    r"""
      \b[eE]'(?:[^'\\]|''|\\.)*'          # a string of PostgreSQL with backslashes
    | '(?:[^']|'')*' | "(?:[^"]|"")*"     # a string, a name
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$     # a string between dollars
    | --[^\n]* | /\*.*?\*/                # a comment
    | ::                                  # a cast
    | :(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


class QueryFailed(Exception):
    """The database has no answer; the text says why, and holds no secret."""


class SqlQuery:
    """A query that is asked of SQLite or PostgreSQL, while the event loop goes on.

    | `url` | the database |
    |---|---|
    | `sqlite:///mail.db` | a file, relative to `directory` |
    | `sqlite:////var/lib/mail.db` | a file |
    | `postgresql://gatepost:secret@db.example/mail?sslmode=verify-full` | PostgreSQL |

    `text` is one SELECT, in which `:name` stands for a value, for the `parameters` of these names;
    values are bound, and never become part of the text.  Nothing can be written.  An answer is
    waited for so many seconds, `wait`; so many queries are asked `at_once`, and more wait.

    Raises ValueError, naming the option `url` or `query`, for what can never be asked.
    """

    def __init__(
        self,
        url: str,
        text: str,
        *,
        parameters: Collection[str],
        directory: Path,
        wait: float = 10.0,
        at_once: int = 4,
    ) -> None:
        self._database: _Database
        scheme, _, rest = url.partition("://")
        if scheme == "sqlite" and rest.startswith("/") and rest != "/":
            text, names = _translated(text, "?")
            self._database = _Sqlite(directory / rest[1:], text, wait=wait, at_once=at_once)
        elif scheme in ("postgresql", "postgres"):
            text, names = _translated(text, "${}")
            self._database = _Postgres(url, text, wait=wait, at_once=at_once)
        else:
            raise ValueError("option 'url' must begin with sqlite:/// or postgresql://")
        if unknown := [name for name in names if name not in parameters]:
            known = ", ".join(f":{name}" for name in parameters)
            raise ValueError(f"option 'query' has a parameter :{unknown[0]}; there are {known}")
        self._names = names

    @property
    def names(self) -> frozenset[str]:
        """The parameters that the text has."""
        return frozenset(self._names)

    async def rows(self, values: Mapping[str, str], *, most: int = 2) -> list[Row]:
        """The first rows of the answer.  Raises QueryFailed."""
        return await self._database.rows([values[name] for name in self._names], most)

    async def close(self) -> None:
        """Give back what is open; nothing can be asked any more."""
        await self._database.close()


def _translated(text: str, mark: str) -> tuple[str, tuple[str, ...]]:
    """The text with marks for its parameters, which may be numbered, and the parameters' names."""
    names: list[str] = []

    def marked(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0]
        names.append(match["name"])
        return mark.format(len(names))

    return _TOKEN.sub(marked, text), tuple(names)


class _Database(Protocol):
    async def rows(self, values: list[str], most: int) -> list[Row]: ...

    async def close(self) -> None: ...


# -- SQLite ---------------------------------------------------------------------------------------


class _Sqlite:
    """A file; it is opened for each query, so that another one can be put in its place."""

    def __init__(self, path: Path, text: str, *, wait: float, at_once: int) -> None:
        self._path = path.absolute()
        self._text = text
        self._wait = wait
        self._pool = Pool(at_once)

    async def rows(self, values: list[str], most: int) -> list[Row]:
        until = time.monotonic() + self._wait
        try:
            async with asyncio.timeout(self._wait):
                return await self._pool.run(self._ask, values, most, until)
        except (sqlite3.Error, TimeoutError, PoolBusy) as error:
            raise QueryFailed(f"{self._path}: {error!r}") from None

    async def close(self) -> None:
        self._pool.close()

    def _ask(self, values: list[str], most: int, until: float) -> list[Row]:
        address = f"{self._path.as_uri()}?mode=ro"
        left = max(0.0, until - time.monotonic())
        with closing(sqlite3.connect(address, uri=True, timeout=left)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
            return connection.execute(self._text, values).fetchmany(most)


# -- PostgreSQL -----------------------------------------------------------------------------------

#: Hosts with their ports, where no piece of a password can be taken for one.
_HOSTS: Final = re.compile(r"(?:(?:\[[0-9A-Fa-f:.]+\]|[\w.%-]*)(?::\d{1,5})?(?:,|$))*")


def _asyncpg() -> ModuleType:
    try:
        return import_module("asyncpg")  # not before it is needed, for it is optional
    except ImportError:
        needs = "postgresql:// needs asyncpg: pip install 'gatepost[postgres]'"
        raise ValueError(f"option 'url': {needs}") from None


class _Postgres:
    """A server, and a few connections to it, which are kept for a while."""

    def __init__(self, url: str, text: str, *, wait: float, at_once: int) -> None:
        place, _, rest = url.partition("://")[2].partition("/")
        if not _HOSTS.fullmatch(place.rpartition("@")[2]) or "@" in rest.partition("?")[0]:
            malformed = "is malformed; in a password, write %2F for a slash and %40 for an @"
            raise ValueError(f"option 'url' {malformed}")
        self._asyncpg = _asyncpg()
        self._url = url
        self._text = text
        self._wait = wait
        self._at_once = at_once
        self._connections: Any = None  # they belong to the event loop that first asks
        self._asking: set[asyncio.Task[list[Row]]] = set()

    async def rows(self, values: list[str], most: int) -> list[Row]:
        # A query that is given up is cancelled on the server, too, and nobody waits for that.
        task = asyncio.create_task(self._ask(values, most))
        self._asking.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task}, timeout=self._wait)
        finally:
            task.cancel()
        if not task.done():
            raise QueryFailed("PostgreSQL: it takes too long")
        failures = (OSError, self._asyncpg.PostgresError, self._asyncpg.InterfaceError)
        try:
            return task.result()
        except failures as error:
            raise QueryFailed(f"PostgreSQL: {error!r}") from None

    async def close(self) -> None:
        if self._connections is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait):
                    await self._connections.close()

    async def _ask(self, values: list[str], most: int) -> list[Row]:
        if self._connections is None:
            self._connections = self._asyncpg.create_pool(
                self._url, min_size=0, max_size=self._at_once, command_timeout=self._wait
            )
        await self._connections  # made ready; it connects to nothing yet
        pool = self._connections
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            cursor = await connection.cursor(self._text, *values)
            return [tuple(row) for row in await cursor.fetch(most)]

    def _forget(self, task: asyncio.Task[list[Row]]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # heard, also where nobody waits any more
