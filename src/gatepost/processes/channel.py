"""Channel: what the supervisor and a worker tell each other, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any, TypeAlias

#: What is told: a verb under `say`, and what goes with it.
Told: TypeAlias = dict[str, Any]

#: Octets of one message.
MESSAGE_LIMIT = 16 * 1024 * 1024


class Channel:
    """One end of a connected pair of sockets, or of a connection to the control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """A channel over a connected socket."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=MESSAGE_LIMIT))

    def tell(self, say: str, **more: Any) -> None:
        """Tell the other side; if it is gone, nobody hears it."""
        if not self._writer.is_closing():  # else asyncio would warn each time
            self._writer.write(json.dumps({"say": say, **more}).encode() + b"\n")

    async def flush(self) -> None:
        """Wait until the other side has taken most of what was told; not at all if it is gone."""
        with suppress(OSError):
            await self._writer.drain()

    async def hear(self) -> Told | None:
        """What the other side tells next; None when it is gone, or talks nonsense."""
        try:
            told = json.loads(await self._reader.readline())
        except (OSError, ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) and "say" in told else None

    async def close(self) -> None:
        """Say no more, when everything is said."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Say no more, also of what was told and is not taken yet."""
        transport = self._writer.transport
        # asyncio stumbles where nothing is left to abort.
        if transport.get_write_buffer_size() or not transport.is_closing():
            transport.abort()
