"""`gatepost watch`: lines that come as messages are answered, and what the symbols say."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gatepost.archive.configurations import Configuration, PlacedPlugin
from gatepost.archive.records import Record, RecordedDecision, RecordedResult
from gatepost.archive.ring import Ring
from gatepost.cli.criteria import Criteria
from gatepost.cli.scroll import PlainScroll, TerminalScroll
from gatepost.cli.symbols import MEANINGS, Strip
from gatepost.cli.watch import News, follow

PLUGINS: Configuration = tuple(
    PlacedPlugin(name, name, hooks=hooks, listeners=listeners)
    for name, hooks, listeners in [
        ("zen", ("connect",), ()),
        ("domains", ("rcpt",), ()),
        ("lists", ("rcpt",), ("lmtp",)),
        ("connection_time", (), ()),
        ("maildir", ("queue",), ()),
    ]
)


def a_message(session: str, *decisions: RecordedDecision, **fields: Any) -> Record:
    usual = {
        "message": 1,
        "started": 0.0,
        "seconds": 0.5,
        "client": "192.0.2.1",
        "hello": "client.example",
        "listener": "mx",
        "sender": "anne@client.example",
        "recipients": ("bob@example.org", "carol@example.org"),
    }
    return Record(session=session, **{**usual, **fields}, decisions=decisions)


def taken(session: str, **fields: Any) -> Record:
    accepted = RecordedDecision("domains", "rcpt", "accept", message=1, recipient=0)
    queued = RecordedDecision("maildir", "queue", "accept", message=1)
    return a_message(session, accepted, queued, reply=f"250 2.0.0 {session}", **fields)


def a_ring(path: Path, plugins: Configuration = PLUGINS) -> Ring:
    return Ring(path, plugins, keep=1e9, size=10**9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "gatepost.toml").write_text('[trail]\npath = "trail.sqlite"\n')
    return tmp_path / "trail.sqlite"


# -- Symbols --------------------------------------------------------------------------------------


def symbol(*entries: RecordedDecision | RecordedResult) -> str:
    record = a_message(
        "x",
        *(one for one in entries if isinstance(one, RecordedDecision)),
        results=tuple(one for one in entries if isinstance(one, RecordedResult)),
    )
    return Strip((PlacedPlugin("a", "a", hooks=("rcpt",)),)).of(record)


def said(verdict: Any, mode: Any = "enforce") -> RecordedDecision:
    return RecordedDecision("a", "rcpt", verdict, mode=mode)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (said("accept"), "+"),
        (said("deny"), "X"),
        (said("defer"), "~"),
        (said("deny", "later"), "x"),
        (said("defer", "report"), "x"),
        (RecordedResult("a", "pass"), "o"),
        (RecordedResult("a", "fail"), "f"),
        (RecordedResult("a", "neutral"), "?"),
        (RecordedResult("a", "error"), "!"),
        (RecordedResult("a", "skip"), "-"),
        (RecordedResult("a", "what?"), "?"),
        (RecordedResult("b", "fail"), "."),
    ],
)
def test_each_plugin_has_a_symbol(entry: RecordedDecision | RecordedResult, shown: str) -> None:
    assert symbol(entry) == shown
    assert shown in MEANINGS


def test_of_several_symbols_the_weightiest_is_shown() -> None:
    assert symbol(said("accept"), said("deny"), RecordedResult("a", "pass")) == "X"
    assert symbol(said("accept"), said("defer")) == "~"
    assert symbol(said("deny", "later"), RecordedResult("a", "fail")) == "x"
    assert symbol(RecordedResult("a", "pass"), said("accept")) == "+"


def test_a_strip_has_a_place_for_each_plugin_that_decides() -> None:
    strip = Strip(PLUGINS)
    assert strip.head == "abcd"
    assert strip.legend[0] == "a zen  b domains  c lists  d maildir"
    assert strip.of(taken("x")) == ".+ +"
    assert strip.of(taken("x", listener="lmtp")) == ".+.+"


def test_a_strip_may_be_longer_than_the_alphabet() -> None:
    many = tuple(PlacedPlugin(f"p{number}", "p", hooks=("rcpt",)) for number in range(70))
    strip = Strip(many)
    assert len(strip.head) == len(strip.of(taken("x"))) == 70
    assert strip.head.endswith("89********")
    assert strip.legend[0].endswith("* p69")


# -- Following ------------------------------------------------------------------------------------


def sessions(news: list[News]) -> list[str]:
    return [one.record.session for one in news]


def test_what_is_new_is_shown_once(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write([taken(name) for name in "abc"])
        looks = follow(path, Criteria(), 2)
        assert sessions(next(looks)) == ["b", "c"]
        assert sessions(next(looks)) == []
        ring.write([taken("d"), taken("e")])
        assert sessions(next(looks)) == ["d", "e"]
        assert sessions(next(looks)) == []


def test_more_than_a_page_is_shown_in_parts(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.trim()
        looks = follow(path, Criteria(), 0)
        assert next(looks) == []
        ring.write([taken(str(number)) for number in range(500)])
        shown = [session for _ in range(4) for session in sessions(next(looks))]
    assert shown == [str(number) for number in range(500)]


def test_only_what_is_wanted_is_shown(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write([taken("a"), a_message("b"), Record(session="c", started=0.0, seconds=0.0)])
        looks = follow(path, Criteria(verdict="accepted"), 9)
        assert sessions(next(looks)) == ["a"]
        ring.write([a_message("d"), taken("e")])
        assert sessions(next(looks)) == ["e"]


def test_a_session_whose_messages_were_shown_has_no_line(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write([taken("a"), Record(session="a", started=0.0, seconds=0.0, messages=1)])
    assert sessions(next(follow(path, Criteria(), 9))) == ["a"]


def test_a_file_that_is_not_there_yet_is_waited_for(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = follow(path, Criteria(), 5)
    assert next(looks) == []
    assert next(looks) == []
    error = capsys.readouterr().err
    assert error == f"{path}: there is no such file; the server writes it; it is waited for\n"
    with closing(a_ring(path)) as ring:
        ring.write([taken("a")])
        assert sessions(next(looks)) == ["a"]


def test_a_file_that_was_replaced_is_followed(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write([taken("a")])
        looks = follow(path, Criteria(), 5)
        assert sessions(next(looks)) == ["a"]
        path.unlink()
        assert next(looks) == []
        ring.write([taken("b")])
        assert sessions(next(looks)) == ["b"]
        ring.write([taken("c")])
        assert sessions(next(looks)) == ["c"]


def test_each_configuration_has_its_strip(path: Path) -> None:
    for plugins, name in ((PLUGINS, "a"), (PLUGINS[:2], "b")):
        with closing(a_ring(path, plugins)) as ring:
            ring.write([taken(name)])
    first, second = next(follow(path, Criteria(), 5))
    assert [first.strip.head, second.strip.head] == ["abcd", "ab"]


# -- Lines ----------------------------------------------------------------------------------------


def plain(capsys: pytest.CaptureFixture[str], *news: tuple[Record, Strip]) -> list[str]:
    scroll = PlainScroll()
    for record, strip in news:
        scroll.show(record, strip)
    return capsys.readouterr().out.splitlines()


def test_a_line_tells_who_what_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    head, plugins, symbols, line = plain(capsys, (taken("mwsd6dic19vw"), Strip(PLUGINS)))
    assert plugins == "a zen  b domains  c lists  d maildir"
    assert symbols.startswith("X denied  ~ deferred  x refused without effect")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d mwsd6dic19vw\.1   \.\+ \+  192\.0\.2\.1  client\.example  "
        r"<anne@client\.example> -> <bob@example\.org> and 1 more  250 2\.0\.0 mwsd6dic19vw "
        r"\(maildir\)",
        line,
    )
    assert head.index("abcd") == line.index(".+ +")


def test_the_legend_stands_where_the_plugins_change(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = Strip(PLUGINS), Strip(PLUGINS[:2])
    lines = plain(capsys, (taken("a"), one), (taken("b"), one), (taken("c"), other))
    heads = [number for number, line in enumerate(lines) if line.startswith("a zen")]
    assert heads == [1, 6]


def on_terminal(*records: Record) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system="standard")
    with TerminalScroll(console) as scroll:
        for record in records:
            scroll.show(record, Strip(PLUGINS))
    return out.getvalue()


def test_a_terminal_has_lines_above_a_legend() -> None:
    out = on_terminal(taken("first"), taken("second"))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out)
    assert text.index("first.1") < text.index("second.1") < text.rindex("a zen  b domains")
    assert "\x1b[32m+" in out


def test_a_line_on_a_terminal_is_not_wrapped() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_terminal(taken("a", hello="x" * 300)))
    (line,) = [one for one in re.split(r"[\r\n]+", text) if "a.1" in one]
    assert len(line) <= 100


EVIL = "\x1b[2J\r\nforged\x9b31m\u202e\x07[red]"


def evil() -> Record:
    fields: dict[str, Any] = {"sender": EVIL, "recipients": (EVIL,), "reply": f"550 {EVIL}"}
    return a_message(EVIL, client=EVIL, hello=EVIL, **fields)


def test_nobody_gives_orders_to_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    named = (PlacedPlugin(EVIL, EVIL, hooks=("rcpt",)),)
    lines = plain(capsys, (evil(), Strip(named)))
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_nobody_gives_orders_to_a_terminal() -> None:
    out = on_terminal(evil())
    ours = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A|[0-9]*[ABG])", "", out)
    assert all(letter.isprintable() or letter in "\r\n" for letter in ours)
    assert "[red]" in ours


# -- The command itself ---------------------------------------------------------------------------


@contextmanager
def watching(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gatepost", "watch", *options],
        cwd=path.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_lines_come_as_they_are_written(path: Path) -> None:
    with closing(a_ring(path)) as ring:
        ring.write([taken("before")])
        with watching(path) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(4)]
            assert "before.1" in lines[3]
            for name in ("one", "two"):
                ring.write([taken(name)])
                assert f"{name}.1" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
    assert (out, error, process.returncode) == ("", "", 0)


def test_options_choose_what_is_shown(path: Path) -> None:
    def both(name: str) -> list[Record]:
        return [taken(f"not-{name}"), taken(name, recipients=("sales@example.org",))]

    with closing(a_ring(path)) as ring:
        ring.write(both("one") + both("two"))
        with watching(path, "--lines", "1", "--to", "sales@example.org") as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(4)]
            assert " two.1 " in lines[3]
            ring.write(both("three"))
            assert " three.1 " in process.stdout.readline()
