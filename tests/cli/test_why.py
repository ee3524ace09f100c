"""`gatepost why`: from a conversation that took place to the sentences about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

from gatepost.archive.recorder import Recorder
from gatepost.archive.records import Record, RecordedDecision, RecordedResult
from gatepost.archive.ring import Ring
from gatepost.hooks.placement import Placement, placed
from gatepost.limits import Limits
from gatepost.plugins.queue.discard import Discard
from gatepost.plugins.rcpt.domains import Domains
from gatepost.testing import converse

Gatepost: TypeAlias = Callable[..., Result]

DIALOGUE = """
    S: 220 ...
    C: EHLO client.example
    S: 250 ...
    C: MAIL FROM:<anne@client.example>
    S: 250 2.1.0 ...
    C: RCPT TO:<bob@example.org>
    S: 250 2.1.5 ...
    C: DATA
    S: 354 ...
    C: Subject: Hello
    C: .
    S: 250 2.0.0 Queued as ...
    C: MAIL FROM:<>
    S: 250 2.1.0 ...
    C: RCPT TO:<bob@elsewhere.example>
    S: 550 5.7.1 We do not relay
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the trail is; the configuration says so and is otherwise not even sound."""
    (tmp_path / "gatepost.toml").write_text('[trail]\npath = "trail.sqlite"\n[[plugin]]\n')
    return tmp_path / "trail.sqlite"


@pytest.fixture
def session(path: Path) -> str:
    """The id of a session that took place: a message was taken, another refused."""
    plugins = [placed(Domains(domains=["example.org"])), placed(Discard())]
    recorder = Recorder(path, plugins, keep=1e9, size=10**9)
    held = asyncio.run(converse([(recorder, Placement("r")), *plugins], DIALOGUE, tls=True))
    return held.id


def paragraphs(result: Result) -> list[list[str]]:
    """The sentences about each record, without those with the time of day."""
    assert result.exit_code == 0, result.output
    return [
        [line.strip() for line in paragraph.split("\n") if "It came through" not in line]
        for paragraph in result.stdout.rstrip("\n").split("\n\n")
    ]


def refused(session: str) -> list[str]:
    return [
        f"Message {session}.2 from <> (client.example [192.0.2.1], TLSv1.3) "
        "to <bob@elsewhere.example> was refused at RCPT: 550 5.7.1 We do not relay.",
        'Nobody accepted the recipient: `domains` (domains = ["example.org"]) had no opinion.',
    ]


def accepted(session: str) -> list[str]:
    return [
        f"Message {session}.1 from <anne@client.example> (client.example [192.0.2.1], TLSv1.3) "
        f"to <bob@example.org> was accepted: 250 2.0.0 Queued as {session}.1.",
        '`domains` (domains = ["example.org"]) accepted the recipient <bob@example.org>.',
        "`discard` took the message.",
    ]


def test_a_message_is_explained(gatepost: Gatepost, session: str) -> None:
    assert paragraphs(gatepost("why", f"{session}.1")) == [accepted(session)]
    assert paragraphs(gatepost("why", f"{session}.2")) == [refused(session)]


def test_a_session_is_explained_with_its_messages(gatepost: Gatepost, session: str) -> None:
    assert paragraphs(gatepost("why", session)) == [
        [f"Session {session} from client.example [192.0.2.1], TLSv1.3 brought 2 messages."],
        refused(session),
        accepted(session),
    ]


BEYOND = """
    S: 220 ...
    C: EHLO client.example
    S: 250 ...
    C: MAIL FROM:<anne@client.example>
    S: 250 2.1.0 ...
    C: RCPT TO:<bob@example.org>
    S: 250 2.1.5 ...
    C: DATA
    S: 354 ...
    C: Subject: Hello
    C: .
    S: 552 5.3.4 Message too big
    C: RCPT TO:<bob@example.org>
    S: 421 4.7.0 Too many errors
    S: <closed>
"""


def test_a_limit_is_told_with_its_value(gatepost: Gatepost, path: Path) -> None:
    plugins = [placed(Domains(domains=["example.org"])), placed(Discard())]
    recorder = Recorder(path, plugins, keep=1e9, size=10**9)
    limits = Limits(message_size=12, errors=0)
    held = asyncio.run(converse([(recorder, Placement("r")), *plugins], BEYOND, limits=limits))
    assert paragraphs(gatepost("why", held.id)) == [
        [
            f"Session {held.id} from client.example [192.0.2.1] brought 1 message.",
            "The client was sent away, for more than 0 of its commands were refused "
            "(limit `errors`).",
            "A command broke the rules of SMTP, or was not in turn: "
            "503 5.5.1 MAIL comes before RCPT.",
        ],
        [
            f"Message {held.id}.1 from <anne@client.example> (client.example [192.0.2.1]) "
            "to <bob@example.org> was refused: 552 5.3.4 Message too big.",
            "No plugin decided that: the server did.",
            "The message was bigger than 12 octets (limit `message_size`).",
            '`domains` (domains = ["example.org"]) accepted the recipient <bob@example.org>.',
        ],
    ]


@pytest.mark.parametrize("what", ["bob@elsewhere.example", "<BOB@elsewhere.example>", "<>"])
def test_an_address_is_explained(what: str, gatepost: Gatepost, session: str) -> None:
    assert paragraphs(gatepost("why", what)) == [refused(session)]


def test_senders_are_found_as_well(gatepost: Gatepost, session: str) -> None:
    assert paragraphs(gatepost("why", "anne@client.example")) == [accepted(session)]


@pytest.mark.parametrize("what", ["192.0.2.1", "192.0.2.0/24", "192.0.2.77/24", "::ffff:192.0.2.1"])
def test_a_client_is_explained(what: str, gatepost: Gatepost, session: str) -> None:
    assert paragraphs(gatepost("why", what)) == [refused(session), accepted(session)]


def test_only_so_many_are_explained(gatepost: Gatepost, session: str) -> None:
    assert paragraphs(gatepost("why", "192.0.2.1", "--limit", "1")) == [refused(session)]


@pytest.mark.parametrize(
    "what", ["192.0.2.2", "2001:db8::/32", "carol@example.org", "mwsd6dic19vw", "postmaster"]
)
def test_where_nothing_is_known_that_is_said(what: str, gatepost: Gatepost, session: str) -> None:
    result = gatepost("why", what)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"Nothing about {what} is in the trail; it begins at 20")


def test_a_message_that_there_is_not(gatepost: Gatepost, session: str) -> None:
    assert gatepost("why", f"{session}.3").exit_code == 1


def test_an_empty_trail_is_said_to_be_empty(gatepost: Gatepost, path: Path) -> None:
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring:
        ring.trim()
    result = gatepost("why", "192.0.2.1")
    assert result.stderr == "Nothing about 192.0.2.1 is in the trail; it is empty\n"


@pytest.mark.parametrize("what", ["", "bob", "192.0.2.", "mwsd6dic19vw.", "\x1b[2J"])
def test_what_means_nothing_is_an_error(what: str, gatepost: Gatepost, session: str) -> None:
    result = gatepost("why", what)
    assert result.exit_code == 2
    assert "is no id, no address and no IP address" in result.stderr
    assert "\x1b" not in result.stderr


def test_the_limit_is_a_number_of_at_least_one(gatepost: Gatepost, session: str) -> None:
    assert gatepost("why", "192.0.2.1", "--limit", "0").exit_code == 2


# -- Where there is nothing to read ---------------------------------------------------------------


def test_without_a_trail_that_is_said(gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").write_text('hostname = "mx.example"\n')
    result = gatepost("why", "192.0.2.1")
    assert result.exit_code == 1
    assert result.stderr == "gatepost.toml: no trail is kept: write a table [trail]\n"


def test_a_trail_that_names_no_file_is_in_the_state_directory(
    gatepost: Gatepost, tmp_path: Path
) -> None:
    (tmp_path / "gatepost.toml").write_text('state = "var"\n[trail]\n')
    result = gatepost("why", "192.0.2.1")
    where = tmp_path / "var" / "trail.sqlite"
    assert result.stderr == f"{where}: there is no such file; the server writes it\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[trail", "gatepost.toml: "),
        pytest.param(f"a = {'[' * 100_000}", "gatepost.toml: ", id="nested too deep"),
        ('[trail]\nkeep = "ever"', "gatepost.toml:2: trail: option 'keep' must be"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_told(
    text: str, complaint: str, gatepost: Gatepost, tmp_path: Path
) -> None:
    (tmp_path / "gatepost.toml").write_text(text)
    result = gatepost("why", "192.0.2.1")
    assert result.exit_code == 1
    assert result.stderr.startswith(complaint)


def test_a_configuration_that_is_not_there_is_told(gatepost: Gatepost) -> None:
    result = gatepost("why", "192.0.2.1")
    assert result.stderr == "gatepost.toml: cannot be read: No such file or directory\n"


def test_a_file_that_is_no_trail_is_told(gatepost: Gatepost, path: Path) -> None:
    path.write_text("Dear diary,\n" * 1000)
    result = gatepost("why", "192.0.2.1")
    assert result.exit_code == 1
    assert "trail.sqlite cannot be read: damaged, or no archive" in result.stderr


# -- Strangers ------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[2J\r\n2026-01-01 forged\x9b31m\u202e\x00\ud7ff"


def test_nobody_gives_orders_to_a_terminal(gatepost: Gatepost, path: Path) -> None:
    evil = Record(
        session="mwsd6dic19vw",
        message=1,
        started=0.0,
        seconds=0.0,
        client="192.0.2.1",
        listener=EVIL,
        client_name=EVIL,
        hello=EVIL,
        tls=EVIL,
        user=EVIL,
        allowed=EVIL,
        sender=EVIL,
        recipients=(EVIL,),
        reply=f"550 {EVIL}",
        decisions=(
            RecordedDecision(EVIL, "message", "deny", EVIL, message=1),
            RecordedDecision(EVIL, EVIL, "accept", EVIL, message=1),
        ),
        results=(RecordedResult(EVIL, EVIL, EVIL, EVIL, EVIL, ((EVIL, EVIL),)),),
    )
    with closing(Ring(path, (), keep=1e9, size=10**9)) as ring:
        ring.write([evil])
    for what in ("mwsd6dic19vw.1", "192.0.2.1"):
        result = gatepost("why", what)
        assert result.exit_code == 0
        assert "owned" in result.stdout
        for line in result.stdout.split("\n"):
            assert line.isprintable()
            assert not line.startswith("2026")
