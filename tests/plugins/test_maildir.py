"""Maildirs: where mail goes, what is in the file, and that nothing half-done stays behind."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatepost import Accept, Address, Defer, Deny, Each, Message, Transaction
from gatepost.plugins.queue.maildir import LOOP, NO_ROOM, NOT_STORED, PART_LIMIT, Maildir
from gatepost.testing import a_session, a_transaction, converse
from gatepost.testing.samples import LETTER

BOB = ("bob@example.org",)
BOTH = ("bob@example.org", "carol@example.org")


def mails(directory: Path) -> list[Path]:
    """All files below a directory."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def stored(directory: Path) -> bytes:
    """What the only file below a directory holds."""
    (mail,) = mails(directory)
    return mail.read_bytes()


def place(pattern: str, address: Address) -> str:
    """The maildir of an address, below `mail`."""
    maildir = Maildir(path=Path("mail") / pattern)._maildir(address)
    return str(maildir.relative_to("mail"))


def lmtp(**what: Any) -> Transaction:
    return a_transaction(a_session(verb="LHLO"), **what)


# -- Where it goes --------------------------------------------------------------------------------


def test_one_maildir_for_all(tmp_path: Path) -> None:
    maildir = Maildir(path=tmp_path / "mail")
    assert maildir.queue(a_transaction(recipients=BOTH, message=LETTER)) == Accept()
    (mail,) = mails(tmp_path)
    assert mail.parent == tmp_path / "mail" / "new"
    assert {path.name for path in (tmp_path / "mail").iterdir()} == {"tmp", "new", "cur"}


# fmt: off
PLACES = [
    ("{local}",          "bob",                "example.org",       "bob"),
    ("{domain}/{local}", "bob",                "example.org",       "example.org/bob"),
    ("{address}",        "bob",                "example.org",       "bob@example.org"),
    ("x-{local}.y",      "bob",                "example.org",       "x-bob.y"),
    ("{local}",          "Bob",                "example.org",       "bob"),
    ("{domain}",         "bob",                "Example.ORG",       "example.org"),
    ("{domain}",         "bob",                "bücher.example",    "xn--bcher-kva.example"),
    ("{domain}",         "bob",                "[192.0.2.1]",       "%5B192.0.2.1%5D"),
    ("{domain}/{local}", "Postmaster",         "",                  "localhost/postmaster"),
    ("{local}",          "bob+lists",          "example.org",       "bob+lists"),
    ("{local}",          "a.b_c=d-e",          "example.org",       "a.b_c=d-e"),
    ("{local}",          "é",                  "example.org",       "%C3%A9"),
    ("{local}",          "e\u0301",            "example.org",       "%C3%A9"),
    ("{local}",          "a%b",                "example.org",       "a%25b"),
    ("{local}",          "",                   "example.org",       "%"),
    # standards.md A14, A15: names that would be paths, options or commands
    ("{local}",          "../../etc/cron.d/x", "example.org",       "%2E.%2F..%2Fetc%2Fcron.d%2Fx"),
    ("{local}",          "a/b",                "example.org",       "a%2Fb"),
    ("{local}",          ".",                  "example.org",       "%2E"),
    ("{local}",          "..",                 "example.org",       "%2E."),
    ("{local}",          "/etc/passwd",        "example.org",       "%2Fetc%2Fpasswd"),
    ("{local}",          "-rf",                "example.org",       "%2Drf"),
    ("{local}",          "|cmd",               "example.org",       "%7Ccmd"),
    ("{local}",          ":include:x",         "example.org",       "%3Ainclude%3Ax"),
    ("{local}",          ";id;",               "example.org",       "%3Bid%3B"),
    ("{local}",          "user+../x",          "example.org",       "user+..%2Fx"),
    ("{local}",          "{domain}",           "example.org",       "%7Bdomain%7D"),
    ("{address}",        "a@b",                "example.org",       "a%40b@example.org"),
]
# fmt: on


@pytest.mark.parametrize(("pattern", "local", "domain", "expected"), PLACES)
def test_the_maildir_of_an_address(pattern: str, local: str, domain: str, expected: str) -> None:
    assert place(pattern, Address(local, domain)) == expected


def test_a_long_part_ends_in_a_hash() -> None:
    one = place("{local}", Address("/" * 63 + "1", "example.org"))
    two = place("{local}", Address("/" * 63 + "2", "example.org"))
    assert one != two
    assert one[:60] == two[:60] == "%2F" * 20
    assert len(one) == len(two) == 94 <= PART_LIMIT


locals_ = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=15)


@given(locals_)
def test_no_address_leads_out_of_its_place(local: str) -> None:
    name = place("{local}", Address(local, "example.org"))
    assert re.fullmatch(r"[A-Za-z0-9_+=%][A-Za-z0-9._+=%-]*", name)
    assert len(name) <= PART_LIMIT


@given(locals_.filter(bool))
def test_a_name_tells_the_local_part_but_for_its_case(local: str) -> None:
    name = place("{local}", Address(local, "example.org"))
    assume("%%" not in name)
    assert unquote(name) == normalize("NFC", local).lower()


@pytest.mark.parametrize("pattern", ["mail/{user}", "mail/{}", "{local}/{Domain}"])
def test_an_unknown_part_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"option 'path' holds .*, which is no part of an address"):
        Maildir(path=Path(pattern))


@pytest.mark.parametrize("pattern", ["mail", "mail/{domain}/{local}", "{local}"])
def test_relative_paths_work(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maildir = Maildir(path=Path(pattern))
    assert maildir.queue(a_transaction(recipients=BOB, message=LETTER)) == Accept()
    assert len(mails(tmp_path)) == 1


def test_everything_is_for_the_owner_only(tmp_path: Path) -> None:
    maildir = Maildir(path=tmp_path / "mail" / "{domain}" / "{local}")
    maildir.queue(a_transaction(recipients=BOB, message=LETTER))
    for path in (tmp_path / "mail").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_the_name_is_unique_and_tells_the_size(tmp_path: Path) -> None:
    maildir = Maildir(path=tmp_path)
    for _ in range(20):
        maildir.queue(a_transaction(recipients=BOB, message=LETTER))
    assert len(mails(tmp_path)) == 20
    for mail in mails(tmp_path):
        name = rf"\d+\.M\d+P{os.getpid()}Q\d+R[0-9a-f]{{8}}\.[^/:]+,S={mail.stat().st_size}"
        assert re.fullmatch(name, mail.name)


def test_a_host_name_with_a_slash_or_colon_makes_no_other_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "../a:b")
    Maildir(path=tmp_path).queue(a_transaction(recipients=BOB, message=LETTER))
    (mail,) = mails(tmp_path)
    assert mail.parent == tmp_path / "new"
    assert mail.name.partition(",")[0].endswith(r"...\057a\072b")


# -- What is in it --------------------------------------------------------------------------------

TRACE = b"Return-Path: <anne@client.example>\r\nDelivered-To: bob@example.org\r\n"

# fmt: off
MESSAGES = {
    "plain":            LETTER,
    "dots":             b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\n",
    "8-bit":            b"Subject: x\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "long lines":       b"Subject: x\r\n\r\n" + b"a" * 998 + b"\r\n" + b"b" * 998 + b"\r\n",
    "no body":          b"Subject: x\r\n",
    "empty body":       b"Subject: x\r\n\r\n",
    "no final newline": b"Subject: x\r\n\r\nhello",
    "no newline":       b"Subject: x",
    "only a body":      b"\r\nhello\r\n",
    "an ugly header":   b"Subject:x\r\n folded\r\nnot a field\r\n\r\nhello\r\n",
    "nothing":          b"",
}
# fmt: on


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_the_message_arrives_byte_for_byte(message: bytes, tmp_path: Path) -> None:
    Maildir(path=tmp_path).queue(a_transaction(recipients=BOB, message=message))
    gap = b"" if message else b"\r\n"
    assert stored(tmp_path) == TRACE + gap + message


def test_a_body_without_a_header_continues_none_of_our_fields(tmp_path: Path) -> None:
    Maildir(path=tmp_path).queue(a_transaction(recipients=BOB, message=b" hello\r\n"))
    assert stored(tmp_path) == TRACE + b"\r\n hello\r\n"


@pytest.mark.parametrize("line_ends", ["crlf", "lf"])
def test_a_big_message_is_not_kept_in_memory(line_ends: Any, tmp_path: Path) -> None:
    transaction = a_transaction(recipients=BOB)
    transaction.message = Message(memory=1000, directory=tmp_path)
    octets = b"Subject: x\r\n\r\n" + b"".join(b"%d\r\n" % number for number in range(100_000))
    transaction.message.append(octets)
    transaction.message.finish()
    Maildir(path=tmp_path / "mail", line_ends=line_ends).queue(transaction)
    whole = TRACE + octets
    assert stored(tmp_path / "mail") == (
        whole if line_ends == "crlf" else whole.replace(b"\r\n", b"\n")
    )


def test_lines_may_end_as_they_do_on_this_machine(tmp_path: Path) -> None:
    message = b"Subject: x\r\n\r\na\rb\r\r\nc\r\n\r"
    Maildir(path=tmp_path, line_ends="lf").queue(a_transaction(recipients=BOB, message=message))
    assert stored(tmp_path) == TRACE.replace(b"\r\n", b"\n") + b"Subject: x\n\na\rb\r\nc\n\r"


def test_return_path_stands_there_once(tmp_path: Path) -> None:
    message = (
        b"Return-path: <evil@a.example>\r\nSubject: x\r\nRETURN-PATH:\r\n <b>\r\n\r\nhello\r\n"
    )
    transaction = a_transaction(recipients=BOB, message=message)
    Maildir(path=tmp_path).queue(transaction)
    assert stored(tmp_path) == TRACE + b"Subject: x\r\n\r\nhello\r\n"
    assert bytes(transaction.message) == message, "others get the message as it came"


@pytest.mark.parametrize(
    ("sender", "field"),
    [
        ("", b"Return-Path: <>\r\n"),
        ('"a b"@client.example', b'Return-Path: <"a b"@client.example>\r\n'),
        ("ännchen@bücher.example", "Return-Path: <ännchen@bücher.example>\r\n".encode()),
    ],
)
def test_return_path_is_the_sender(sender: str, field: bytes, tmp_path: Path) -> None:
    Maildir(path=tmp_path).queue(a_transaction(sender=sender, recipients=BOB, message=LETTER))
    assert stored(tmp_path).startswith(field)


def test_one_file_for_all_recipients_of_a_maildir(tmp_path: Path) -> None:
    recipients = (*BOTH, "bob@example.org", "dave@elsewhere.example")
    maildir = Maildir(path=tmp_path / "{domain}")
    assert maildir.queue(a_transaction(recipients=recipients, message=LETTER)) == Accept()
    assert stored(tmp_path / "example.org") == (
        b"Return-Path: <anne@client.example>\r\nDelivered-To: bob@example.org\r\n"
        b"Delivered-To: carol@example.org\r\n" + LETTER
    )
    assert b"Delivered-To: dave@elsewhere.example\r\n" in stored(tmp_path / "elsewhere.example")


# -- Loops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        b"Delivered-To: bob@example.org\r\n",
        b"delivered-to: <BOB@Example.ORG>\r\n",
        b"Delivered-To: x\r\nDelivered-To: bob@example.org\r\n",
    ],
)
def test_a_second_delivery_to_the_same_address_is_a_loop(field: bytes, tmp_path: Path) -> None:
    transaction = a_transaction(recipients=BOB, message=field + LETTER)
    assert Maildir(path=tmp_path).queue(transaction) == LOOP
    assert Deny(LOOP.text, status="5.4.6") == LOOP
    assert mails(tmp_path) == []


@pytest.mark.parametrize(
    "field",
    [b"Delivered-To: carol@example.org\r\n", b"Delivered-To: \r\n", b"Delivered-To: <<>\r\n"],
)
def test_a_delivery_to_somebody_else_is_none(field: bytes, tmp_path: Path) -> None:
    transaction = a_transaction(recipients=BOB, message=field + LETTER)
    assert Maildir(path=tmp_path).queue(transaction) == Accept()


def test_a_loop_for_one_recipient_over_lmtp_leaves_the_others_alone(tmp_path: Path) -> None:
    message = b"Delivered-To: bob@example.org\r\n" + LETTER
    transaction = lmtp(recipients=BOTH, message=message)
    bob, carol = transaction.recipients
    maildir = Maildir(path=tmp_path / "{local}")
    assert maildir.queue(transaction) == Each({bob: LOOP, carol: Accept()})
    assert len(mails(tmp_path / "carol")) == 1
    assert not (tmp_path / "bob").exists()


def test_a_loop_for_one_recipient_over_smtp_delivers_to_nobody(tmp_path: Path) -> None:
    message = b"Delivered-To: bob@example.org\r\n" + LETTER
    maildir = Maildir(path=tmp_path / "{local}")
    assert maildir.queue(a_transaction(recipients=BOTH, message=message)) == LOOP
    assert mails(tmp_path) == []


# -- Accepting means keeping ----------------------------------------------------------------------


def test_it_accepts_when_the_message_is_on_stable_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    paths: dict[int, Path] = {}
    open_, fsync, rename = os.open, os.fsync, os.rename

    def recorded_open(path: str | Path, flags: int, mode: int = 0o777) -> int:
        descriptor = open_(path, flags, mode)
        paths[descriptor] = Path(path)
        return descriptor

    def recorded_fsync(descriptor: int) -> None:
        path = paths[descriptor]
        if path.is_file():
            assert path.read_bytes() == TRACE + LETTER, "written before it is synced"
            steps.append(f"sync a file in {path.parent.relative_to(tmp_path)}")
        else:
            steps.append(f"sync {path.relative_to(tmp_path)}")
        fsync(descriptor)

    def recorded_rename(source: Path, target: Path) -> None:
        steps.append(f"{source.parent.name} to {target.parent.name}")
        rename(source, target)

    monkeypatch.setattr(os, "open", recorded_open)
    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    maildir = Maildir(path=tmp_path / "mail" / "{domain}" / "{local}")
    delivery = [
        "sync a file in mail/example.org/bob/tmp",
        "tmp to new",
        "sync mail/example.org/bob/new",
    ]
    maildir.queue(a_transaction(recipients=BOB, message=LETTER))
    assert steps == [
        "sync .",
        "sync mail",
        "sync mail/example.org",
        "sync mail/example.org/bob",
        "sync mail/example.org/bob",
        *delivery,
    ]
    steps.clear()
    maildir.queue(a_transaction(recipients=BOB, message=LETTER))
    assert steps == delivery


def failing(number: int, wanted: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
    def fail(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if wanted(*arguments):
                raise OSError(number, os.strerror(number))
            return original(*arguments, **keywords)

        return call

    return fail


def of_second(path: object, *_: object) -> bool:
    return "carol" in str(path)


def is_directory(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


FULL = pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
# fmt: off
STEP = pytest.mark.parametrize(("function", "wanted"), [
    ("mkdir",  lambda *_: True),
    ("open",   lambda *_: True),
    ("fsync",  lambda *_: True),
    ("fsync",  is_directory),
    ("rename", lambda *_: True),
    ("mkdir",  of_second),
    ("open",   of_second),
    ("rename", of_second),
])
# fmt: on


@FULL
@STEP
def test_a_full_disk_defers_and_leaves_no_mail_behind(
    function: str,
    wanted: Callable[..., bool],
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maildir = Maildir(path=tmp_path / "mail" / "{local}")
    monkeypatch.setattr(os, function, failing(number, wanted)(getattr(os, function)))
    assert maildir.queue(a_transaction(recipients=BOTH, message=LETTER)) == NO_ROOM
    assert mails(tmp_path) == []
    assert Defer(NO_ROOM.text, code=452, status="4.3.1") == NO_ROOM


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_disk_that_fills_up_while_writing(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir = Maildir(path=tmp_path)
    real = os.open

    def open_full(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if flags & os.O_EXCL:
            full = real("/dev/full", os.O_WRONLY)
            os.dup2(full, descriptor)
            os.close(full)
        return descriptor

    monkeypatch.setattr(os, "open", open_full)
    transaction = a_transaction(recipients=BOB, message=LETTER + b"x" * size)
    assert maildir.queue(transaction) == NO_ROOM
    assert mails(tmp_path) == []


@STEP
def test_any_other_trouble_defers_too(
    function: str,
    wanted: Callable[..., bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    maildir = Maildir(path=tmp_path / "mail" / "{local}")
    monkeypatch.setattr(os, function, failing(errno.EIO, wanted)(getattr(os, function)))
    transaction = a_transaction(recipients=BOTH, message=LETTER)
    assert maildir.queue(transaction) == NOT_STORED
    assert mails(tmp_path) == []
    assert "Input/output error" in caplog.text
    assert transaction.id in caplog.text


def test_over_lmtp_one_recipient_fares_worse_than_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = lmtp(recipients=BOTH, message=LETTER)
    bob, carol = transaction.recipients
    monkeypatch.setattr(os, "rename", failing(errno.EDQUOT, of_second)(os.rename))
    verdict = Maildir(path=tmp_path / "{local}").queue(transaction)
    assert verdict == Each({bob: Accept(), carol: NO_ROOM})
    assert [mail.parent for mail in mails(tmp_path)] == [tmp_path / "bob" / "new"]


@pytest.mark.parametrize("obstacle", ["mail", "mail/bob", "mail/bob/tmp", "mail/bob/new"])
def test_a_file_in_the_way_defers(obstacle: str, tmp_path: Path) -> None:
    (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / obstacle).touch()
    maildir = Maildir(path=tmp_path / "mail" / "{local}")
    assert maildir.queue(a_transaction(recipients=BOB, message=LETTER)) == NOT_STORED


def test_a_dangling_link_in_the_way_defers(tmp_path: Path) -> None:
    (tmp_path / "mail").symlink_to(tmp_path / "nowhere" / "at-all")
    maildir = Maildir(path=tmp_path / "mail" / "{local}")
    assert maildir.queue(a_transaction(recipients=BOB, message=LETTER)) == NOT_STORED


def test_a_path_that_is_too_long_defers(tmp_path: Path) -> None:
    maildir = Maildir(path=tmp_path / "{address}-{address}")
    long = f"{'a' * 64}@{'.'.join(['b' * 40] * 4)}.example"
    assert maildir.queue(a_transaction(recipients=(long,), message=LETTER)) == NOT_STORED


def test_a_message_that_was_given_up_meanwhile_is_no_empty_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = a_transaction(recipients=BOTH, message=LETTER)
    fsync = os.fsync

    def fsync_slowly(descriptor: int) -> None:
        fsync(descriptor)
        if not is_directory(descriptor):
            transaction.message.drop()

    monkeypatch.setattr(os, "fsync", fsync_slowly)
    with pytest.raises(RuntimeError, match="given up"):
        Maildir(path=tmp_path / "{local}").queue(transaction)
    assert mails(tmp_path) == []


def test_nobody_to_deliver_to_is_no_reason_to_accept(tmp_path: Path) -> None:
    assert Maildir(path=tmp_path).queue(a_transaction(message=LETTER)) is None


def test_the_event_loop_does_not_wait_for_the_disk() -> None:
    assert getattr(Maildir.queue, "__blocking__", False)


@pytest.mark.parametrize("pattern", ["mail", "mail/{local}", "mail/all/{local}"])
def test_a_start_with_a_file_in_the_way_fails(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "mail").touch()
    with pytest.raises(OSError, match="mail"):
        asyncio.run(converse([Maildir(path=tmp_path / pattern)], "S: 220 ..."))


def test_a_start_makes_the_directory_of_all_mail(tmp_path: Path) -> None:
    asyncio.run(converse([Maildir(path=tmp_path / "a" / "b" / "{local}" / "c")], "S: 220 ..."))
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [Path("a"), Path("a/b")]


PROCESS = """
import sys
from pathlib import Path
from gatepost import Accept
from gatepost.plugins.queue.maildir import Maildir
from gatepost.testing import a_transaction

sys.stdin.readline()
maildir = Maildir(path=Path(sys.argv[1]) / "{domain}" / "{local}")
for number in range(50):
    message = b"Subject: %s %d\\r\\n\\r\\nHello\\r\\n" % (sys.argv[2].encode(), number)
    transaction = a_transaction(recipients=(f"bob{number % 5}@example.org",), message=message)
    assert maildir.queue(transaction) == Accept()
"""


def test_two_processes_deliver_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, tmp_path, name], stdin=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for process in processes:  # both are told to begin when both are there
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0]
    subjects = {re.findall(rb"Subject: .*", mail.read_bytes())[0] for mail in mails(tmp_path)}
    assert len(subjects) == len(mails(tmp_path)) == 100
    assert {mail.parent.name for mail in mails(tmp_path)} == {"new"}
