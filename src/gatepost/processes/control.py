"""The control socket: what `gatepost reload`, `stop` and `status` ask a server that runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from gatepost.processes.channel import Channel, Told
from gatepost.server.listener import check_that_nobody_has

#: What the socket is called in the state directory.
NAME = "control.sock"
#: Seconds in which a question must be asked, and an answer must be taken.
PATIENCE = 5.0
#: Seconds in which a question must be answered: workers of a new configuration have a minute to
#: come up, and there may be one reload before ours.
ANSWERING = 150.0

Answer = Callable[[Told], Awaitable[Told]]


class NobodyThere(Exception):
    """No server runs with this state directory, or it does not answer."""


class ControlSocket:
    """Answers one question a connection; only its owner and root can ask."""

    def __init__(self, directory: Path, answer: Answer, *, patience: float = PATIENCE) -> None:
        self._path = directory / NAME
        self._answer = answer
        self._patience = patience
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Begin to answer.  Raises OSError, also where another server uses the directory."""
        check_that_nobody_has(self._path)
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._answer_one, self._path)
        finally:
            os.umask(mask)

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer)
        try:
            async with asyncio.timeout(self._patience):
                told = await channel.hear()
            if told is not None:
                answer = await self._answer(told)
                channel.tell(answer.pop("say"), **answer)
            async with asyncio.timeout(self._patience):
                await channel.close()
        except TimeoutError:
            channel.abort()


async def ask(directory: Path, say: str, *, within: float = ANSWERING) -> Told:
    """What the server with this state directory answers.  Raises NobodyThere."""
    try:
        reader, writer = await asyncio.open_unix_connection(directory / NAME)
    except OSError as error:
        raise NobodyThere(f"no server runs that keeps its state in {directory}") from error
    channel = Channel(reader, writer)
    channel.tell(say)
    try:
        async with asyncio.timeout(within):
            answer = await channel.hear()
    except TimeoutError:
        channel.abort()
        raise NobodyThere(f"the server has not answered within {within:g} seconds") from None
    await channel.close()
    if answer is None:
        raise NobodyThere("the server has gone without an answer")
    return answer
