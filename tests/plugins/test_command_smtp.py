"""Programs that speak SMTP on standard input and output: sound ones, and those that go wrong."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop

from gatepost import (
    Accept,
    Address,
    Client,
    Defer,
    Deny,
    Each,
    Outcome,
    Program,
    Site,
    Transaction,
    Verdict,
    run_program,
)
from gatepost.client import spawning
from gatepost.plugins.queue.command import FAILED, Command
from gatepost.testing import LETTER, a_transaction

Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]

SITE = Site("mx.example")
BOB = Address.of("bob@example.org")
#: A small server: `{reply}` is a table of what it says to which command, None being its end.
SERVER = """
import os, signal, sys, time
replies = {{"EHLO": "250 here", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on",
            ".": "250 2.0.0 Kept", "QUIT": "221 bye"}}
replies.update({replies})
open("pids", "a").write(f"{{os.getpid()}}\\n")
def say(text):
    sys.stdout.buffer.write(text.encode() + b"\\r\\n")
    sys.stdout.flush()
say("220 here")
inside = False
for line in sys.stdin.buffer:
    verb = line.decode().split()[0].upper() if line.strip() else ""
    if inside and verb != ".":
        continue
    inside = verb == "DATA"
    reply = replies[verb]
    if reply is None:
        os._exit(3)
    if reply == "hang":
        time.sleep(100)
    say(reply)
    if verb == "QUIT" or (verb == "." and "only" in replies):
        break
{last}
"""


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spawning, "GRACE", 0.5)


def server(replies: Mapping[str, str | None] | None = None, *, last: str = "") -> tuple[str, ...]:
    return (sys.executable, "-c", SERVER.format(replies=replies or {}, last=last))


def smtp(command: tuple[str, ...], **options: Any) -> Command:
    return Command(command, protocol="smtp", **options)


def letter(*recipients: str, message: bytes = LETTER) -> Transaction:
    return a_transaction(recipients=recipients or ("bob@example.org",), message=message)


async def told(plugin: Command, *transactions: Transaction) -> list[Verdict | Each | None]:
    """What the plugin says of each message; nothing that it has started is there afterwards."""
    await run_program(["true"], seconds=20)  # a loop opens some for itself when it first runs one
    descriptors = os.listdir("/proc/self/fd")
    plugin.startup(SITE)
    verdicts = [await plugin.queue(transaction) for transaction in transactions]
    await plugin.shutdown(SITE)
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks)
    await asyncio.sleep(0)  # the loop closes on its next turn what it was told to
    assert os.listdir("/proc/self/fd") == descriptors
    assert not any(map(alive, pids()))
    return verdicts


def pids() -> list[int]:
    written = Path("pids")
    return [int(line) for line in written.read_text().split()] if written.exists() else []


def alive(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    return Path(f"/proc/{pid}").exists()


# -- A real one: ourselves ------------------------------------------------------------------------

CONFIGURATION = """
hostname = "inner.example"
[[listen]]
name = "mx"
address = "127.0.0.1:0"
[[plugin]]
use = "domains"
domains = ["example.org"]
[[plugin]]
use = "maildir"
path = "mail"
"""


def ourselves() -> tuple[str, ...]:
    Path("gatepost.toml").write_text(CONFIGURATION)
    return (sys.executable, "-m", "gatepost", "stdio", "-c", "gatepost.toml")


@pytest.mark.parametrize(
    "message",
    [
        LETTER,
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n",
        b"A: b\r\n\r\n" + b"0123456789\r\n" * 90_000,
    ],
    ids=["letter", "dots", "1 MB"],
)
def test_a_message_arrives_octet_for_octet(message: bytes, run: Runner) -> None:
    verdicts = run(told(smtp(ourselves()), letter(message=message)))
    assert [type(verdict) for verdict in verdicts] == [Accept]
    (mail,) = Path("mail/new").iterdir()
    assert mail.read_bytes().endswith(message)
    assert b"mx.example" in mail.read_bytes()


def test_refusals_are_passed_back(run: Runner) -> None:
    (verdict,) = run(told(smtp(ourselves()), letter("bob@elsewhere.example")))
    assert isinstance(verdict, Deny)
    assert verdict.code == 550


def test_each_recipient_has_a_verdict(run: Runner) -> None:
    transaction = letter("bob@example.org", "bob@elsewhere.example")
    (answer,) = run(told(smtp(ourselves()), transaction))
    assert isinstance(answer, Each)
    verdicts = [answer.verdicts[recipient] for recipient in transaction.recipients]
    assert [type(verdict) for verdict in verdicts] == [Accept, Deny]


# -- What becomes of a message --------------------------------------------------------------------

# fmt: off
REPLIES: list[tuple[dict[str, str | None], Verdict]] = [
    ({},                                     Accept("Kept")),
    ({"MAIL": "550 5.7.1 Not you"},          Deny("Not you", code=550, status="5.7.1")),
    ({"RCPT": "452 4.2.2 Full"},             Defer("Full", code=452, status="4.2.2")),
    ({".":  "554 5.6.0 A virus"},          Deny("A virus", code=554, status="5.6.0")),
    ({".":  "421 4.3.0 Going"},            Defer("Going", code=451, status="4.3.0")),
    ({"EHLO": "521 5.3.2 Nobody here"},      Deny("Nobody here", code=554, status="5.3.2")),
]
# fmt: on


@pytest.mark.parametrize(("replies", "verdict"), REPLIES)
def test_its_replies_decide(replies: dict[str, str | None], verdict: Verdict, run: Runner) -> None:
    assert run(told(smtp(server(replies)), letter())) == [verdict]


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("reply", [None, "garbage", "250-", "hang", "999 what"])
def test_one_that_goes_wrong_defers(verb: str, reply: str | None) -> None:
    plugin = smtp(server({verb: reply}), wait=0.5 if reply in ("hang", "250-") else 25)
    (verdict,) = asyncio.run(told(plugin, letter()))
    assert isinstance(verdict, Defer)


def test_one_that_hangs_is_killed(run: Runner) -> None:
    assert run(told(smtp(server({".": "hang"}), wait=1), letter())) == [FAILED]
    assert len(pids()) == 1


def test_one_that_does_not_hear_the_end_is_killed(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = server(last="signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(100)")
    assert run(told(smtp(deaf), letter())) == [Accept("Kept")]
    assert "ended with signal 9" in caplog.text


def test_what_it_prints_beside_goes_to_the_log(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    babbler = server(last="print('one\\x1b[2J', file=sys.stderr); sys.exit(4)")
    assert run(told(smtp(babbler), letter())) == [Accept("Kept")]
    assert "ended with status 4: one [2J" in caplog.text


@pytest.mark.parametrize("program", ["/nowhere/to/be/found", "no-such-program", "/"])
def test_one_that_cannot_be_run_defers(program: str, run: Runner) -> None:
    (verdict,) = run(told(smtp((program,)), letter()))
    assert isinstance(verdict, Defer)
    assert "/nowhere" not in verdict.text


def test_it_is_kept_for_the_next_message(run: Runner) -> None:
    assert run(told(smtp(server()), letter(), letter(), letter())) == [Accept("Kept")] * 3
    assert len(pids()) == 1


def test_one_that_takes_a_single_message_is_started_again(run: Runner) -> None:
    plugin = smtp(server({"only": "one"}))
    assert run(told(plugin, letter(), letter())) == [Accept("Kept")] * 2
    assert len(pids()) == 2


def test_a_caller_who_is_cancelled_leaves_no_program_behind(run: Runner) -> None:
    async def cancelled() -> None:
        os.mkfifo("asked")
        asked = os.open("asked", os.O_RDONLY | os.O_NONBLOCK)
        plugin = smtp(("sh", "-c", "echo $$ >> pids; echo > asked; exec sleep 100"))
        running = asyncio.ensure_future(plugin.queue(letter()))
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(asked, begun.set)
        await begun.wait()
        loop.remove_reader(asked)
        os.close(asked)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(cancelled())
    assert len(pids()) == 1
    assert not any(map(alive, pids()))


# -- Without the plugin ---------------------------------------------------------------------------


def test_a_client_talks_to_a_program(run: Runner) -> None:
    async def scenario() -> Outcome:
        async with Client(Program(server()), hostname="mx.example", tls="may") as client:
            return await client.send(Address.of("anne@client.example"), [BOB], [LETTER])

    outcome = run(scenario())
    assert outcome.delivered
    assert not any(map(alive, pids()))


@pytest.mark.parametrize("arguments", [(), ("",), ("cat", "a\0b")])
def test_what_is_no_program(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="program"):
        Program(arguments)


def test_there_is_no_tls_to_a_program() -> None:
    with pytest.raises(ValueError, match="no TLS"):
        Client(Program(("cat",)), hostname="mx.example", tls="must")


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"command": ("sendmail", "-bs", "-f{sender}")},
        {"command": ("sendmail", "{recipients}")},
        {"command": ("sendmail", "-bs"), "null_sender": "nobody"},
        {"command": ("sendmail", "-bs"), "repeat": True},
        {"command": ("sendmail", "-bs"), "wait": 0},
    ],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"option '(command|null_sender|repeat|wait)'"):
        Command(protocol="smtp", **options)


def test_nobody_to_deliver_to_is_no_reason_to_accept() -> None:
    assert asyncio.run(smtp(server()).queue(a_transaction(message=LETTER))) is None
    assert pids() == []
