"""Run the comparison and print it as a table: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.rivals import Server, aiosmtpd, gatepost, smtp_sink, smtp_source


@dataclass(frozen=True)
class Load:
    """One kind of work."""

    name: str
    messages: int
    size: int  #: octets
    sessions: int
    reuse: bool = False


LOADS = (
    Load("1 KiB, 100 sessions, a connection each", 4000, 1024, 100),
    Load("1 KiB, 10 sessions, reused", 10_000, 1024, 10, reuse=True),
    Load("100 KiB, 10 sessions, a connection each", 800, 102_400, 10),
    Load("1 MiB, 10 sessions, a connection each", 200, 1_048_576, 10),
)
IDLE_CONNECTIONS = 1000


def compare(servers: list[Server], loads: tuple[Load, ...], rounds: int) -> None:
    """Give every server every load in turn, round by round, and print the medians."""
    for load in loads:
        seconds, cpu = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
        for _ in range(rounds):
            for server in servers:
                before = server.cpu_seconds()
                seconds[server.name].append(
                    smtp_source(
                        server,
                        messages=load.messages,
                        size=load.size,
                        sessions=load.sessions,
                        reuse=load.reuse,
                    )
                )
                cpu[server.name].append(server.cpu_seconds() - before)
        print(f"\n{load.name}\n{'':28}{'msg/s':>9}{'MB/s':>8}{'CPU s/1,000':>13}{'ratio':>8}")
        ours = median(cpu[servers[0].name])
        for server in servers:
            rate = load.messages / median(seconds[server.name])
            used = median(cpu[server.name])
            print(
                f"{server.name:28}{rate:9,.0f}{rate * load.size / 1e6:8.1f}"
                f"{used / load.messages * 1000:13.3f}{used / ours:8.2f}"
            )


async def idle_memory(server: Server, connections: int = IDLE_CONNECTIONS) -> float:
    """KiB of proportional set size that one connection costs after EHLO."""
    before = server.memory()
    streams = []
    for _ in range(connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.write(b"EHLO client.example\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        streams.append(writer)
    used = (server.memory() - before) / connections
    for writer in streams:
        writer.close()
    return used


def main() -> None:
    """Compare, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round instead of five")
    rounds = 1 if parser.parse_args().quick else 5
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(gatepost(directory))
        sink = stack.enter_context(smtp_sink())
        rival = stack.enter_context(aiosmtpd())
        compare([ours, sink, rival], LOADS, rounds)
        laden = stack.enter_context(gatepost(directory, idle_plugins=10))
        print("\nTen plugins without an opinion, on every hook")
        compare([ours, laden], LOADS[:2], rounds)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(f"\nKiB an idle connection, {IDLE_CONNECTIONS} held")
        for start in (gatepost(directory), aiosmtpd()):
            server = stack.enter_context(start)
            print(f"{server.name:28}{asyncio.run(idle_memory(server)):9.1f}")


if __name__ == "__main__":
    main()
