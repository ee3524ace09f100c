"""The control socket: who asks is answered, and nobody holds it up."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pwd
import select
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gatepost.processes.channel import Told
from gatepost.processes.control import NAME, Answer, ControlSocket, NobodyThere, ask


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 10))


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory; its path is short enough for a socket's."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever comes and goes, nobody is told of it."""
    with caplog.at_level(logging.INFO):
        yield
    assert caplog.records == []


async def repeated(told: Told) -> Told:
    """Answers with the question."""
    return {"say": "done", "told": told}


@asynccontextmanager
async def answering(
    directory: Path, answer: Answer = repeated, *, patience: float = 5.0
) -> AsyncIterator[ControlSocket]:
    control = ControlSocket(directory, answer, patience=patience)
    await control.open()
    try:
        yield control
    finally:
        control.close()


async def said(directory: Path, octets: bytes) -> bytes:
    """All that is answered, until the connection is closed."""
    reader, writer = await asyncio.open_unix_connection(directory / NAME)
    heard = b""
    with suppress(ConnectionError):
        writer.write(octets)
        heard = await reader.read()
    writer.close()
    return heard


# -- Answers --------------------------------------------------------------------------------------


def test_a_question_is_answered(directory: Path) -> None:
    async def talk() -> None:
        async with answering(directory):
            assert await ask(directory, "status") == {"say": "done", "told": {"say": "status"}}
            assert await ask(directory, "stop") == {"say": "done", "told": {"say": "stop"}}

    run(talk())


def test_a_connection_is_good_for_one_question(directory: Path) -> None:
    async def talk() -> None:
        async with answering(directory):
            heard = await said(directory, b'{"say": "status"}\n' * 3)
            assert heard == b'{"say": "done", "told": {"say": "status"}}\n'

    run(talk())


def test_a_long_answer_is_heard(directory: Path) -> None:
    complaints = [f"gatepost.toml:{line}: unknown option 'x'" for line in range(50_000)]

    async def complain(_: Told) -> Told:
        return {"say": "done", "complaints": complaints}

    async def talk() -> None:
        async with answering(directory, complain):
            assert await ask(directory, "reload") == {"say": "done", "complaints": complaints}

    run(talk())


def test_others_are_answered_while_one_waits(directory: Path) -> None:
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def answer(told: Told) -> Told:
        if told["say"] == "reload":
            waits.set()
            await goes_on.wait()
        return {"say": told["say"]}

    async def talk() -> None:
        async with answering(directory, answer):
            reload = asyncio.create_task(ask(directory, "reload"))
            await waits.wait()
            assert await ask(directory, "status") == {"say": "status"}
            goes_on.set()
            assert await reload == {"say": "reload"}

    run(talk())


# -- Clients that are no good ---------------------------------------------------------------------


def test_a_silent_client_is_cut_off(directory: Path) -> None:
    async def talk() -> None:
        async with answering(directory, patience=0.05):
            assert await said(directory, b"") == b""
            assert await said(directory, b'{"say": "status"') == b""

    run(talk())


@pytest.mark.parametrize(
    "octets",
    [b"\n", b"status\n", b"{}\n", b'["say"]\n', b"[" * 9_999 + b"\n", b'{"say": "' + b"x" * 99_999],
    ids=["nothing", "a word", "no say", "a list", "nested too deep", "an endless line"],
)  # fmt: skip
def test_nonsense_is_not_answered(directory: Path, octets: bytes) -> None:
    async def talk() -> None:
        async with answering(directory):
            assert await said(directory, octets) == b""
            assert (await ask(directory, "status"))["say"] == "done"

    run(talk())


def test_a_client_may_go_before_the_answer(directory: Path) -> None:
    asked, goes_on, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(told: Told) -> Told:
        if told["say"] == "reload":
            asked.set()
            await goes_on.wait()
            answered.set()
        return {"say": "done", "complaints": ["x" * 1_000_000]}

    async def talk() -> None:
        async with answering(directory, answer):
            _, writer = await asyncio.open_unix_connection(directory / NAME)
            writer.write(b'{"say": "reload"}\n')
            await asked.wait()
            writer.transport.abort()
            goes_on.set()
            await answered.wait()
            assert (await ask(directory, "status"))["say"] == "done"

    run(talk())


def test_a_client_that_does_not_take_its_answer_is_cut_off(directory: Path) -> None:
    much = "x" * 4_000_000  # more than the kernel takes while nobody reads

    async def answer(_: Told) -> Told:
        return {"say": "done", "much": much}

    async def talk() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            async with answering(directory, answer, patience=0.05):
                client.connect(os.fspath(directory / NAME))
                client.sendall(b'{"say": "status"}\n')
                await hung_up_on(client)
            heard = 0
            with suppress(ConnectionError):
                while octets := client.recv(1_000_000):
                    heard += len(octets)
            assert 0 < heard < len(much)

    run(talk())


async def hung_up_on(client: socket.socket) -> None:
    """Wait until the other side is gone, and read nothing."""
    watch = select.poll()
    watch.register(client, 0)
    while not watch.poll(0):  # noqa: ASYNC110  nobody tells of it
        await asyncio.sleep(0.01)


def test_clients_that_are_there_at_the_end_are_hung_up_on(directory: Path) -> None:
    asked = asyncio.Event()

    async def never(_: Told) -> Told:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as waiting:

        async def talk() -> None:
            async with answering(directory, never):
                silent.connect(os.fspath(directory / NAME))
                waiting.connect(os.fspath(directory / NAME))
                waiting.sendall(b'{"say": "status"}\n')
                await asked.wait()

        run(talk())
        assert silent.recv(1) == waiting.recv(1) == b""


# -- The socket -----------------------------------------------------------------------------------


def test_only_its_owner_can_open_it(directory: Path) -> None:
    async def talk() -> None:
        async with answering(directory):
            assert stat.S_IMODE((directory / NAME).stat().st_mode) == 0o600

    run(talk())


def test_what_others_write_meanwhile_has_the_usual_permissions(directory: Path) -> None:
    async def make() -> None:
        (directory / "other").mkdir()

    async def talk() -> None:
        control = ControlSocket(directory, repeated)
        await asyncio.gather(control.open(), make())
        control.close()

    mask = os.umask(0o022)
    try:
        run(talk())
    finally:
        os.umask(mask)
    assert stat.S_IMODE((directory / "other").stat().st_mode) == 0o755


def test_a_second_server_is_refused(directory: Path) -> None:
    async def talk() -> None:
        async with answering(directory):
            second = ControlSocket(directory, repeated)
            with pytest.raises(OSError, match="in use") as caught:
                await second.open()
            assert caught.value.errno == errno.EADDRINUSE
            second.close()
            assert (await ask(directory, "status"))["say"] == "done"

    run(talk())


def test_a_socket_that_was_left_behind_is_replaced(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(directory / NAME))
        dead.listen()

    async def talk() -> None:
        async with answering(directory):
            assert (await ask(directory, "status"))["say"] == "done"

    run(talk())
    assert list(directory.iterdir()) == []


def test_what_is_no_socket_stays(directory: Path) -> None:
    (directory / NAME).write_text("of somebody else")

    async def talk() -> None:
        control = ControlSocket(directory, repeated)
        with pytest.raises(FileExistsError):
            await control.open()
        control.close()

    run(talk())
    assert (directory / NAME).read_text() == "of somebody else"


def test_only_its_own_socket_is_removed(directory: Path) -> None:
    async def talk() -> None:
        async with answering(directory) as former:
            (directory / NAME).unlink()
            async with answering(directory):
                former.close()
                assert (await ask(directory, "status"))["say"] == "done"

    run(talk())


def test_it_may_be_closed_before_it_is_open(directory: Path) -> None:
    async def talk() -> None:
        control = ControlSocket(directory, repeated)
        opening = asyncio.create_task(control.open())
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait((opening,))
        assert opening.cancelled()
        control.close()
        control.close()

    run(talk())
    assert list(directory.iterdir()) == []


def test_a_directory_that_is_not_there(directory: Path) -> None:
    async def talk() -> None:
        control = ControlSocket(directory / "none", repeated)
        with pytest.raises(FileNotFoundError):
            await control.open()
        control.close()

    run(talk())


# -- Asking ---------------------------------------------------------------------------------------


def test_nobody_is_there(directory: Path) -> None:
    async def talk() -> None:
        with pytest.raises(
            NobodyThere, match=f"no server runs that keeps its state in {directory}"
        ):
            await ask(directory, "status")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.fspath(directory / NAME))
        with pytest.raises(NobodyThere, match="no server runs"):
            await ask(directory, "status")

    run(talk())


def test_no_answer_within_the_time(directory: Path) -> None:
    async def never(_: Told) -> Told:
        await asyncio.Event().wait()
        raise AssertionError

    async def talk() -> None:
        async with answering(directory, never):
            with pytest.raises(NobodyThere, match=r"has not answered within 0\.05 seconds"):
                await ask(directory, "status", within=0.05)

    run(talk())


@pytest.mark.parametrize("octets", [b"", b"done\n", b'{"say": "do'])
def test_a_server_that_goes_without_an_answer(directory: Path, octets: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(octets)
        writer.close()

    async def talk() -> None:
        async with await asyncio.start_unix_server(answer, directory / NAME):
            with pytest.raises(NobodyThere, match="has gone without an answer"):
                await ask(directory, "status")

    run(talk())


ASKED_BY_SOMEBODY_ELSE = """\
import asyncio, os, sys
from pathlib import Path
from gatepost.processes.control import NobodyThere, ask
os.setgroups([])
os.setresgid(int(sys.argv[2]), int(sys.argv[2]), int(sys.argv[2]))
os.setresuid(int(sys.argv[1]), int(sys.argv[1]), int(sys.argv[1]))
try:
    print(asyncio.run(ask(Path(sys.argv[3]), "status")))
except NobodyThere as error:
    print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_somebody_else_may_not_ask(directory: Path) -> None:
    directory.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    words = [str(nobody.pw_uid), str(nobody.pw_gid), os.fspath(directory)]

    async def talk() -> None:
        async with answering(directory):
            asking = await asyncio.create_subprocess_exec(
                sys.executable, "-c", ASKED_BY_SOMEBODY_ELSE, *words, stdout=subprocess.PIPE
            )
            told, _ = await asking.communicate()
            assert told.decode() == (
                "only its own user and root may ask the server that keeps its state in "
                f"{directory}\n"
            )

    run(talk())
