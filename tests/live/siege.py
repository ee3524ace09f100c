"""A server that is besieged: what becomes of an honest client meanwhile, and of the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.live.serving import SECONDS, Server

ROOT = Path(__file__).parents[2]
#: How hostile clients behave, how many there are, how they come by TLS, to which port, and perhaps
#: the address that all of them come from.
Kind: TypeAlias = tuple[str, int, str, int] | tuple[str, int, str, int, str]

#: Seconds between two looks at the server's processes.
LOOK_EVERY = 0.25
MIB = 1_048_576


@dataclass
class Honest:
    """What an honest client has seen."""

    there: list[float]  #: seconds of each visit to the server
    beside: list[float]  #: seconds of each visit to one that has nothing else to do, meanwhile
    troubles: list[str]

    @property
    def slowest(self) -> float:
        """Seconds that 99 of 100 visits took at most, beyond what they took beside."""
        return _percentile(self.there) - _percentile(self.beside)


@dataclass
class Processes:
    """The supervisor and its workers: what they take."""

    supervisor: int
    workers: tuple[int, ...]
    memory: list[tuple[int, int]] = field(default_factory=list)
    """Octets of the supervisor, and of all workers, at each look."""
    shares: list[tuple[int, int]] = field(default_factory=list)
    """Nanoseconds that all workers had a processor, and waited for one, at each look."""

    @classmethod
    def of(cls, server: Server) -> Processes:
        return cls(server.process.pid, tuple(sorted(server.workers())))

    @property
    def files(self) -> list[int]:
        """Open file descriptors of each."""
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (self.supervisor, *self.workers)]

    def look(self) -> None:
        """Note what they take now."""
        self.memory.append((_resident(self.supervisor), sum(map(_resident, self.workers))))
        had, waited = zip(*map(_scheduled, self.workers), strict=True)
        self.shares.append((sum(had), sum(waited)))

    def growth(self) -> tuple[float, float]:
        """MiB that the supervisor, and all workers, took at most beyond what they took at first."""
        first = self.memory[0]
        supervisor, workers = (max(column) for column in zip(*self.memory, strict=True))
        return (supervisor - first[0]) / MIB, (workers - first[1]) / MIB

    @property
    def share(self) -> float:
        """Which part of the time that the workers wanted a processor they had one.

        The rest went to others: hostile clients, but also whatever else this machine is busy with.
        """
        (had, waited), (now_had, now_waited) = self.shares[0], self.shares[-1]
        return (now_had - had) / (now_had - had + now_waited - waited)

    def late_growth(self) -> float:
        """MiB that all workers took more in the last third of the time than in the second."""
        workers = [workers for _, workers in self.memory]
        third = len(workers) // 3
        return (max(workers[2 * third :]) - max(workers[third : 2 * third])) / MIB


@dataclass
class Siege:
    """What came of one."""

    honest: Honest
    heard: dict[str, dict[str, int]]  #: what each kind of hostile clients heard last, and how often
    clients: int  #: how many of them there were
    processes: Processes


def besiege(
    server: Server, kinds: Sequence[Kind], *, seconds: float = 0, going: float = 60
) -> Siege:
    """Have hostile clients come, again and again for so long, and an honest one meanwhile.

    Whoever is still there when that is over has so many seconds to go.
    """
    processes = Processes.of(server)
    files = processes.files
    with _program("honest_client", str(server.port)) as honest:
        assert honest.stdout
        assert honest.stdout.readline() == "there\n"
        with _watched(processes):
            asked = json.dumps({"seconds": seconds, "going": going, "kinds": kinds})
            with _program("hostile_clients", asked) as hostile:
                heard = json.loads(hostile.communicate(timeout=seconds + going + SECONDS)[0])
        seen = json.loads(honest.communicate(timeout=SECONDS)[0])
    server.eventually(lambda: processes.files == files)
    return Siege(Honest(**seen), heard, sum(kind[1] for kind in kinds), processes)


@contextmanager
def _program(name: str, argument: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", f"tests.live.{name}", argument],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@contextmanager
def _watched(processes: Processes) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_EVERY):
            processes.look()

    processes.look()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _scheduled(pid: int) -> tuple[int, int]:
    had, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(had), int(waited)


def _percentile(seconds: list[float]) -> float:
    """The 99th."""
    return sorted(seconds)[int(len(seconds) * 0.99)]
