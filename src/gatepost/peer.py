"""Peer: another server, which a plugin asks line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from gatepost.tls_client import client_context

#: Octets of one line that a server may say, and of all that it says on one connection.
LINE_LIMIT: Final = 8192
TALK_LIMIT: Final = 65_536
#: Seconds that a server has to close its side after a goodbye.
GOODBYE: Final = 1.0


class Wire:
    """An open connection to a server that speaks in lines.

    Whatever goes wrong on it is an OSError.  It knows no time: wait within `asyncio.timeout`.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._heard = 0

    async def hear(self) -> bytes:
        """The next line, without its end.

        Raises ConnectionError when the server hangs up, says a line of more than `LINE_LIMIT`
        octets, or more than `TALK_LIMIT` octets in all.
        """
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise ConnectionError("it hung up") from None
        except asyncio.LimitOverrunError:
            raise ConnectionError("it sent a line without end") from None
        self._heard += len(line)
        if self._heard > TALK_LIMIT:
            raise ConnectionError("it talks without end")
        return line.rstrip(b"\r\n")

    def say(self, line: bytes) -> None:
        """Send a line; raises ValueError for one that would be several."""
        if any(octet in line for octet in b"\r\n\0"):
            raise ValueError("a line holds no CR, LF or NUL")
        self.send(line + b"\r\n")

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._writer.write(octets)

    async def secure(self) -> None:
        """Put TLS on the connection.

        Raises ConnectionError when the server has said more than it was asked: what came in clear
        may be anybody's, and must not be taken for what comes over TLS.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                if await self._reader.read(1):
                    raise ConnectionError("it said something in clear that was left for TLS")
        await self._writer.start_tls(self._peer.context, server_hostname=self._peer.host)


class Peer:
    """Another server, where it is, and what protects the way there.

    `tls` says when TLS begins: at once ("implicit"), when `Wire.secure` is called ("starttls"), or
    never.  `verify` and `authorities` are as for `client_context`.  So many connections are open
    `at_once`; whoever wants one more waits.

    Raises ValueError, naming the option of that name, for what makes no sense.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: Literal["implicit", "starttls", "off"] = "implicit",
        verify: bool = True,
        authorities: Path | None = None,
        at_once: int = 20,
    ) -> None:
        if not host or not host.isprintable() or " " in host:
            raise ValueError("option 'server' must be the name or the address of a host")
        if not 0 < port <= 65_535:
            raise ValueError("option 'port' must be from 1 to 65535")
        if at_once < 1:
            raise ValueError("option 'at_once' must be more than 0")
        try:
            self.context = client_context(verify=verify, authorities=authorities)
        except OSError as error:
            raise ValueError(f"option 'authorities': {authorities}: {error}") from error
        self.host = host
        self.port = port
        self.tls = tls
        self._turns = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Wire]:
        """An open wire; it is closed in good manners when all went well, and else at once.

        Raises OSError when there is none to be had.
        """
        async with self._turns:
            reader, writer = await self._open()
            try:
                yield Wire(reader, writer, self)
                writer.close()
                with suppress(OSError):
                    async with asyncio.timeout(GOODBYE):
                        await writer.wait_closed()
            finally:
                writer.transport.abort()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self.context if self.tls == "implicit" else None
        try:
            return await asyncio.open_connection(
                self.host, self.port, ssl=context, limit=LINE_LIMIT
            )
        except UnicodeError as error:  # names that DNS cannot spell
            raise OSError(f"the host's name: {error}") from None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
