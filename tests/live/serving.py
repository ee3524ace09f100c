"""A server that is started as operators start it, and clients that bring it letters."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GATEPOST = [sys.executable, "-m", "gatepost"]
SECONDS = 60

CONFIGURATION = """\
hostname = "mx.example.org"
workers = {workers}
drain = {drain}
{before_limits}
connections_per_address = {per_address}
messages = 100000

[[listen]]
name = "mx"
address = "127.0.0.1:{port}"

[[plugin]]
use = "domains"
domains = "domains"

[[plugin]]
use = "maildir"
path = "mail"
"""


@dataclass
class Server:
    """A server in a directory of its own."""

    directory: Path
    process: subprocess.Popen[str]
    port: int

    def status(self) -> dict[str, Any]:
        told = self.gatepost("status", "--json")
        assert told.returncode == 0, told.stderr
        status: dict[str, Any] = json.loads(told.stdout)
        return status

    def gatepost(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*GATEPOST, *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def workers(self) -> set[int]:
        return {one["pid"] for one in self.status()["workers"] if one["state"] == "at work"}

    def sessions(self) -> int:
        return sum(one["sessions"] for one in self.status()["workers"])

    def eventually(self, holds: Callable[[], bool]) -> None:
        """Wait for what the server does in its own time; a minute at most."""
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.1)

    @property
    def letters(self) -> list[str]:
        """The Subject of every letter that was delivered."""
        new = self.directory / "mail" / "new"
        texts = [path.read_text() for path in new.iterdir()] if new.exists() else []
        return [line[9:] for text in texts for line in text.splitlines() if "Subject: " in line]


@contextmanager
def serving(
    directory: Path,
    *,
    command: Sequence[str] = GATEPOST,
    configuration: str = CONFIGURATION,
    **values: Any,
) -> Iterator[Server]:
    """A server that runs until the test is over."""
    usual = {"workers": 2, "drain": 60, "per_address": 1000, "port": 0, "before_limits": "[limits]"}
    (directory / "domains").write_text("example.org\n")
    (directory / "gatepost.toml").write_text(configuration.format(**usual | values))
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(
            [*command, "serve", "--quiet"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Server(directory, process, _port(process, directory / "log"))
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            finally:
                process.kill()


def _port(process: subprocess.Popen[str], log: Path) -> int:
    assert process.stdout
    for line in process.stdout:
        if match := re.match(r"Listening on 127\.0\.0\.1:(\d+) ", line):
            return int(match[1])
    raise AssertionError(f"the server did not say where it listens: {log.read_text()}")


@dataclass
class Client:
    """Sends letters, and keeps a ledger of what was answered with 250."""

    port: int
    name: str
    taken: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    async def send(self, count: int, *, pause: float = 0.0) -> None:
        """Send letters over one connection."""
        async with self.connection() as (reader, writer):
            for _ in range(count):
                subject = f"{self.name}-{len(self.taken)}"
                letter = f"Subject: {subject}\r\n\r\nHello\r\n.\r\n"
                envelope = f"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n{letter}"
                replies = await self._say(reader, writer, envelope, 4)
                if replies[-1:] == ["250"]:
                    self.taken.append(subject)
                else:
                    self.troubles.append(f"{subject}: {replies}")
                    return
                await asyncio.sleep(pause)
            await self._say(reader, writer, "QUIT\r\n", 1)

    @asynccontextmanager
    async def connection(
        self,
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A greeted connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            replies = await self._say(reader, writer, "", 1)
            replies += await self._say(reader, writer, "EHLO client.example\r\n", 1)
            if replies != ["220", "250"]:
                self.troubles.append(f"greeting: {replies}")
            yield reader, writer
        finally:
            writer.close()

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str, count: int
    ) -> list[str]:
        """The codes of so many replies; fewer when the connection ends."""
        writer.write(text.encode())
        codes: list[str] = []
        while len(codes) < count and (line := await reader.readline()):
            if line[3:4] == b" ":
                codes.append(line[:3].decode())
        return codes


async def load(clients: list[Client], until: asyncio.Event) -> None:
    """Have all send, a few letters a connection, until somebody says stop."""

    async def one(client: Client) -> None:
        while not until.is_set() and not client.troubles:
            try:
                await client.send(3, pause=0.01)
            except OSError as error:
                client.troubles.append(repr(error))

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(one(client))
