"""Programs: fed and heard within bounds, under asyncio and uvloop, and none outlives us."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop

from gatepost import Ended, run_program
from gatepost.program import ENVIRONMENT, OUTPUT_LIMIT, running

Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
NOBODY = 65_534
LARGE = [b"0123456789abcdef" * 4096] * 100  # more than any pipe holds


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def sh(
    script: str,
    content: Iterable[bytes] = (),
    *,
    seconds: float = 20,
    **others: Any,
) -> Ended:
    return await run_program(["sh", "-c", script], content, seconds=seconds, **others)


@pytest.mark.parametrize("content", [[], [b""], [b"a", b"", b"b"], LARGE])
def test_it_is_fed(content: list[bytes], run: Runner, tmp_path: Path) -> None:
    assert run(run_program(["dd", "of=file", "bs=7000", "status=none"], content, seconds=20)) == (
        Ended(0, b"")
    )
    assert (tmp_path / "file").read_bytes() == b"".join(content)


def test_it_is_heard(run: Runner) -> None:
    assert run(sh("echo one; echo two >&2; exit 3")) == Ended(3, b"one\ntwo\n")


def test_it_is_heard_while_it_is_fed(run: Runner) -> None:
    assert run(sh("cat", LARGE)) == Ended(0, b"".join(LARGE)[:OUTPUT_LIMIT])


def test_a_babbler_fills_no_memory(run: Runner) -> None:
    assert run(sh("yes | head -c 3000000")) == Ended(0, b"y\n" * (OUTPUT_LIMIT // 2))


@pytest.mark.parametrize("script", ["exit 7", "exec < /dev/null; exit 7", "head -c 1; exit 7"])
def test_it_need_not_read(script: str, run: Runner) -> None:
    assert run(sh(script, LARGE)).status == 7


def test_a_signal_is_told_from_a_status(run: Runner) -> None:
    assert run(sh("kill -SEGV $$")) == Ended(-11, b"")
    assert [str(Ended(-11, b"")), str(Ended(3, b""))] == ["signal 11", "status 3"]


def test_descriptor_1_may_be_read(run: Runner) -> None:
    script = "cat >&2; printf . >&2; cat <&1 >&2"
    assert run(sh(script, [b"message"], envelope=b"F\0T\0\0")) == Ended(0, b"message.F\0T\0\0")


def test_it_gets_little_of_our_environment(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    lines = run(sh("env")).output.decode().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} <= set(ENVIRONMENT)
    assert "PATH" in names


def test_more_can_be_put_into_its_environment(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "C")
    more = {"TCPREMOTEIP": "192.0.2.1", "LANG": "C.UTF-8"}
    ended = run(sh('echo "$TCPREMOTEIP $LANG ${PATH:+path}"', environment=more))
    assert ended == Ended(0, b"192.0.2.1 C.UTF-8 path\n")


@pytest.mark.parametrize("program", ["/nowhere/to/be/found", "no-such-program", "/", "./file"])
def test_what_cannot_be_run_is_an_error(program: str, run: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no program\n")
    with pytest.raises(OSError, match=r"."):
        run(run_program([program], seconds=20))


# -- Time -----------------------------------------------------------------------------------------


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[int]:
    """A FIFO that is read here, and that programs hold open for writing."""
    os.mkfifo(tmp_path / "lifeline")
    descriptor = os.open(tmp_path / "lifeline", os.O_RDONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def let_go(lifeline: int) -> bool:
    """Whether nobody holds the FIFO open any more."""
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    while True:
        try:
            if not os.read(lifeline, 100):
                return True
        except BlockingIOError:
            if not poll.poll(5000):
                return False


STUBBORN = 'trap "" TERM HUP; (echo here; exec sleep 100) > lifeline & cat > /dev/null; wait'


# fmt: off
TOO_LONG = [
    (STUBBORN,                                     []),
    ("echo here > lifeline; exec sleep 100",       LARGE),
    ("exec > lifeline; echo here; exec sleep 100", LARGE),
]
# fmt: on


@pytest.mark.parametrize(("script", "content"), TOO_LONG)
def test_after_its_time_it_is_killed_with_all_that_it_started(
    script: str, content: list[bytes], run: Runner, lifeline: int
) -> None:
    with pytest.raises(TimeoutError):
        run(sh(script, content, seconds=0.3))
    assert let_go(lifeline)


def test_when_the_caller_is_cancelled_it_is_killed(run: Runner, lifeline: int) -> None:
    async def cancelled() -> None:
        running = asyncio.ensure_future(sh(STUBBORN))
        begun = asyncio.Event()
        asyncio.get_running_loop().add_reader(lifeline, begun.set)
        await begun.wait()
        asyncio.get_running_loop().remove_reader(lifeline)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(cancelled())
    assert let_go(lifeline)


@pytest.mark.parametrize("turns", range(8))
def test_it_is_killed_while_it_starts(turns: int, run: Runner, lifeline: int) -> None:
    async def cancelled() -> None:
        running = asyncio.ensure_future(sh(STUBBORN))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(cancelled())
    assert let_go(lifeline)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start what it may not kill later")
def test_what_cannot_be_killed_is_left_alone(run: Runner, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "end")
    end = os.open(tmp_path / "end", os.O_RDWR)

    async def leave() -> Ended:
        try:
            async with running(["sh", "-c", "read line < end; exit 7"]) as program:
                os.setresuid(NOBODY, NOBODY, 0)
        finally:
            os.setresuid(0, 0, 0)
            os.write(end, b"now\n")
        await program.end()
        return program.ended

    assert run(leave()) == Ended(7, b"")
    os.close(end)


def test_content_that_breaks_off_does_not_pass_for_a_whole(run: Runner, tmp_path: Path) -> None:
    def content() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is broken")

    with pytest.raises(OSError, match="the disk is broken"):
        run(sh("cat > /dev/null && echo whole > file", content()))
    assert not (tmp_path / "file").exists()


def test_it_may_leave_another_behind(run: Runner, tmp_path: Path) -> None:
    for name in ("wake", "end"):
        os.mkfifo(tmp_path / name)
    assert run(sh("echo begun; (cat wake; echo done > end) & exit 0")) == Ended(0, b"begun\n")
    (tmp_path / "wake").write_text("go on\n")
    assert (tmp_path / "end").read_text() == "done\n", "it was not killed"
