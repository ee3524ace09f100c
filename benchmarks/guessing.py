"""Whether time tells who has an account here: `python -m benchmarks.guessing`."""

from __future__ import annotations

import argparse
import asyncio
import base64
import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from statistics import median
from time import perf_counter

from argon2 import PasswordHasher

from gatepost import Entries, HashedPassword, Password
from gatepost.app import Gate, Listen
from gatepost.plugins.auth.auth_file import AuthFile
from gatepost.server.guesses import FIRST_DELAY
from gatepost.testing import a_session

#: What hashes by Argon2id cost: next to nothing, so that all else shows, and what is usual.
EFFORTS: dict[str, Callable[[str], str]] = {
    "cheap": PasswordHasher(memory_cost=4096, time_cost=1, parallelism=1).hash,
    "default": partial(HashedPassword.make, scheme="argon2id"),
}
#: By how much of the longer one two medians may differ.
TOLERANCE = 0.10

#: Tries a wrong password for the user of a name; the seconds that it takes.
Attempt = Callable[[str], Awaitable[float]]


@dataclass(frozen=True)
class Comparison:
    """Seconds that a wrong password took, and those that an unknown user did."""

    wrong: Sequence[float]
    unknown: Sequence[float]

    @property
    def difference(self) -> float:
        """Of the medians, as a part of the longer one."""
        medians = median(self.wrong), median(self.unknown)
        return abs(medians[0] - medians[1]) / max(medians)

    @property
    def u(self) -> float:
        """The U of Mann and Whitney: how often a wrong password took longer; a tie counts half."""
        longer = sum(a > b for a in self.wrong for b in self.unknown)
        return longer + sum(a == b for a in self.wrong for b in self.unknown) / 2

    @property
    def p(self) -> float:
        """How likely so uneven a U is where there is no difference: by the normal distribution."""
        pairs, values = len(self.wrong) * len(self.unknown), len(self.wrong) + len(self.unknown)
        ties = Counter([*self.wrong, *self.unknown]).values()
        tied = sum(number**3 - number for number in ties) / (values * (values - 1))
        deviation = math.sqrt(pairs / 12 * (values + 1 - tied))
        return math.erfc(abs(self.u - pairs / 2) / deviation / math.sqrt(2)) if deviation else 1.0

    def __str__(self) -> str:
        wrong, unknown = median(self.wrong) * 1000, median(self.unknown) * 1000
        return f"{wrong:9.2f} ms{unknown:9.2f} ms{self.difference:8.1%}{self.u:9.0f}{self.p:8.3f}"


async def compare(attempt: Attempt, attempts: int) -> Comparison:
    """Try users of the file and others in turn, each name once."""
    taken: dict[str, list[float]] = {"user": [], "nobody": []}
    for number in range(attempts):
        kinds = list(taken)
        for kind in kinds if number % 2 else reversed(kinds):
            taken[kind].append(await attempt(f"{kind}{number}"))
    return Comparison(taken["user"], taken["nobody"])


async def by_hook(plugin: AuthFile, name: str) -> float:
    started = perf_counter()
    await plugin.auth(a_session(), Password(name, "wrong"))
    return perf_counter() - started


async def by_socket(port: int, addresses: Callable[[], str], name: str) -> float:
    # Each from an address of its own: the server makes those wait longer that guess again.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(addresses(), 0))
    await reader.readline()
    writer.write(b"EHLO client.example\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    response = base64.b64encode(f"\0{name}\0wrong".encode())
    started = perf_counter()
    writer.write(b"AUTH PLAIN " + response + b"\r\n")
    reply = await reader.readline()
    seconds = perf_counter() - started
    if not reply.startswith(b"535 5.7.8 "):
        raise RuntimeError(f"the server says {reply!r}")
    writer.close()
    await writer.wait_closed()
    return seconds - FIRST_DELAY


def auth_file(users: int, hashed: Callable[[str], str]) -> AuthFile:
    return AuthFile(Entries(f"user{number}:{hashed(f'right{number}')}" for number in range(users)))


async def measure(attempts: int) -> list[Comparison]:
    """Measure all that there is, and print it."""
    hosts = count(1)

    def address() -> str:
        host = next(hosts)
        return f"127.1.{host // 250}.{host % 250 + 1}"

    print(f"{attempts} attempts of each, interleaved; medians")
    print(f"{'':26}{'wrong':>12}{'unknown':>12}{'differ':>8}{'U':>9}{'p':>8}")
    comparisons = []
    listen = Listen("127.0.0.1:0", auth_without_tls=True)
    for title, hashed in EFFORTS.items():
        plugin = auth_file(attempts, hashed)
        async with Gate([plugin], listen=listen) as gate:
            comparisons.append(await compare(partial(by_hook, plugin), attempts))
            print(f"{title + ', the hook alone':26}{comparisons[-1]}")
            attempt = partial(by_socket, gate.port, address)
            comparisons.append(await compare(attempt, attempts))
            print(f"{title + ', over a socket':26}{comparisons[-1]}")
    return comparisons


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guessing", description=__doc__)
    parser.add_argument("--attempts", type=int, default=60, help="of each kind; 60 when left out")
    comparisons = asyncio.run(measure(parser.parse_args().attempts))
    print(f"the {FIRST_DELAY} s that a first failure waits for its answer are left out")
    if any(comparison.difference > TOLERANCE for comparison in comparisons):
        sys.exit(f"the medians differ by more than {TOLERANCE:.0%}: time tells who has an account")


if __name__ == "__main__":
    main()
