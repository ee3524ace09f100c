"""Programs: one run of each, which is fed, heard, and never outlives its time."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from subprocess import PIPE, STDOUT
from types import MappingProxyType
from typing import IO, Final, NamedTuple, cast

#: Octets that are kept of what a program prints.
OUTPUT_LIMIT: Final = 4096
#: Seconds in which the last words of a program that has ended are heard.  Not until they end: it
#: may have left a program of its own behind that holds the pipe open.
LAST_WORDS: Final = 0.05
#: Seconds in which a program that was killed is gone.
DYING: Final = 1.0
#: What a program gets of our own environment; there may be secrets in the rest.
ENVIRONMENT: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER")

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Ended(NamedTuple):
    """How a program has ended."""

    status: int  #: its exit status; negative: the number of the signal that ended it
    output: bytes  #: the first 4096 octets of what it printed

    @property
    def lines(self) -> list[str]:
        """What it printed, fit for a log: without empty lines and control characters."""
        lines = (
            "".join(character if character.isprintable() else " " for character in line).strip()
            for line in self.output.decode("utf-8", "replace").splitlines()
        )
        return [line for line in lines if line]

    def __str__(self) -> str:
        return f"status {self.status}" if self.status >= 0 else f"signal {-self.status}"


async def run_program(
    arguments: Sequence[str],
    content: Iterable[bytes] = (),
    *,
    seconds: float,
    envelope: bytes | None = None,
    environment: Mapping[str, str] = _NOTHING,
) -> Ended:
    """Run a program, without a shell, and wait for its end.

    `arguments` are its name and its arguments, `content` is what stands on its standard input; it
    need not read all of that.  `envelope` is for the likes of qmail-queue, which read a second
    file on descriptor 1.  The program leads a session of its own, and little of our environment
    is in its; `environment` is put there besides.

    After so many seconds, or when the caller is cancelled, it is killed with all that it started.
    Raises TimeoutError in the first case, OSError when it cannot be run, and what `content` raises.
    """
    with ExitStack() as files:
        stdout: int | IO[bytes] = PIPE
        if envelope is not None:
            stdout = files.enter_context(tempfile.TemporaryFile())
            stdout.write(envelope)
            stdout.seek(0)
        starting = running(arguments, stdout=stdout, environment=environment)
        async with asyncio.timeout(seconds), starting as program:
            await program.feed(content)
            await program.end()
    return program.ended


@asynccontextmanager
async def running(
    arguments: Sequence[str],
    *,
    stdin: int = PIPE,
    stdout: int | IO[bytes] = PIPE,
    environment: Mapping[str, str] = _NOTHING,
) -> AsyncIterator[RunningProgram]:
    """A program that runs as long as one is in here; who leaves before its end kills it.

    `stdin` and `stdout` are descriptors for it to have instead of pipes from and to us.  What it
    prints elsewhere than on that `stdout` is heard.  Raises OSError when it cannot be run.
    """
    starting = asyncio.ensure_future(_start(arguments, stdin, stdout, environment))
    try:
        yield await asyncio.shield(starting)
    finally:  # cancelled while it starts, asyncio would leave programs behind
        await (await starting).stop()


async def _start(
    arguments: Sequence[str],
    stdin: int,
    stdout: int | IO[bytes],
    environment: Mapping[str, str],
) -> RunningProgram:
    inherited = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    _, program = await asyncio.get_running_loop().subprocess_exec(
        RunningProgram,
        *(argument.encode() for argument in arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=STDOUT if stdout == PIPE else PIPE,
        env={**inherited, **environment},
        start_new_session=True,
    )
    return program


class RunningProgram(asyncio.SubprocessProtocol):
    """A program that runs."""

    _transport: asyncio.SubprocessTransport

    def __init__(self) -> None:
        self._output = bytearray()
        self._room = asyncio.Event()  # there is no need to wait before more is written
        self._room.set()
        self._deaf = False  # it has closed its standard input, or is gone
        self._silent = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def ended(self) -> Ended:
        """How it has ended, once it has."""
        status = self._transport.get_returncode()
        # One that was killed may take its time to go.
        return Ended(-signal.SIGKILL if status is None else status, bytes(self._output))

    # -- What asyncio calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It has printed something."""
        self._output += data[: OUTPUT_LIMIT - len(self._output)]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Nobody holds the other end any more."""
        if fd == 0:
            self._give_up_feeding()
        else:
            self._silent.set()

    def process_exited(self) -> None:
        """It has ended; what it started may hold its pipes open."""
        self._give_up_feeding()
        self._gone.set()

    def pause_writing(self) -> None:
        """There is enough to read for now."""
        if not self._deaf:
            self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    # -- What is done to it ---------------------------------------------------------------------

    async def feed(self, content: Iterable[bytes]) -> None:
        """Write to its standard input as long as it reads, and close that."""
        pipe = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        for piece in content:
            if self._deaf or pipe.is_closing():
                break
            pipe.write(piece)
            await self._room.wait()
        pipe.close()

    async def end(self) -> None:
        """Wait until it has ended and was heard."""
        await self._gone.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._silent.wait()

    async def stop(self) -> None:
        """See that it is gone, with all that it started unless it has ended by itself."""
        if not self._gone.is_set():
            # Before its standard input is closed: half a message must not pass for a whole one.
            # One that has become another user, as by sudo, is not ours to kill any more.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(DYING):
                    await self._gone.wait()
        with suppress(PermissionError):
            self._transport.close()

    def _give_up_feeding(self) -> None:
        self._deaf = True
        self._room.set()
