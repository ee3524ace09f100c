"""A program: many clients at once who waste a server's time, each from an address of its own.

`python -m tests.live.hostile_clients '{"seconds": 5, "going": 3, "kinds": [["noop", 50, "", 2525],
...]}'`: for how long those come again whom the server has sent away; how long after that whoever is
still there may stay; and of each kind how they behave, how many there are, how they come by TLS, to
which port, and the address if all come from one.  When nobody is left it prints as JSON what each
kind heard last, and how often.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import sys
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import count, repeat
from pathlib import Path
from time import monotonic
from typing import cast

import uvloop

from tests.hostile_letters import LETTERS
from tests.live.floods import FLOODS, HELLO, LETTER, Flood

#: Seconds between two octets of those who drip.
DRIP = 1.0
#: Who knocks at the same time.  The kernel lets only so many wait before the door, and whoever
#: finds no room there, honest or not, tries again after a second.
KNOCKING = min(200, int(Path("/proc/sys/net/core/somaxconn").read_text()) // 2)
#: Octets of a piece of those who pour, and of what those who do not read have room for.
PIECE, NO_ROOM = 65_536, 2_048

_numbers = count()
_knocking = asyncio.Semaphore(KNOCKING)
_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_context.check_hostname, _context.verify_mode = False, ssl.CERT_NONE


class Client:
    """One of them; the methods without an underscore are ways to behave beside the floods."""

    def __init__(self, behaviour: str, tls: str, port: int, address: str = "") -> None:
        number = next(_numbers)
        self._address = (
            address or f"127.{1 + number // 62500}.{number // 250 % 250}.{2 + number % 250}"
        )
        self._behaviour, _, self._what = behaviour.partition(":")
        self._tls, self._port = tls, port
        self._name = f"user{number}"
        self._sending: asyncio.Task[None] | None = None
        self._heard = ""
        self.kind = " ".join(word for word in (behaviour, tls, address) if word)
        self.heard = Counter[str]()  #: what was said last, at each visit

    async def behave(self, until: float) -> None:
        """Come, and come again until it is so late."""
        is_first = True
        while is_first or monotonic() < until:
            is_first = False
            self.heard[await self._visit()] += 1
            if self._behaviour == "guess":
                return  # each further visit would take longer

    async def _visit(self) -> str:
        """Come once, and stay until the server has had enough."""
        self._heard = ""
        try:
            await self._come()
            if self._behaviour in FLOODS:
                await self._flood(FLOODS[self._behaviour])
            else:
                await getattr(self, self._behaviour)()
            return await self._last_words()
        except asyncio.CancelledError:
            self.heard["still there"] += 1
            raise
        except OSError:
            return "reset"
        except EOFError:
            return self._heard or "hung up on"
        finally:
            self._go()

    # -- Ways to behave ---------------------------------------------------------------------------

    async def silent(self) -> None:
        """Say nothing at all."""

    async def drip_command(self) -> None:
        """Say a greeting, octet by octet."""
        self._drip(b"EHLO a.client.with.a.name.that.never.comes.to.its.end.example")

    async def drip_letter(self) -> None:
        """Write a letter, octet by octet."""
        await self._say_all(LETTER)
        self._drip(b"Subject: Hello\r\n\r\nI have so much to tell you that I do not know ...\r\n")

    async def half_open(self) -> None:
        """Begin a handshake, octet by octet."""
        self._drip(HELLO)

    async def mute(self) -> None:
        """Say nothing where a handshake should begin."""

    async def knock(self) -> None:
        """Look what the banner says, and go."""
        raise EOFError

    async def churn(self) -> None:
        """Come by TLS, and go."""
        await self._say_all(("EHLO x.example", "QUIT"))

    async def guess(self) -> None:
        """Try passwords."""
        response = b64encode(f"\0{self._name}\0secret".encode()).decode()
        await self._say_all(("EHLO x.example", *[f"AUTH PLAIN {response}"] * 1000))

    async def letter(self) -> None:
        """Send the letter of that name."""
        await self._say_all(LETTER)
        self._writer.write(LETTERS[self._what].text + b"\r\n.\r\n")
        await self._answer()
        raise EOFError

    async def mood(self) -> None:
        """Ask for a recipient while a plugin has that mood."""
        await self._say_all((LETTER[0], f"MAIL FROM:<{self._what}@x.example>", LETTER[2]))
        raise EOFError

    # -- What they do it by -----------------------------------------------------------------------

    async def _come(self) -> None:
        shakes_hands = self._behaviour not in ("half_open", "mute")
        door = socket.socket()
        if self._behaviour == "deaf":
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NO_ROOM)
        async with _knocking:
            await self._through(door)
            self._reader, self._writer = await asyncio.open_connection(sock=door)
        if self._tls == "implicit" and shakes_hands:
            await self._writer.start_tls(_context)
        if self._tls == "starttls" or shakes_hands:
            await self._answer()
        if self._tls == "starttls":
            await self._say_all(("EHLO x.example", "STARTTLS"))
            self._heard = ""
            if shakes_hands:
                await self._writer.start_tls(_context)

    async def _through(self, door: socket.socket) -> None:
        try:
            door.setblocking(False)
            door.bind((self._address, 0))
            await asyncio.get_running_loop().sock_connect(door, ("127.0.0.1", self._port))
        except BaseException:
            door.close()
            raise

    @property
    def _transport(self) -> asyncio.Transport:
        return cast(asyncio.Transport, self._writer.transport)

    async def _say_all(self, lines: tuple[str, ...]) -> None:
        for line in lines:
            self._writer.write(f"{line}\r\n".encode())
            await self._answer()

    async def _answer(self) -> None:
        """Hear a whole reply; EOFError behind the last one."""
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        if not line:
            raise EOFError
        self._heard = line[:9].decode()

    async def _last_words(self) -> str:
        """What is said last, until the server hangs up."""
        last = b""
        while octets := await self._reader.read(PIECE):
            last = (last + octets)[-200:]
        lines = last.split(b"\r\n")
        return lines[-2][:9].decode() if lines[1:] else self._heard or "hung up on"

    async def _flood(self, flood: Flood) -> None:
        await self._say_all(flood.lines)
        if self._behaviour == "deaf":
            self._transport.pause_reading()
        self._writer.write(flood.start)
        self._send(repeat(flood.again * (PIECE // len(flood.again))))

    def _drip(self, octets: bytes) -> None:
        self._send((bytes((octet,)) for octet in octets), DRIP)

    def _send(self, pieces: Iterable[bytes], pause: float = 0) -> None:
        async def send() -> None:
            with suppress(ConnectionError):  # who reads hears of it as well
                for piece in pieces:
                    self._writer.write(piece)
                    await self._writer.drain()
                    await asyncio.sleep(pause)

        self._sending = asyncio.create_task(send())

    def _go(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        with suppress(AttributeError):  # it has never been there
            self._transport.abort()


async def waste(clients: list[Client], seconds: float, going: float) -> None:
    """Let all behave as they do for so long, and then go."""
    until = monotonic() + seconds
    tasks = [asyncio.create_task(client.behave(until)) for client in clients]
    _, staying = await asyncio.wait(tasks, timeout=seconds + going)
    for task in staying:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def report(clients: list[Client]) -> dict[str, Counter[str]]:
    """What each kind heard last."""
    kinds = defaultdict[str, Counter[str]](Counter)
    for client in clients:
        kinds[client.kind] += client.heard
    return kinds


if __name__ == "__main__":
    os.nice(10)  # their time is not what is measured
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    asked = json.loads(sys.argv[1])
    everybody = [
        Client(behaviour, *where)
        for behaviour, number, *where in asked["kinds"]
        for _ in range(number)
    ]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(waste(everybody, asked["seconds"], asked["going"]))
    json.dump(report(everybody), sys.stdout)
