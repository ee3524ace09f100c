"""A program: one honest client, who brings a letter every 50 ms until its input ends.

`python honest_client.py PORT`.  Each letter comes over a connection of its own, and comes when it
is due, also while earlier ones still wait: a server that stands still for a second delays twenty
of them, and all twenty count.  At the end it prints as JSON how long each took, from when it was
due until the goodbye was answered; what went wrong; and how late the program itself was each time,
which is the machine's doing and not the server's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic

EVERY = 0.05
#: Seconds that one letter may take, and that the program may last.
PATIENCE, LONGEST = 30.0, 110.0

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


class Honest:
    """The visits, and what came of them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seconds: list[float] = []
        self.late: list[float] = []
        self.troubles: list[str] = []

    async def visit(self, due: float) -> None:
        """Go there once; it was due at that time."""
        try:
            await asyncio.wait_for(visit(self.port), PATIENCE)
        except (OSError, TimeoutError) as error:
            self.troubles.append(repr(error))
        else:
            self.seconds.append(monotonic() - due)

    async def visits(self) -> None:
        """Go there again and again until the input ends, and see the last visits through."""
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(sys.stdin, told.set)
        loop.call_later(LONGEST, told.set)
        due = monotonic()
        async with asyncio.TaskGroup() as visits:
            while not told.is_set():
                await asyncio.sleep(due - monotonic())
                self.late.append(monotonic() - due)
                visits.create_task(self.visit(due))
                due += EVERY
        loop.remove_reader(sys.stdin)


if __name__ == "__main__":
    honest = Honest(int(sys.argv[1]))
    asyncio.run(honest.visits())
    json.dump(vars(honest), sys.stdout)
