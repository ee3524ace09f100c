"""Programs that take mail: what they are given, what their end means, and that none outlives us."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Address, Deny, Each, Site, Transaction, Verdict, with_lf
from gatepost.plugins.queue.command import (
    DASH,
    FAILED,
    QMAIL,
    SYSEXITS,
    Command,
    _batch,
)
from gatepost.testing import a_session, a_transaction
from gatepost.testing.samples import LETTER

Outcome: TypeAlias = Verdict | Each | None
BOB = ("bob@example.org",)
BOTH = ("bob@example.org", "carol@example.org")
BIG = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 300_000  # more than any pipe holds


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sh(script: str, *arguments: str, **options: Any) -> Command:
    return Command(("sh", "-c", script, "sh", *arguments), **options)


def queue(plugin: Command, transaction: Transaction | None = None) -> Outcome:
    return asyncio.run(plugin.queue(transaction or a_transaction(recipients=BOB, message=LETTER)))


# -- What a program is given ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line_ends", "expected"), [("lf", BIG.replace(b"\r\n", b"\n")), ("crlf", BIG)]
)
def test_plain_is_the_message_on_standard_input(
    line_ends: Any,
    expected: bytes,
    tmp_path: Path,
) -> None:
    plugin = Command(("dd", "of=letter", "bs=7000"), line_ends=line_ends)
    assert queue(plugin, a_transaction(recipients=BOB, message=BIG)) == Accept()
    assert (tmp_path / "letter").read_bytes() == expected


def test_qmail_queue_reads_the_envelope_from_descriptor_1(tmp_path: Path) -> None:
    plugin = sh("cat > letter; cat <&1 > envelope", protocol="qmail-queue")
    recipients = ("bob@example.org", '"a b"@example.org', "Postmaster")
    assert queue(plugin, a_transaction(recipients=recipients, message=LETTER)) == Accept()
    assert (tmp_path / "letter").read_bytes() == LETTER.replace(b"\r\n", b"\n")
    assert (tmp_path / "envelope").read_bytes() == (
        b"Fanne@client.example\0Tbob@example.org\0Ta b@example.org\0TPostmaster\0\0"
    )


def test_qmail_queue_takes_a_notification(tmp_path: Path) -> None:
    plugin = sh("cat > letter; cat <&1 > envelope", protocol="qmail-queue")
    queue(plugin, a_transaction(sender="", recipients=BOB, message=LETTER))
    assert (tmp_path / "envelope").read_bytes() == b"F\0Tbob@example.org\0\0"


@pytest.mark.parametrize(("line_ends", "end"), [("lf", b"\n"), ("crlf", b"\r\n")])
def test_batch_smtp_holds_all(line_ends: Any, end: bytes, tmp_path: Path) -> None:
    message = b"Subject: x\r\n\r\n.\r\n.dot\r\n..\r\nno newline"
    plugin = sh("cat > batch", protocol="bsmtp", line_ends=line_ends)
    queue(plugin, a_transaction(sender="", recipients=BOTH, message=message))
    assert (tmp_path / "batch").read_bytes() == (
        b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\n"
        b"Subject: x\r\n\r\n..\r\n..dot\r\n...\r\nno newline\r\n.\r\nQUIT\r\n"
    ).replace(b"\r\n", end)


@given(st.lists(st.binary(max_size=3) | st.sampled_from([b".", b"\r\n", b"\r", b"\n"])))
def test_no_message_ends_its_batch(pieces: list[bytes]) -> None:
    batch = b"".join(with_lf(_batch(Address("", ""), [], pieces)))
    lines = batch.split(b"\n")
    assert lines[:2] == [b"MAIL FROM:<>", b"DATA"]
    assert lines.index(b".") == len(lines) - 3
    content = b"".join(line.removeprefix(b".") + b"\n" for line in lines[2:-3])
    message = b"".join(with_lf(pieces))
    assert content == message + (b"" if message.endswith(b"\n") or not message else b"\n")


# -- Its arguments --------------------------------------------------------------------------------

# fmt: off
ARGUMENTS = [
    (("-f", "{sender}"),         ["-f", "anne@client.example"]),
    (("-f{sender}", "{id}"),     ["-fanne@client.example", "ID"]),
    (("--", "{recipients}"),     ["--", "bob@example.org", '"; rm -rf ~"@example.org']),
    (("{recipients}", "last"),   ["bob@example.org", '"; rm -rf ~"@example.org', "last"]),
    (("{sender}{sender}",),      ["anne@client.exampleanne@client.example"]),
    (("$HOME", "*", "{ }", "a b"), ["$HOME", "*", "{ }", "a b"]),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS)
def test_arguments_go_through_no_shell(
    arguments: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    transaction = a_transaction(
        recipients=("bob@example.org", '"; rm -rf ~"@example.org'), message=LETTER
    )
    assert queue(sh('printf "%s\\n" "$@" > arguments', *arguments), transaction) == Accept()
    found = (tmp_path / "arguments").read_text().replace(transaction.id, "ID")
    assert found.splitlines() == expected


@pytest.mark.parametrize(
    ("options", "expected"), [({}, "<>"), ({"null_sender": "nobody"}, "nobody")]
)
def test_a_notification_has_a_sender_in_the_arguments(
    options: dict[str, str], expected: str, tmp_path: Path
) -> None:
    plugin = sh('printf %s "$1" > sender', "{sender}", **options)
    queue(plugin, a_transaction(sender="", recipients=BOB, message=LETTER))
    assert (tmp_path / "sender").read_text() == expected


def test_addresses_beyond_ascii_are_utf8(tmp_path: Path) -> None:
    plugin = sh('printf %s "$1" > recipient', "{recipient}")
    queue(plugin, a_transaction(recipients=("böb@bücher.example",), message=LETTER))
    assert (tmp_path / "recipient").read_bytes() == "böb@bücher.example".encode()


# fmt: off
DASHES = [
    (("{sender}",),           DASH),
    (("{recipients}",),       DASH),
    (("{recipient}",),        DASH),
    (("-f", "{sender}"),      DASH),
    (("{recipients}", "--"),  DASH),
    (("--", "{recipients}"),  Accept()),
    (("-f{sender}",),         Accept()),
    (("from={sender}",),      Accept()),
    (("fixed",),              Accept()),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "expected"), DASHES)
def test_no_address_passes_for_an_option(arguments: tuple[str, ...], expected: Verdict) -> None:
    transaction = a_transaction(
        sender="-oQ/tmp@client.example", recipients=("-bs@example.org",), message=LETTER
    )
    assert queue(Command(("true", *arguments)), transaction) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"command": ()},
        {"command": ("",)},
        {"command": ("cat", "{recipent}")},
        {"command": ("cat", "--to={recipients}")},
        {"command": ("cat",), "wait": 0},
        {"command": ("cat",), "at_once": 0},
    ],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"option '(command|wait|at_once)'"):
        Command(**options)


# -- What its end means ---------------------------------------------------------------------------


def test_few_exit_statuses_are_permanent() -> None:
    for table, permanent in ((SYSEXITS, {65, 67, 68, 69, 77}), (QMAIL, set(range(11, 41)))):
        assert [status for status, verdict in table.items() if verdict == Accept()] == [0]
        denying = {status for status, verdict in table.items() if isinstance(verdict, Deny)}
        assert denying == permanent


@pytest.mark.parametrize("protocol", ["plain", "bsmtp", "qmail-queue"])
@pytest.mark.parametrize("status", [0, 1, 11, 31, 53, 65, 67, 69, 75, 77, 91, 127, 255])
def test_the_exit_status_decides(protocol: Any, status: int) -> None:
    table = QMAIL if protocol == "qmail-queue" else SYSEXITS
    plugin = sh(f"cat > /dev/null; exit {status}", protocol=protocol)
    assert queue(plugin) == table.get(status, FAILED)


def test_a_signal_defers(caplog: pytest.LogCaptureFixture) -> None:
    transaction = a_transaction(recipients=BOB, message=LETTER)
    assert queue(sh("kill -SEGV $$"), transaction) == FAILED
    assert f"{transaction.id}: sh ended with signal 11" in caplog.text


@pytest.mark.parametrize("program", ["/nowhere/to/be/found", "no-such-program", "/", "./letter"])
def test_a_program_that_cannot_be_run_defers(
    program: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "letter").write_text("no program\n")
    transaction = a_transaction(recipients=BOB, message=LETTER)
    assert queue(Command((program,)), transaction) == FAILED
    assert f"{program} failed" in caplog.text


def test_more_arguments_than_the_system_takes_defer() -> None:
    transaction = a_transaction(recipients=BOB * 20_000, message=LETTER)
    arguments = ("{recipients}",) * 40
    assert queue(Command(("true", *arguments)), transaction) == FAILED


def test_nobody_to_deliver_to_is_no_reason_to_accept() -> None:
    assert queue(Command(("true",)), a_transaction(message=LETTER)) is None


# -- What it prints -------------------------------------------------------------------------------


def test_what_it_prints_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    plugin = sh(r"printf 'one\033[2J\r\ntwo\n\nthree\377' >&2; echo four; exit 67")
    assert queue(plugin, a_transaction(recipients=BOB, message=LETTER)) == SYSEXITS[67]
    assert "sh ended with status 67: one [2J | two | three\N{REPLACEMENT CHARACTER}four" in (
        caplog.text
    )


def test_it_may_tell_the_client_why_not() -> None:
    script = "echo; echo A virus; echo and more; exit 69"
    assert queue(sh(script)) == SYSEXITS[69]
    assert queue(sh(script, repeat=True)) == Deny("A virus", status="5.3.0")
    assert queue(sh("echo Oops; exit 1", repeat=True)) == FAILED
    assert queue(sh("exit 69", repeat=True)) == SYSEXITS[69]


# -- Several recipients ---------------------------------------------------------------------------

ONE_BY_ONE = 'echo "$1" >> asked; case $1 in bob*) exit %s;; *) exit %s;; esac'


@pytest.mark.parametrize(
    ("verb", "bob", "carol", "asked"),
    [("LHLO", 67, 0, 2), ("LHLO", 75, 67, 2), ("EHLO", 0, 75, 2), ("EHLO", 0, 67, 2)],
)
def test_each_recipient_has_a_verdict(
    verb: str, bob: int, carol: int, asked: int, tmp_path: Path
) -> None:
    transaction = a_transaction(a_session(verb=verb), recipients=BOTH, message=LETTER)
    plugin = sh(ONE_BY_ONE % (bob, carol), "{recipient}")
    first, second = transaction.recipients
    assert queue(plugin, transaction) == Each(
        {first: SYSEXITS.get(bob, FAILED), second: SYSEXITS.get(carol, FAILED)}
    )
    assert len((tmp_path / "asked").read_text().splitlines()) == asked


@pytest.mark.parametrize(
    ("verb", "bob", "carol", "asked"),
    [("LHLO", 0, 0, 2), ("LHLO", 67, 67, 2), ("EHLO", 0, 0, 2), ("EHLO", 67, 0, 1)],
)
def test_all_recipients_have_the_same_verdict(
    verb: str, bob: int, carol: int, asked: int, tmp_path: Path
) -> None:
    transaction = a_transaction(a_session(verb=verb), recipients=BOTH, message=LETTER)
    plugin = sh(ONE_BY_ONE % (bob, carol), "{recipient}")
    assert queue(plugin, transaction) == SYSEXITS.get(bob, FAILED)
    assert len((tmp_path / "asked").read_text().splitlines()) == asked


# -- Time -----------------------------------------------------------------------------------------


def test_so_many_run_at_once() -> None:
    plugin = sh("echo + >> log; sleep 0.02; echo - >> log", at_once=2)

    async def all_at_once() -> None:
        transactions = [a_transaction(recipients=BOB, message=LETTER) for _ in range(8)]
        await asyncio.gather(*map(plugin.queue, transactions))

    asyncio.run(all_at_once())
    running, most = 0, 0
    for line in Path("log").read_text().splitlines():
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == 2
    assert running == 0


def test_a_missing_program_shows_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    Command(("no-such-program",)).startup(Site("mx.example"))
    Command(("cat",)).startup(Site("mx.example"))
    assert [record.getMessage() for record in caplog.records] == [
        "there is no program no-such-program: all mail for it is deferred"
    ]
    assert caplog.records[0].levelno == logging.WARNING
