"""From the table [log] to a log: what is written, in which form, and where."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gatepost.config.log import LogSettings
from gatepost.log import relay as relay_module
from gatepost.log import set_up as set_up_module
from gatepost.log.relay import Relay
from gatepost.log.set_up import CannotLog, log_nothing, log_to, set_up

DEADLINE = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gatepost.log"


def tell(text: str, *, logger: str = "gatepost", level: int = logging.INFO) -> None:
    logging.getLogger(logger).log(level, "%s", text)


def told(path: Path) -> list[str]:
    """What was logged to a file, all of it, without the times."""
    log_nothing()
    lines = path.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line) for line in lines)
    return [line.partition(" ")[2] for line in lines]


# -- Levels ---------------------------------------------------------------------------------------


def test_what_is_less_severe_is_not_logged(path: Path) -> None:
    set_up(LogSettings(str(path), level="warning"), quiet=False)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        tell(logging.getLevelName(level), level=level)
        tell(logging.getLevelName(level), logger="gatepost.server.x", level=level)
        tell(logging.getLevelName(level), logger="aiohttp", level=level)
    assert told(path) == ["warning: WARNING"] * 3 + ["error: ERROR"] * 3


def test_one_logger_may_say_more_than_the_others_or_less(path: Path) -> None:
    levels = {"gatepost.plugin.domains": "debug", "gatepost.session": "error"}
    set_up(LogSettings(str(path), level="info", levels=levels), quiet=False)  # type: ignore[arg-type]  # mypy takes the values for any texts
    for logger in ("gatepost.plugin.domains", "gatepost.session", "gatepost.message"):
        for level in (logging.DEBUG, logging.INFO, logging.ERROR):
            tell(logger, logger=logger, level=level)
    assert told(path) == [
        "gatepost.plugin.domains",
        "gatepost.plugin.domains",
        "error: gatepost.plugin.domains",
        "error: gatepost.session",
        "gatepost.message",
        "error: gatepost.message",
    ]


def test_libraries_are_not_asked_for_everything(path: Path) -> None:
    set_up(LogSettings(str(path), level="debug"), quiet=False)
    tell("ours", level=logging.DEBUG)
    tell("theirs", logger="ldap3", level=logging.DEBUG)
    tell("theirs, too", logger="ldap3")
    assert told(path) == ["ours", "theirs, too"]


def test_quiet_is_above_all_levels(path: Path) -> None:
    levels = {"gatepost.plugin.domains": "debug", "gatepost.session": "error"}
    set_up(LogSettings(str(path), level="debug", levels=levels), quiet=True)  # type: ignore[arg-type]  # as above
    for logger in ("gatepost", "gatepost.plugin.domains", "gatepost.session", "aiohttp"):
        tell(logger, logger=logger)
        tell(logger, logger=logger, level=logging.WARNING)
    assert told(path) == [
        "warning: gatepost",
        "warning: gatepost.plugin.domains",
        "warning: aiohttp",
    ]


# -- Targets --------------------------------------------------------------------------------------


def test_a_file_is_written_as_json_where_that_is_wanted(path: Path) -> None:
    set_up(LogSettings(str(path), format="json"), quiet=False)
    tell("a\nb")
    log_nothing()
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["text"] == r"a\nb"


@contextmanager
def standard_error(monkeypatch: pytest.MonkeyPatch, here: int, there: int) -> Iterator[int]:
    """Both ends of what takes the place of standard error; the first is to be read."""
    with open(there, "w", closefd=True) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield here
    os.close(here)


def test_on_a_terminal_there_is_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_error(monkeypatch, *os.openpty()) as screen:
        set_up(LogSettings(), quiet=False)
        tell("\x1b[2Jforged", level=logging.ERROR)
        log_nothing()
        shown = os.read(screen, 1000)
    assert re.fullmatch(
        rb"\x1b\[2m\d\d:\d\d:\d\d\x1b\[0m \x1b\[31merror: \\x1b\[2Jforged\x1b\[0m\r\n", shown
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_elsewhere_there_is_none(form: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_error(monkeypatch, *os.pipe()) as pipe:
        set_up(LogSettings(format=form), quiet=False)
        tell("broken", level=logging.ERROR)
        log_nothing()
        shown = os.read(pipe, 1000)
    assert b"\x1b" not in shown
    assert (b"error: broken\n" in shown) is (form == "text")


def listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(path))
    listening.settimeout(DEADLINE)
    return listening


@pytest.mark.parametrize(
    ("settings", "heard"),
    [
        (LogSettings("journald"), rb"MESSAGE=a\\nb\nPRIORITY=4\n(?s:.*)"),
        (LogSettings("syslog"), rb"<20>gatepost\[\d+\]: warning: a\\nb"),
        (LogSettings("syslog", format="json"), rb'<20>gatepost\[\d+\]: {"time":.*"a\\\\nb"}'),
    ],
)
def test_daemons_of_this_machine_are_told(
    settings: LogSettings, heard: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(set_up_module._PLACES, settings.target, str(tmp_path / "socket"))
    with listen(tmp_path / "socket") as daemon:
        set_up(settings, quiet=False)
        tell("a\nb", level=logging.WARNING)
        assert re.fullmatch(heard, daemon.recv(10_000))


HANDLERS = """
import logging

class Keeps(logging.Handler):
    kept = []

    def __init__(self, prefix="", *, form=None):
        super().__init__()
        self.prefix = prefix
        if form:
            self.setFormatter(logging.Formatter(form))

    def emit(self, record):
        self.kept.append(self.prefix + self.format(record))

    def close(self):
        self.kept.append("closed")
        super().close()

class Breaks(logging.Handler):
    def __init__(self):
        raise RuntimeError("no licence")
"""


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of somebody's, with handlers."""
    (tmp_path / "somebodys_handlers.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("somebodys_handlers", None)


@pytest.mark.usefixtures("handlers")
def test_a_handler_is_made_with_its_options() -> None:
    options = {"prefix": "> ", "form": "%(name)s %(levelname)s %(message)s"}
    set_up(LogSettings("somebodys_handlers:Keeps", options=options), quiet=False)
    tell("a\nb", level=logging.WARNING)
    log_nothing()
    kept = sys.modules["somebodys_handlers"].Keeps.kept
    assert kept == ["> gatepost WARNING a\nb", "closed"]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_handler_without_a_formatter_gets_ours(form: Any) -> None:
    set_up(LogSettings("somebodys_handlers:Keeps", format=form), quiet=False)
    tell("a\nb", level=logging.WARNING)
    log_nothing()
    line = sys.modules["somebodys_handlers"].Keeps.kept[0]
    if form == "json":
        assert json.loads(line)["text"] == r"a\nb"
    else:
        assert re.fullmatch(r"\d{4}-\S* warning: a\\nb", line)


def test_a_handler_of_python_s_own_will_do(path: Path) -> None:
    target = "logging.handlers:RotatingFileHandler"
    options = {"filename": str(path), "maxBytes": 100, "backupCount": 9}
    set_up(LogSettings(target, options=options), quiet=False)
    for number in range(5):
        tell(f"{number}{'x' * 60}")
    log_nothing()
    assert len(list(path.parent.glob("gatepost.log*"))) == 5


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("/nowhere/at/all", "cannot log to /nowhere/at/all: No such file or directory"),
        ("syslog", r"cannot log to syslog \(/.*/socket\): No such file or directory"),
        ("journald", r"cannot log to journald \(/.*/socket\): No such file or directory"),
        (
            "somebodys_handlers:Breaks",
            r"cannot log to somebodys_handlers:Breaks: RuntimeError\('no licence'\)",
        ),
    ],
)
def test_where_the_target_cannot_be_had_the_log_before_stays(
    target: str, complaint: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for daemon in ("syslog", "journald"):
        monkeypatch.setitem(set_up_module._PLACES, daemon, str(tmp_path / "socket"))
    set_up(LogSettings(str(path), levels={"gatepost.session": "error"}), quiet=False)
    with pytest.raises(CannotLog, match=f"^{complaint}$"):
        set_up(LogSettings(target, level="debug"), quiet=False)
    tell("afterwards")
    tell("still too little", logger="gatepost.session")
    tell("still too little", level=logging.DEBUG)
    assert told(path) == ["afterwards"]


# -- Again ----------------------------------------------------------------------------------------


def test_another_log_takes_over_and_the_one_before_is_finished(path: Path) -> None:
    other = path.with_name("other.log")
    set_up(LogSettings(str(path)), quiet=False)
    for number in range(2000):
        tell(str(number))
    set_up(LogSettings(str(other)), quiet=False)
    assert path.read_text().count("\n") == 2000
    tell("afterwards")
    assert told(other) == ["afterwards"]
    assert path.read_text().count("\n") == 2000


def test_whoever_logs_meanwhile_loses_nothing(path: Path) -> None:
    set_up(LogSettings(str(path)), quiet=False)
    goes_on, began = threading.Event(), threading.Event()
    goes_on.set()
    count = 0

    def talk() -> None:
        nonlocal count
        while goes_on.is_set():
            tell(str(count))
            count += 1
            began.set()
            threading.Event().wait(0.0005)  # slower than what can be written

    thread = threading.Thread(target=talk)
    thread.start()
    assert began.wait(DEADLINE)
    for _ in range(20):
        set_up(LogSettings(str(path)), quiet=False)
    goes_on.clear()
    thread.join(DEADLINE)
    assert sorted(map(int, told(path))) == list(range(count))


def test_levels_that_are_named_no_more_are_those_of_the_others(path: Path) -> None:
    set_up(LogSettings(str(path), levels={"aiohttp": "debug"}), quiet=False)
    assert logging.getLogger("aiohttp").level == logging.DEBUG
    set_up(LogSettings(str(path), levels={"gatepost.session": "error"}), quiet=False)
    assert logging.getLogger("aiohttp").level == logging.NOTSET
    assert logging.getLogger("gatepost.session").level == logging.ERROR
    log_nothing()
    assert logging.getLogger("gatepost.session").level == logging.NOTSET
    assert logging.getLogger("gatepost").level == logging.NOTSET


def test_a_log_that_hangs_holds_the_next_one_up_for_its_farewell_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "FAREWELL", 0.01)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    set_up(LogSettings(str(tmp_path / "pipe")), quiet=False)
    (stuck,) = logging.getLogger().handlers
    assert isinstance(stuck, Relay)
    for _ in range(100):
        tell("x" * 4000)
    set_up(LogSettings(str(path)), quiet=False)
    tell("afterwards")
    assert told(path) == ["afterwards"]
    assert stuck._thread.is_alive()
    os.close(reader)  # it may go
    stuck._thread.join(DEADLINE)
    assert not stuck._thread.is_alive()


def test_there_is_one_thread_however_often_it_is_set_up(path: Path) -> None:
    before = threading.active_count()
    for _ in range(5):
        set_up(LogSettings(str(path)), quiet=False)
    assert threading.active_count() == before + 1
    log_nothing()
    assert threading.active_count() == before


# -- Without settings -----------------------------------------------------------------------------


def test_before_there_are_settings_all_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    log_to(sys.stderr, logging.INFO)
    tell("at once")
    assert capsys.readouterr().err.endswith(" at once\n")


def test_nothing_is_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    log_nothing()
    tell("broken", level=logging.ERROR)
    assert capfd.readouterr().err == ""


# -- A process that ends --------------------------------------------------------------------------

PROCESS = """
import logging, sys
from gatepost.config.log import LogSettings
from gatepost.log import relay
from gatepost.log.set_up import set_up

relay.FAREWELL = float(sys.argv[1])
set_up(LogSettings(*sys.argv[2:]), quiet=False)
log = logging.getLogger("gatepost")
for number in range(20_000):
    log.info("%05d %s", number, "x" * 100)
print("said all", flush=True)
sys.stdin.read()
log.info("and goodbye")
"""
HANGS = """
import logging, threading

class Hangs(logging.Handler):
    def emit(self, record):
        threading.Event().wait()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process that logs much, waits for the end of its input, and ends."""
    processes: list[subprocess.Popen[str]] = []

    def started(*settings: str, farewell: float = 0.1) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(farewell), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def said_all(process: subprocess.Popen[str]) -> bool:
    assert process.stdout
    return process.stdout.readline() == "said all\n"


def end(process: subprocess.Popen[str]) -> int:
    assert process.stdin
    process.stdin.close()
    process.stdin = None
    return process.wait(60)


def test_a_pipe_that_nobody_reads_holds_nobody_up(start: Start) -> None:
    process = start()
    assert said_all(process)
    assert end(process) == 0


def test_when_somebody_reads_again_he_hears_what_he_has_missed(start: Start) -> None:
    process = start(farewell=30.0)
    assert said_all(process)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = told.splitlines()
    numbers = [int(line.split()[1]) for line in lines if line.endswith("x")]
    assert numbers == sorted(numbers)
    missed = sum(int(match) for match in re.findall(r" (\d+) lines are missing here", told))
    assert missed > 0
    assert len(numbers) + told.count("and goodbye") + missed == 20_001


def test_a_handler_that_hangs_does_not_keep_a_process_from_ending(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "hanging.py").write_text(HANGS)
    process = start("hanging:Hangs")
    assert said_all(process)
    assert end(process) == 0


def test_nor_does_a_log_that_fails_while_standard_error_hangs(start: Start, tmp_path: Path) -> None:
    """What is told beside the log goes to a pipe that nobody reads and that is full."""
    here, there = os.pipe()
    os.set_blocking(there, False)
    try:
        while True:
            os.write(there, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(there, True)
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, "0.1", "/dev/full"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=there,
        text=True,
    )
    try:
        assert said_all(process)
        assert end(process) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(here)
        os.close(there)
