"""A program: many clients at once who waste a server's time, each from an address of its own.

`python hostile_clients.py '[["drip_letter", 500, "starttls", 2525], ...]'`: how they behave, how
many there are, how they come by TLS, and the port.  When all are where they wanted to be it prints
a line; when its input ends they go away, and it prints as JSON what each kind heard last, how many
of them, and how many seconds the longest of their stays was.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import ssl
import sys
from base64 import b64encode
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import count
from math import inf
from time import monotonic
from typing import cast

import uvloop

#: Seconds between two octets of those who drip; to say goodbye; and that the program may last.
DRIP, GOING, LONGEST = 1.5, 1.0, 80.0
#: Who knocks at the same time.  The kernel lets only so many wait before the door, and whoever
#: finds no room there, honest or not, tries again after a second.
KNOCKING = 200
#: Octets that a beggar sends at most: several times what the kernels keep between the two.
BEGGING = 16_000_000
#: Octets of a piece of those who pour.
PIECE = 65_536
#: The beginning of a ClientHello of 512 octets.
HELLO = bytes((22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)) + bytes(60)

_numbers = count()
_knocking = asyncio.Semaphore(KNOCKING)
_told = asyncio.Event()
_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_context.check_hostname, _context.verify_mode = False, ssl.CERT_NONE


class Client:
    """One of them; the methods without an underscore are ways to behave."""

    def __init__(self, behaviour: str, tls: str, port: int) -> None:
        number = next(_numbers)
        self._address = f"127.{1 + number // 62500}.{number // 250 % 250}.{2 + number % 250}"
        self._behaviour, self._tls, self._port = behaviour, tls, port
        self._name = f"user{number}"
        self._sending: asyncio.Task[None] | None = None
        self.kind = f"{behaviour} {tls}"
        self.settled = asyncio.Event()  #: it is where it wanted to be, or is gone
        self.heard = ""
        self.stayed = 0.0

    async def behave(self) -> None:
        """Come, and stay until the server has had enough."""
        since = monotonic()
        try:
            await self._come()
            await getattr(self, self._behaviour)()
            self.settled.set()
            since = monotonic()
            if self._behaviour in ("deaf", "beggar"):
                await _told.wait()
                self._transport.resume_reading()
            self.heard = await self._last_words()
        except asyncio.CancelledError:
            self.heard = "still there"
        except ConnectionError:
            self.heard = "reset"
        except EOFError:
            self.heard = self.heard or "hung up on"
        finally:
            self.stayed = monotonic() - since
            self.settled.set()
            self._go()

    # -- Ways to behave ---------------------------------------------------------------------------

    async def silent(self) -> None:
        """Say nothing at all."""

    async def drip_command(self) -> None:
        """Say a greeting, octet by octet."""
        self._drip(b"EHLO a.client.with.a.name.that.never.comes.to.its.end.example")

    async def drip_letter(self) -> None:
        """Write a letter, octet by octet."""
        await self._begin_letter("DATA")
        self._drip(b"Subject: Hello\r\n\r\nI have so much to tell you that I do not know ...\r\n")

    async def deaf(self) -> None:
        """Ask a lot and read nothing."""
        self._transport.pause_reading()
        self._writer.write(b"EHLO x.example\r\n" + 50 * b"HELP\r\n")

    async def beggar(self) -> None:
        """Ask more than can be answered, and read nothing."""
        self._transport.pause_reading()
        self._pour(10_000 * b"EHLO x.example\r\n", most=BEGGING)

    async def endless_command(self) -> None:
        """Say a command that has no end."""
        self._pour(PIECE * b"x")

    async def endless_line(self) -> None:
        """Write a letter of one line."""
        await self._begin_letter("DATA")
        self._pour(PIECE * b"x")

    async def endless_header(self) -> None:
        """Write a letter of nothing but fields."""
        await self._begin_letter("DATA")
        self._pour(PIECE // 12 * b"Received: x\r\n")

    async def endless_letter(self) -> None:
        """Write a letter that has everything but an end."""
        await self._begin_letter("DATA")
        self._writer.write(b"Subject: Hello\r\n\r\n")
        self._pour(PIECE // 8 * b"Hello!\r\n")

    async def endless_chunk(self) -> None:
        """Send the largest chunk that can be announced."""
        await self._begin_letter(f"BDAT {10**15}", replies=False)
        self._pour(PIECE * b"x")

    async def endless_questions(self) -> None:
        """Name recipients about whom a plugin has to think, and never stop."""
        for line in ("EHLO x.example", "MAIL FROM:<thinks.rcpt@x.example>"):
            await self._say(line)
        self._pour(1000 * b"RCPT TO:<bob@example.org>\r\n")

    async def half_open(self) -> None:
        """Begin a handshake, octet by octet."""
        self._drip(HELLO)

    async def mute(self) -> None:
        """Say nothing where a handshake should begin."""

    async def guess(self) -> None:
        """Try passwords."""
        await self._say("EHLO x.example")
        response = b64encode(f"\0{self._name}\0secret".encode()).decode()
        while not (await self._say(f"AUTH PLAIN {response}")).startswith("421"):
            pass

    # -- What they do it by -----------------------------------------------------------------------

    async def _come(self) -> None:
        shakes_hands = self._behaviour not in ("half_open", "mute")
        context = _context if self._tls == "implicit" and shakes_hands else None
        async with _knocking:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1",
                self._port,
                local_addr=(self._address, 0),
                ssl=context,
            )
            if self._tls == "starttls":
                await self._answer()
                await self._say("EHLO x.example")
                await self._say("STARTTLS")
                if shakes_hands:
                    await self._writer.start_tls(_context)
            elif shakes_hands:
                await self._answer()

    @property
    def _transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self._writer.transport)

    async def _say(self, line: str) -> str:
        self._writer.write(f"{line}\r\n".encode())
        return await self._answer()

    async def _answer(self) -> str:
        """The last line of a reply; EOFError behind the last reply."""
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        if not line:
            raise EOFError
        self.heard = line[:9].decode()
        return self.heard

    async def _last_words(self) -> str:
        """What is said last, until the server hangs up."""
        last = b""
        while octets := await self._reader.read(65536):
            last = (last + octets)[-200:]
        lines = last.split(b"\r\n")
        return lines[-2][:9].decode() if lines[1:] else self.heard or "hung up on"

    async def _begin_letter(self, last: str, *, replies: bool = True) -> None:
        for line in ("EHLO x.example", "MAIL FROM:<>", "RCPT TO:<bob@example.org>"):
            await self._say(line)
        self._writer.write(f"{last}\r\n".encode())
        if replies:
            await self._answer()

    def _drip(self, octets: bytes) -> None:
        async def drip() -> None:
            for octet in octets:
                self._writer.write(bytes((octet,)))
                await asyncio.sleep(DRIP)

        self._sending = asyncio.create_task(drip())

    def _pour(self, octets: bytes, most: float = inf) -> None:
        async def pour() -> None:
            sent = 0
            with suppress(ConnectionError):  # who reads hears of it as well
                while sent < most and not self._transport.is_closing():
                    self._writer.write(octets)
                    sent += len(octets)
                    await self._writer.drain()

        self._sending = asyncio.create_task(pour())

    def _go(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        with suppress(AttributeError):  # it has never been there
            self._transport.abort()


async def waste(clients: list[Client]) -> None:
    """Let all behave as they do until somebody says stop."""
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, _told.set)
    loop.call_later(LONGEST, _told.set)
    tasks = [asyncio.create_task(client.behave()) for client in clients]
    for client in clients:
        await client.settled.wait()
    print("there", flush=True)
    await _told.wait()
    _, staying = await asyncio.wait(tasks, timeout=GOING)
    for task in staying:
        task.cancel()
    await asyncio.wait(tasks)


def report(clients: list[Client]) -> dict[str, object]:
    """What became of each kind."""
    kinds = defaultdict[str, list[Client]](list)
    for client in clients:
        kinds[client.kind].append(client)
    return {
        kind: [Counter(one.heard for one in them), max(one.stayed for one in them)]
        for kind, them in kinds.items()
    }


if __name__ == "__main__":
    os.nice(10)  # their time is not what is measured
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    everybody = [
        Client(behaviour, tls, port)
        for behaviour, number, tls, port in json.loads(sys.argv[1])
        for _ in range(number)
    ]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(waste(everybody))
    json.dump(report(everybody), sys.stdout)
