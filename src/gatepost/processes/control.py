"""The control socket: what `gatepost reload`, `stop` and `status` ask a server that runs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from gatepost.processes.channel import MESSAGE_LIMIT, Channel, Told
from gatepost.server.listener import check_that_nobody_has
from gatepost.server.socket_file import SocketFile

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
        self._file: SocketFile | None = None

    async def open(self) -> None:
        """Begin to answer.  Raises OSError, also where another server uses the directory."""
        check_that_nobody_has(self._path)
        self._path.unlink(missing_ok=True)
        bound = _bound(self._path)
        self._file = SocketFile(self._path)
        self._server = await asyncio.start_unix_server(
            self._answer_one, sock=bound, start_serving=False
        )
        await self._server.start_serving()

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._file is not None:
            self._file.remove()

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
        except (TimeoutError, asyncio.CancelledError):  # it is too slow, or our program ends
            channel.abort()


def _bound(path: Path) -> socket.socket:
    """A socket that only its owner and root can open."""
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # it holds for the whole process: nothing may be awaited meanwhile
    try:
        bound.bind(os.fspath(path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    return bound


async def ask(directory: Path, say: str, *, within: float = ANSWERING) -> Told:
    """What the server with this state directory answers.  Raises NobodyThere."""
    try:
        streams = await asyncio.open_unix_connection(directory / NAME, limit=MESSAGE_LIMIT)
    except PermissionError as error:
        who = "only its own user and root may ask"
        raise NobodyThere(f"{who} the server that keeps its state in {directory}") from error
    except OSError as error:
        raise NobodyThere(f"no server runs that keeps its state in {directory}") from error
    channel = Channel(*streams)
    try:
        async with asyncio.timeout(within):
            channel.tell(say)
            answer = await channel.hear()
    except TimeoutError:
        raise NobodyThere(f"the server has not answered within {within:g} seconds") from None
    finally:
        channel.abort()
    if answer is None:
        raise NobodyThere("the server has gone without an answer")
    return answer
