"""A program: one honest client, who brings a letter every 50 ms until its input ends.

`python -m tests.live.honest_client PORT`.  Each letter comes over a connection of its own, and
comes when it is due, also while earlier ones still wait: a server that stands still for a second
delays twenty of them, and all twenty count.  Every fifth goes to a server in a process beside this
one, which has nothing else to do: so long a visit takes on this machine just now, whoever is
visited.  When it begins it prints a line, and at the end as JSON the seconds of the ones and of
the others, from when each letter was due until the goodbye was answered, and what went wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from time import monotonic

EVERY = 0.05
#: One letter in so many goes to the server beside.
BESIDE = 5
#: Seconds that one letter may take, and that the program may last.
PATIENCE, LONGEST = 30, 110

VISIT = (
    (b"", b"220"),
    (b"EHLO client.example\r\n", b"250"),
    (b"MAIL FROM:<anne@client.example>\r\n", b"250"),
    (b"RCPT TO:<bob@example.org>\r\n", b"250"),
    (b"DATA\r\n", b"354"),
    (b"Subject: Hello\r\n\r\nHow are you?\r\n.\r\n", b"250"),
    (b"QUIT\r\n", b"221"),
)


async def visit(port: int) -> None:
    """Bring one letter.  Raises OSError for an answer that is not the right one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for words, wanted in VISIT:
            writer.write(words)
            while (line := await reader.readline())[3:4] == b"-":
                pass
            if not line.startswith(wanted):
                raise OSError(f"{words!r} was answered {line!r}")
    finally:
        writer.close()


class Visits:
    """The visits to one server, and what came of them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seconds: list[float] = []
        self.troubles: list[str] = []

    async def one(self, due: float) -> None:
        """Go there once; it was due at that time."""
        try:
            await asyncio.wait_for(visit(self.port), PATIENCE)
        except (OSError, TimeoutError) as error:
            self.troubles.append(repr(error))
        else:
            self.seconds.append(monotonic() - due)


async def come_and_go(there: Visits, beside: Visits) -> None:
    """Go again and again until the input ends, and see the last visits through."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(sys.stdin, told.set)
    loop.call_later(LONGEST, told.set)
    print("there", flush=True)
    due, number = monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while not told.is_set():
            await asyncio.sleep(due - monotonic())
            group.create_task((there if number % BESIDE else beside).one(due))
            due, number = due + EVERY, number + 1
    loop.remove_reader(sys.stdin)


def idle_server(listening: socket.socket) -> None:
    """Answer what is wanted, one visitor after the other."""
    signal.alarm(LONGEST + PATIENCE)  # whatever becomes of who has started it
    while True:
        visitor, _ = listening.accept()
        with visitor, suppress(OSError):
            for number, (_, wanted) in enumerate(VISIT):
                if number:
                    visitor.recv(1024)
                visitor.sendall(wanted + b" Ok\r\n")


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    if not (child := os.fork()):
        idle_server(listening)
    there, beside = Visits(int(sys.argv[1])), Visits(listening.getsockname()[1])
    try:
        asyncio.run(come_and_go(there, beside))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    json.dump(
        {
            "there": there.seconds,
            "beside": beside.seconds,
            "troubles": there.troubles + beside.troubles,
        },
        sys.stdout,
    )
