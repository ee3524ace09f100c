"""Spawning: from a program to a connection with it, and to its end when that is closed."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack, suppress
from typing import Final

from gatepost.client.connection import Connection
from gatepost.client.destination import Program
from gatepost.client.timeouts import Timeouts
from gatepost.program import Ended, running
from gatepost.protocol.client import ClientProtocol

log = logging.getLogger(__name__)

#: Seconds in which a program ends by itself when the line to it is closed.
GRACE: Final = 3.0


async def connect_to_program(
    program: Program, protocol: ClientProtocol, timeouts: Timeouts
) -> Connection:
    """Start a program with a line to us as its standard input and output.

    Raises OSError when it cannot be run.
    """
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    with there, ExitStack() as on_failure:
        on_failure.callback(here.close)
        _, connection = await loop.create_unix_connection(
            lambda: ProgramConnection(protocol, timeouts, peer=str(program), loop=loop), sock=here
        )
        on_failure.pop_all()  # the connection closes it from here on
        on_failure.callback(connection.abort)
        await connection.start(program, there)
        on_failure.pop_all()
    return connection


class ProgramConnection(Connection):
    """A line to a program that we have started.

    When it is closed, for whatever reason, the program reads that nothing follows.  It has a few
    seconds to end by itself, then it is killed with all that it has started.
    """

    __slots__ = ("_attendance", "_hung_up")
    _attendance: asyncio.Task[None]

    def __init__(
        self,
        protocol: ClientProtocol,
        timeouts: Timeouts,
        *,
        peer: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(protocol, timeouts, peer=peer, loop=loop)
        self._hung_up = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is gone, and the program has to go."""
        super().connection_lost(exc)
        self._hung_up.set()

    async def start(self, program: Program, there: socket.socket) -> None:
        """Start the program with its end of the line; raises OSError."""
        started = self._loop.create_future()
        # It gets a copy, which is not closed under its hands when we are cancelled.
        self._attendance = self._loop.create_task(self._attend(program, there.dup(), started))
        await asyncio.wait((started, self._attendance), return_when=asyncio.FIRST_COMPLETED)
        if self._attendance.done():
            self._attendance.result()

    async def quit(self) -> None:
        """Say goodbye, hang up, and wait until the program has ended."""
        await super().quit()
        await asyncio.shield(self._attendance)

    async def _attend(
        self, program: Program, there: socket.socket, started: asyncio.Future[None]
    ) -> None:
        """Start the program, wait until the line is closed, and see that it ends."""
        with ExitStack() as ours:
            ours.enter_context(there)
            async with running(
                program.arguments, stdin=there.fileno(), stdout=there.fileno()
            ) as process:
                ours.close()  # only the program holds it now, so that we notice when it ends
                started.set_result(None)
                await self._hung_up.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(GRACE):
                        await process.end()
        _report(program, process.ended)


def _report(program: Program, ended: Ended) -> None:
    log.log(
        logging.WARNING if ended.status else logging.INFO,
        "%s ended with %s: %s",
        program.arguments[0],
        ended,
        " | ".join(ended.lines),
    )
