"""A thread writes the log: nobody else waits for it, whatever becomes of the writing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from gatepost.identifier import SESSION_ID
from gatepost.log import relay as relay_module
from gatepost.log.record import text_of
from gatepost.log.relay import NotWritten, Relay

#: Seconds within which a thread does what it was told.
DEADLINE = 10.0


@dataclass
class Paper:
    """A sink that keeps what is written, and can be told to be stuck or broken."""

    lines: list[str] = field(default_factory=list)
    batches: int = 0
    #: what the next writings raise, one after the other; None: they succeed
    troubles: list[Exception | None] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)  #: not set: it is stuck
    began: threading.Event = field(default_factory=threading.Event)  #: somebody writes
    wrote: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False
    meanwhile: Callable[[], None] = lambda: None

    def prepare(self, record: logging.LogRecord) -> str:
        return text_of(record)

    def write(self, batch: list[str]) -> None:
        self.began.set()
        assert self.free.wait(DEADLINE)
        self.meanwhile()
        with self.wrote:
            self.batches += 1
            self.wrote.notify_all()
            trouble = self.troubles.pop(0) if self.troubles else None
            if trouble is not None:
                if isinstance(trouble, NotWritten):
                    self.lines += batch[: len(batch) - trouble.count]
                raise trouble
            self.lines += batch

    def close(self) -> None:
        self.closed = True

    def await_batches(self, count: int) -> None:
        """Wait until so much has been written, or was tried to be."""
        with self.wrote:
            assert self.wrote.wait_for(lambda: self.batches >= count, DEADLINE)


@pytest.fixture
def paper() -> Paper:
    paper = Paper()
    paper.free.set()
    return paper


@pytest.fixture
def log(paper: Paper) -> Iterator[logging.Logger]:
    """A logger whose events are relayed to the paper; ten of them may wait."""
    logger = logging.Logger("gatepost.test")
    relay = Relay(paper, room=10)
    logger.addHandler(relay)
    yield logger
    paper.free.set()
    relay.close()


def close(log: logging.Logger) -> None:
    log.handlers[0].close()


def test_events_are_written_in_their_order_and_at_the_end_all_of_them(
    log: logging.Logger, paper: Paper
) -> None:
    for number in range(8):
        log.info("%d", number)
    close(log)
    assert paper.lines == [str(number) for number in range(8)]
    assert paper.closed


def test_it_may_be_closed_twice(log: logging.Logger, paper: Paper) -> None:
    log.info("once")
    close(log)
    paper.closed = False
    close(log)
    assert paper.lines == ["once"]
    assert not paper.closed


def test_what_comes_too_late_goes_to_the_log_that_has_taken_over(
    log: logging.Logger, paper: Paper
) -> None:
    other = Paper()
    other.free.set()
    relay = Relay(other)
    logging.getLogger().addHandler(relay)
    close(log)
    log.info("too late")
    relay.close()
    assert (paper.lines, other.lines) == ([], ["too late"])
    log.info("nobody is left")


def test_an_event_is_told_as_it_was_when_it_happened(log: logging.Logger, paper: Paper) -> None:
    paper.free.clear()
    value = ["then"]
    token = SESSION_ID.set("k2x8")
    log.info("%s", value)
    SESSION_ID.reset(token)
    value[0] = "now"
    paper.free.set()
    close(log)
    assert paper.lines == ["k2x8 ['then']"]


# -- Nobody waits ---------------------------------------------------------------------------------


def test_where_nothing_can_be_written_nobody_waits_and_what_is_lost_is_counted(
    log: logging.Logger, paper: Paper
) -> None:
    paper.free.clear()
    log.info("being written")
    assert paper.began.wait(DEADLINE)
    for number in range(17):
        log.info("%d", number)  # ten of them find room
    paper.free.set()
    close(log)
    assert paper.lines == [
        "being written",
        *map(str, range(10)),
        "7 lines are missing here: they came faster than they could be written",
    ]


def test_when_half_of_what_waits_is_written_it_goes_on(log: logging.Logger, paper: Paper) -> None:
    paper.free.clear()
    log.info("being written")
    assert paper.began.wait(DEADLINE)
    for number in range(11):
        log.info("%d", number)
    paper.free.set()
    paper.await_batches(2)
    log.info("afterwards")
    close(log)
    assert paper.lines[-2:] == [
        "1 lines are missing here: they came faster than they could be written",
        "afterwards",
    ]


def test_as_long_as_more_than_half_of_what_waited_waits_it_does_not_go_on(
    log: logging.Logger, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "BATCH", 3)
    paper.meanwhile = paper.free.clear  # it hangs again behind each batch
    paper.free.clear()
    log.info("being written")
    assert paper.began.wait(DEADLINE)
    for number in range(11):
        log.info("%d", number)
    paper.began.clear()
    paper.free.set()
    assert paper.began.wait(DEADLINE)  # with the next three: seven wait
    log.info("still too much")
    paper.meanwhile = lambda: None
    paper.free.set()
    close(log)
    assert paper.lines[-1].startswith("2 lines are missing here: ")
    assert "still too much" not in paper.lines


def test_a_sink_that_hangs_is_left_behind_at_the_end(
    log: logging.Logger, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "FAREWELL", 0.01)
    paper.free.clear()
    log.info("never")
    close(log)
    assert paper.lines == []
    assert not paper.closed, "a thread is still in there"


# -- Troubles -------------------------------------------------------------------------------------


def test_what_could_not_be_written_is_counted_and_told_of_when_it_goes_on(
    log: logging.Logger, paper: Paper, capfd: pytest.CaptureFixture[str]
) -> None:
    full = OSError(28, "No space left on device")
    paper.troubles = [full, full, full]
    log.info("lost")
    paper.await_batches(1)
    log.info("lost as well")
    paper.await_batches(3)  # it was tried to tell of the first
    log.info("written")
    close(log)
    assert paper.lines == ["2 lines are missing here: they could not be written", "written"]
    assert capfd.readouterr().err == f"The log cannot be written: {full!r}\n"


def test_of_a_batch_those_are_counted_that_were_lost(
    log: logging.Logger, paper: Paper, capfd: pytest.CaptureFixture[str]
) -> None:
    paper.troubles = [None, NotWritten(2, ValueError("not these"))]
    paper.free.clear()
    log.info("being written")
    assert paper.began.wait(DEADLINE)
    for number in range(5):
        log.info("%d", number)
    paper.free.set()
    paper.await_batches(2)
    log.info("afterwards")
    close(log)
    assert paper.lines == [
        "being written", "0", "1", "2",
        "2 lines are missing here: they could not be written",
        "afterwards",
    ]  # fmt: skip
    assert "not these" in capfd.readouterr().err


def test_the_words_of_a_failure_are_fit_for_a_terminal(
    log: logging.Logger, paper: Paper, capfd: pytest.CaptureFixture[str]
) -> None:
    class Odd(Exception):
        def __repr__(self) -> str:
            return "\x1b[2J\nforged"

    paper.troubles = [Odd()]
    log.info("lost")
    close(log)
    assert capfd.readouterr().err == "The log cannot be written: \\x1b[2J\\nforged\n"


def test_a_value_that_cannot_be_told_costs_its_event_and_no_more(
    log: logging.Logger, paper: Paper
) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("unspeakable")

    log.info("%s has come", Odd())
    log.info(Odd())
    log.info("%d", "not a number")
    log.info("afterwards")
    close(log)
    assert paper.lines == [
        "cannot tell '%s has come': <class 'RuntimeError'>",
        f"cannot tell {Odd!r}: <class 'RuntimeError'>",
        "cannot tell '%d': <class 'TypeError'>",
        "afterwards",
    ]


def test_what_a_sink_logs_itself_is_not_logged(log: logging.Logger, paper: Paper) -> None:
    paper.meanwhile = lambda: log.warning("retrying")
    for batch, text in enumerate(("told", "told as well"), 1):
        log.info(text)
        paper.await_batches(batch)
    close(log)
    assert paper.lines == ["told", "told as well"]


def test_a_sink_that_cannot_be_closed_troubles_nobody(
    log: logging.Logger, paper: Paper, capfd: pytest.CaptureFixture[str]
) -> None:
    def close_badly() -> None:
        raise RuntimeError("stuck drawer")

    paper.close = close_badly  # type: ignore[method-assign]  # as somebody else's might
    close(log)
    assert capfd.readouterr().err == "The log cannot be closed: RuntimeError('stuck drawer')\n"


def test_where_standard_error_is_closed_troubles_are_told_to_nobody(
    log: logging.Logger, paper: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper.troubles = [OSError("gone")]
    monkeypatch.setattr("sys.stderr", None)
    log.info("lost")
    paper.await_batches(1)
    log.info("written")
    close(log)
    assert paper.lines[-1] == "written"
