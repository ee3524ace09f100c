"""Ten minutes at full load, with reloads, kills and slow clients: `python -m benchmarks.soak`.

Clients keep a ledger of what was answered with 250; the Maildir is the truth.  Every message in the
ledger must be there once, and none may be there twice.  One whose connection was cut before the
answer may be there or not: nobody was promised anything.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rivals import free_port

CONFIGURATION = """
hostname = "mx.example"
workers = 2
drain = 15
[limits]
connections = 5000
connections_per_address = 5000
messages = 1000000
[trail]
size = "50 MB"
[metrics]
address = "127.0.0.1:{figures}"
[[listen]]
address = "127.0.0.1:{port}"
[[plugin]]
use = "domains"
domains = ["example.org"]
[[plugin]]
use = "maildir"
path = "mail"
"""
GATEPOST = [sys.executable, "-m", "gatepost"]
SENDERS, SLOW = 20, 100
#: Seconds between two reloads, and between two kills.
RELOAD_EVERY, KILL_EVERY = 20.0, 30.0
WARM_UP = 60.0


@dataclass
class Ledger:
    """What the clients know."""

    taken: list[str] = field(default_factory=list)  #: answered with 250
    refused: Counter[str] = field(default_factory=Counter)  #: other answers, by their codes
    uncertain: set[str] = field(default_factory=set)  #: the connection was cut before an answer
    cut: int = 0  #: connections that ended without a goodbye
    not_taken_in: int = 0  #: connections that were refused or got no banner


@dataclass(frozen=True)
class Measured:
    """What the processes took at one moment."""

    second: float  #: since the beginning
    supervisor: int  #: KiB
    largest_worker: int  #: KiB
    descriptors: int  #: open ones of the supervisor


@dataclass
class Soak:
    """A server in a directory, and those who make its life hard."""

    directory: Path
    port: int
    seconds: float
    ledger: Ledger = field(default_factory=Ledger)
    reloads: int = 0
    kills: int = 0
    measured: list[Measured] = field(default_factory=list)

    async def run(self) -> None:
        """Everything at once, until the time is over."""
        self._end = time.monotonic() + self.seconds
        async with asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(self._send(number))
            for _ in range(SLOW):
                group.create_task(self._drip())
            group.create_task(self._reload())
            group.create_task(self._kill())
            group.create_task(self._measure())

    @property
    def _goes_on(self) -> bool:
        return time.monotonic() < self._end

    async def _send(self, number: int) -> None:
        names = (f"{number}-{count}" for count in itertools.count())
        while self._goes_on:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.ledger.not_taken_in += 1
                continue
            try:
                await self._session(reader, writer, names)
            except OSError:
                self.ledger.cut += 1
            writer.close()

    async def _session(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, names: Iterator[str]
    ) -> None:
        """Some messages over one connection."""
        ledger = self.ledger
        if await _code(reader) != "220":
            ledger.not_taken_in += 1
            return
        writer.write(b"EHLO client.example\r\n")
        await _code(reader)
        for name in itertools.islice(names, random.randint(1, 20)):
            body = "x" * random.choice((10, 1000, 30_000))
            writer.write(
                f"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
                f"Subject: {name}\r\n\r\n{body}\r\n.\r\n".encode()
            )
            ledger.uncertain.add(name)
            codes = [await _code(reader) for _ in range(4)]
            if "" in codes:
                ledger.cut += 1
                return
            ledger.uncertain.discard(name)
            if codes[3] == "250":
                ledger.taken.append(name)
            else:
                ledger.refused[codes[3]] += 1
        writer.write(b"QUIT\r\n")
        await _code(reader)

    async def _drip(self) -> None:
        """A client that says an octet now and then."""
        while self._goes_on:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                for octet in b"EHLO a-very-slow-client.example\r\nMAIL FROM:<a@x.example>\r\n":
                    writer.write(bytes((octet,)))
                    await asyncio.sleep(random.random())
                    if writer.is_closing() or not self._goes_on:
                        break
                writer.close()

    async def _reload(self) -> None:
        while self._goes_on:
            await asyncio.sleep(min(RELOAD_EVERY, self.seconds / 4))
            await self._gatepost("reload")
            self.reloads += 1

    async def _kill(self) -> None:
        while self._goes_on:
            await asyncio.sleep(min(KILL_EVERY, self.seconds / 3))
            workers = [one["pid"] for one in (await self._status())["workers"]]
            with suppress(ProcessLookupError):
                os.kill(random.choice(workers), signal.SIGKILL)
                self.kills += 1

    async def _measure(self) -> None:
        started = time.monotonic()
        while self._goes_on:
            await asyncio.sleep(5)
            status = await self._status()
            pid, workers = status["pid"], [one["pid"] for one in status["workers"]]
            self.measured.append(
                Measured(
                    time.monotonic() - started,
                    _resident(pid),
                    max(map(_resident, workers), default=0),
                    len(os.listdir(f"/proc/{pid}/fd")),
                )
            )

    async def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(await self._gatepost("status", "--json"))
        return status

    async def _gatepost(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *GATEPOST, *words, cwd=self.directory, stdout=subprocess.PIPE
        )
        said, _ = await process.communicate()
        return said.decode()


async def _code(reader: asyncio.StreamReader) -> str:
    """The code of the next reply; empty when the connection has ended."""
    while line := await reader.readline():
        if line[3:4] == b" ":
            return line[:3].decode()
    return ""


def _resident(pid: int) -> int:
    """KiB of a process; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _delivered(directory: Path) -> Counter[str]:
    subjects: Counter[str] = Counter()
    for path in (directory / "mail" / "new").iterdir():
        with path.open() as file:
            subjects[next(line[9:].strip() for line in file if line.startswith("Subject: "))] += 1
    return subjects


def report(soak: Soak, delivered: Counter[str]) -> bool:
    """Print what came of it; whether all is well."""
    ledger = soak.ledger
    lost = [name for name in ledger.taken if not delivered[name]]
    twice = [name for name, count in delivered.items() if count > 1]
    unasked = delivered.keys() - set(ledger.taken) - ledger.uncertain
    print(f"{soak.seconds:.0f} s, {soak.reloads} reloads, {soak.kills} workers killed")
    print(f"answered 250: {len(ledger.taken)}, other answers: {dict(ledger.refused)}")
    print(f"connections cut: {ledger.cut}, not taken in: {ledger.not_taken_in}")
    print(f"in the Maildir: {delivered.total()}, of those without an answer: "
          f"{len(ledger.uncertain & delivered.keys())}")  # fmt: skip
    print(f"lost: {len(lost)}, twice: {len(twice)}, never sent: {len(unasked)}")
    warm = [one for one in soak.measured if one.second >= min(WARM_UP, soak.seconds / 4)]
    if warm:
        first, last = warm[0], warm[-1]
        print(f"KiB, supervisor: {first.supervisor} after warm-up, {last.supervisor} at the end")
        print(f"KiB, largest worker: {max(one.largest_worker for one in warm)}")
        print(f"descriptors, supervisor: {first.descriptors}, at the end {last.descriptors}, "
              f"at most {max(one.descriptors for one in warm)}")  # fmt: skip
    return not (lost or twice or unasked)


def main() -> None:
    """Run it, and exit with 1 if anything was lost or came twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # clients write to workers that are gone
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        (directory / "gatepost.toml").write_text(
            CONFIGURATION.format(port=port, figures=free_port())
        )
        server = subprocess.Popen(
            [*GATEPOST, "serve", "--quiet"], cwd=directory, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            while "Listening" not in (line := server.stdout.readline()):
                assert line, "the server did not start"
            soak = Soak(directory, port, seconds)
            asyncio.run(soak.run())
        finally:
            server.terminate()
            server.wait(60)
        sys.exit(0 if report(soak, _delivered(directory)) else 1)


if __name__ == "__main__":
    main()
