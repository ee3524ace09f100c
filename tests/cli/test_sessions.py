"""`gatepost sessions`: a line for each message, and for each session without one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import Result

from gatepost.archive.records import Record, RecordedDecision, RecordedResult
from gatepost.archive.ring import Ring

Gatepost: TypeAlias = Callable[..., Result]

NOBODY = RecordedDecision("nobody", "rcpt", "deny", "We do not relay", message=1, recipient=0)
ACCEPTED = RecordedDecision("domains", "rcpt", "accept", message=1, recipient=0)
TAKEN = RecordedDecision("maildir", "queue", "accept", message=1)
LISTED = RecordedDecision("zen", "connect", "deny", "Listed")
HOUR = 3600.0


def a_record(session: str, *decisions: RecordedDecision, **fields: Any) -> Record:
    usual = {"started": time.time(), "seconds": 0.5, "client": "192.0.2.1", "listener": "mx"}
    return Record(session=session, **{**usual, **fields}, decisions=decisions)


def a_message(session: str, *decisions: RecordedDecision, **fields: Any) -> Record:
    usual = {"message": 1, "sender": "anne@client.example", "recipients": ("bob@example.org",)}
    return a_record(session, *decisions, **{**usual, **fields})


#: Written three hours ago, two hours ago, and just now.
RECORDS = [
    a_message("old", ACCEPTED, TAKEN, reply="250 2.0.0 Queued as old.1"),
    a_message("relay", NOBODY, recipients=("bob@elsewhere.example",), client="2001:db8::1"),
    a_record("listed", LISTED, client="203.0.113.5"),
    a_message(
        "user",
        ACCEPTED,
        RecordedDecision("rules", "rcpt", "deny", "Moved", message=1, recipient=1),
        TAKEN,
        recipients=("bob@example.org", "sales@example.org"),
        reply="250 2.0.0 Queued as user.1",
        user="anne",
        results=(RecordedResult("spf", "pass"),),
    ),
    a_record("user", messages=1),
    a_message("bounce", ACCEPTED, sender="", client=""),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trail with these records."""
    (tmp_path / "gatepost.toml").write_text('[trail]\npath = "trail.sqlite"\n')
    path = tmp_path / "trail.sqlite"
    now = time.time()
    times = iter([now - 3 * HOUR, now - 2 * HOUR, now, now, now, now])
    with closing(Ring(path, (), keep=1e9, size=10**9, clock=lambda: next(times))) as ring:
        for record in RECORDS:
            ring.write([record])
    return path


def lines_of(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def ids(result: Result) -> list[str]:
    return [line.split()[2] for line in lines_of(result)]


def test_the_newest_stands_first(gatepost: Gatepost, path: Path) -> None:
    result = gatepost("sessions")
    lines = [" ".join(line.split()[2:]) for line in result.stdout.splitlines()]
    assert lines == [
        "bounce.1 unix <> <bob@example.org> unfinished",
        "user.1 192.0.2.1 <anne@client.example> <bob@example.org> and 1 more "
        "250 2.0.0 Queued as user.1 (maildir)",
        "listed 203.0.113.5 554 5.7.1 Listed (zen)",
        "relay.1 2001:db8::1 <anne@client.example> <bob@elsewhere.example> "
        "550 5.7.1 We do not relay (nobody)",
        "old.1 192.0.2.1 <anne@client.example> <bob@example.org> "
        "250 2.0.0 Queued as old.1 (maildir)",
    ]


def test_what_a_limit_has_settled(gatepost: Gatepost, path: Path) -> None:
    size = RecordedResult("limits", "fail", "message_size", word="1000", message=1)
    rate = RecordedResult("limits", "fail", "connection_rate", word="60")
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring:
        ring.write(
            [
                a_message("big", ACCEPTED, reply="552 5.3.4 Message too big", results=(size,)),
                a_record("often", results=(rate,)),
            ]
        )
    first, second = (line.split(maxsplit=2)[2] for line in lines_of(gatepost("sessions", "-n2")))
    assert first.split() == ["often", "192.0.2.1", "deferred", "(limit", "connection_rate)"]
    assert second.endswith("552 5.3.4 Message too big (limit message_size)")
    told = [json.loads(line) for line in lines_of(gatepost("sessions", "-n2", "--json"))]
    assert [one["settled_by"] for one in told] == ["limits", "limits"]
    assert ids(gatepost("sessions", "-n2", "--refused")) == ["often", "big.1"]
    assert ids(gatepost("sessions", "--plugin", "limits")) == ["often", "big.1"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--since", "1 hour"], ["bounce.1", "user.1", "listed"]),
        (["--since", "150 minutes"], ["bounce.1", "user.1", "listed", "relay.1"]),
        (["--client", "192.0.2.0/24"], ["user.1", "old.1"]),
        (["--client", "203.0.113.5"], ["listed"]),
        (["--client", "2001:db8::/32"], ["relay.1"]),
        (["--from", "anne@client.example"], ["user.1", "relay.1", "old.1"]),
        (["--from", ""], ["bounce.1"]),
        (["--from", "<>"], ["bounce.1"]),
        (["--to", "<Sales@example.org>"], ["user.1"]),
        (["--to", "anne@client.example"], []),
        (["--user", "anne"], ["user.1"]),
        (["--plugin", "maildir"], ["user.1", "old.1"]),
        (["--plugin", "spf"], ["user.1"]),
        (["--refused"], ["user.1", "listed", "relay.1"]),
        (["--accepted"], ["user.1", "old.1"]),
        (["--accepted", "--since", "1 hour", "--client", "192.0.2.1"], ["user.1"]),
        (["--from", "anne@client.example", "--to", "bob@elsewhere.example"], ["relay.1"]),
        (["--limit", "2"], ["bounce.1", "user.1"]),
        (["--limit", "1", "--refused"], ["user.1"]),
    ],
)
def test_options_choose(
    options: list[str], wanted: list[str], gatepost: Gatepost, path: Path
) -> None:
    assert ids(gatepost("sessions", *options)) == wanted


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--since", "yesterday"], "must be a duration like '7 days'"),
        (["--client", "mail.example"], "'mail.example' is no IP address and no network"),
        (["--limit", "0"], "0 is not in the range"),
    ],
)
def test_nonsense_is_refused(
    options: list[str], complaint: str, gatepost: Gatepost, path: Path
) -> None:
    result = gatepost("sessions", *options)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_json_holds_all_that_is_recorded(gatepost: Gatepost, path: Path) -> None:
    result = gatepost("sessions", "--json", "--user", "anne")
    (told,) = map(json.loads, result.stdout.splitlines())
    assert (told["id"], told["outcome"], told["settled_by"]) == ("user.1", "accepted", "maildir")
    assert told["recipients"] == ["bob@example.org", "sales@example.org"]
    assert told["decisions"][1] == {
        "plugin": "rules",
        "hook": "rcpt",
        "verdict": "deny",
        "text": "Moved",
        "message": 1,
        "recipient": 1,
    }
    assert told["results"] == [{"plugin": "spf", "outcome": "pass"}]


def test_json_has_the_reply_that_a_verdict_earned(gatepost: Gatepost, path: Path) -> None:
    lines = gatepost("sessions", "--json").stdout.splitlines()
    by_id = {told["id"]: told for told in map(json.loads, lines)}
    assert by_id["relay.1"]["reply"] == "550 5.7.1 We do not relay"
    assert by_id["listed"]["outcome"] == "refused"
    assert by_id["bounce.1"]["reply"] == ""


def test_nothing_is_no_error(gatepost: Gatepost, path: Path) -> None:
    result = gatepost("sessions", "--user", "nobody")
    assert (result.exit_code, result.stdout) == (0, "")


def test_nobody_gives_orders_to_a_terminal(gatepost: Gatepost, path: Path) -> None:
    evil = "\x1b[2J\r\nforged\x9b31m\u202e\x7f"
    decision = RecordedDecision(evil, "message", "deny", evil, message=1)
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring:
        record = a_message("evil", decision, sender=evil, recipients=(evil,), client=evil)
        ring.write([record, a_message("evil", decision, reply=f"550 {evil}")])
    for options in ([], ["--json"]):
        result = gatepost("sessions", *options)
        assert result.stdout.count("forged") >= 4
        for line in result.stdout.split("\n"):
            assert line.isprintable()
            assert not line.startswith("forged")
