"""Where the log is written: files that are moved, pipes that are shared, others' handlers."""

from __future__ import annotations

import logging
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatepost.log.relay import NotWritten
from gatepost.log.sinks import Handled, LogFile, LogStream
from gatepost.log.text_lines import TextLines

LINES = TextLines("")


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("gatepost", logging.INFO, "", 0, text, None, None)


def write(sink: LogFile | LogStream, *texts: str) -> None:
    sink.write([sink.prepare(record(text)) for text in texts])


# -- A file ---------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gatepost.log"


@pytest.fixture
def file(path: Path) -> Iterator[LogFile]:
    sink = LogFile(str(path), LINES)
    yield sink
    sink.close()


def test_lines_are_appended_to_what_is_there(path: Path) -> None:
    path.write_text("before\n")
    sink = LogFile(str(path), LINES)
    write(sink, "one", "two")
    sink.close()
    assert path.read_text() == "before\none\ntwo\n"


def test_the_file_is_not_for_everybody(file: LogFile, path: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o640 & ~umask


def test_where_it_was_moved_away_a_new_one_is_made(file: LogFile, path: Path) -> None:
    write(file, "one")
    path.rename(path.with_suffix(".1"))
    write(file, "two", "three")
    assert path.with_suffix(".1").read_text() == "one\n"
    assert path.read_text() == "two\nthree\n"


def test_where_another_was_put_into_its_place_that_is_written(file: LogFile, path: Path) -> None:
    write(file, "one")
    new = path.with_name("new")
    new.write_text("new\n")
    new.rename(path)
    write(file, "two")
    assert path.read_text() == "new\ntwo\n"


def test_a_file_that_was_emptied_goes_on_at_its_beginning(file: LogFile, path: Path) -> None:
    write(file, "one")
    path.write_text("")
    write(file, "two")
    assert path.read_text() == "two\n"


def test_where_no_new_one_can_be_made_nothing_is_written_until_it_can(
    file: LogFile, path: Path
) -> None:
    write(file, "one")
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write(file, "two")
    path.rmdir()
    write(file, "three")
    assert (old.read_text(), path.read_text()) == ("one\n", "three\n")


def test_several_processes_share_a_file(path: Path) -> None:
    script = """if True:
        import sys
        from gatepost.log.sinks import LogFile
        sink = LogFile(sys.argv[1], None)
        for number in range(50):
            sink.write([sys.argv[2].encode() * 20_000 + b"\\n"])
    """
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path), letter]) for letter in "abc"
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = path.read_text().splitlines()
    assert {line[0] * 20_000 for line in lines} == set(lines)
    assert len(lines) == 150


@contextmanager
def room(octets: int) -> Iterator[None]:
    """No file can be longer, as if the disk were full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def lost(file: LogFile, *texts: str) -> int:
    """How many of the lines could not be written."""
    with pytest.raises(NotWritten) as caught:
        write(file, *texts)
    assert isinstance(caught.value.trouble, OSError)
    return caught.value.count


def test_a_line_for_which_there_was_no_room_spoils_no_other(file: LogFile, path: Path) -> None:
    with room(100):
        assert lost(file, "a" * 59, "b" * 59, "c" * 59) == 2
        assert lost(file, "d") == 1
    write(file, "e", "f")
    write(file, "g")
    assert path.read_text() == f"{'a' * 59}\n{'b' * 40}\ne\nf\ng\n"


def test_where_there_is_room_for_the_end_of_a_line_alone_the_next_begins_behind_it(
    file: LogFile, path: Path
) -> None:
    with room(4):
        assert lost(file, "abcdef") == 1
    with room(5):
        assert lost(file, "g") == 1
    write(file, "h")
    assert path.read_text() == "abcd\nh\n"


# -- A stream -------------------------------------------------------------------------------------


def test_lines_go_to_a_stream_past_its_buffer() -> None:
    here, there = os.pipe()
    with open(here, "rb") as reader, open(there, "w") as stream:
        sink = LogStream(stream, LINES)
        write(sink, "one", "two")
        assert os.read(reader.fileno(), 100) == b"one\ntwo\n"
        sink.close()
        assert not stream.closed


@pytest.mark.parametrize("length", [10, select.PIPE_BUF // 2, select.PIPE_BUF, 20_000])
def test_processes_that_share_a_pipe_do_not_write_into_each_other_s_lines(length: int) -> None:
    script = """if True:
        import sys
        from gatepost.log.sinks import LogStream
        letter, length = sys.argv[1].encode(), int(sys.argv[2])
        sink = LogStream(sys.stderr, None)
        for number in range(20):
            sink.write([letter * (length - one % 3) + b"\\n" for one in range(10)])
    """
    here, there = os.pipe()
    processes = [
        subprocess.Popen([sys.executable, "-c", script, letter, str(length)], stderr=there)
        for letter in "abc"
    ]
    os.close(there)
    with open(here) as reader:
        lines = reader.read().splitlines()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(lines) == 600
    assert all(len(set(line)) == 1 and length - 3 < len(line) <= length for line in lines)


def test_where_nobody_listens_any_more_all_is_lost_and_counted() -> None:
    here, there = os.pipe()
    with open(there, "w") as stream:
        os.close(here)
        sink = LogStream(stream, LINES)
        with pytest.raises(NotWritten) as caught:
            write(sink, *["x" * 1000] * 20)
    assert caught.value.count == 20
    assert isinstance(caught.value.trouble, BrokenPipeError)


def test_what_utf_8_has_no_room_for_is_spelled_out() -> None:
    class Plain(logging.Formatter):
        """Somebody's formatter, which lets everything through."""

    with open(os.devnull, "w") as stream:
        assert LogStream(stream, Plain()).prepare(record("a\udcff")) == b"a\\udcff\n"


# -- A handler of somebody's ----------------------------------------------------------------------


class Keeps(logging.Handler):
    """Keeps what it gets, except what it cannot bear."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.is_closed = False

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if "unbearable" in text:
            raise RuntimeError(text)
        self.texts.append(text)

    def close(self) -> None:
        self.is_closed = True
        super().close()


def test_a_handler_gets_events_that_are_complete() -> None:
    handler = Keeps()
    sink = Handled(handler)
    values = ["then"]
    event = logging.LogRecord("gatepost", logging.INFO, "", 0, "%s", (values,), None)
    prepared = sink.prepare(event)
    values[0] = "now"
    sink.write([prepared])
    sink.close()
    assert handler.texts == ["['then']"]
    assert handler.is_closed


def test_its_filters_count() -> None:
    handler = Keeps()
    handler.addFilter(lambda event: "private" not in event.getMessage())
    sink = Handled(handler)
    sink.write([sink.prepare(record(text)) for text in ("private", "public")])
    assert handler.texts == ["public"]


def test_what_it_raises_costs_no_other_event() -> None:
    handler = Keeps()
    sink = Handled(handler)
    texts = ["one", "unbearable", "two", "unbearable too", "three"]
    with pytest.raises(NotWritten, match="unbearable too") as caught:
        sink.write([sink.prepare(record(text)) for text in texts])
    assert caught.value.count == 2
    assert handler.texts == ["one", "two", "three"]
