"""Mailboxes that are directories, one file a message."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import time
import unicodedata
from collections.abc import Container, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import count, takewhile
from pathlib import Path
from typing import Final, Literal

from gatepost import (
    Accept,
    Address,
    Defer,
    Deny,
    Each,
    Headers,
    Message,
    Plugin,
    Recipient,
    Site,
    Transaction,
    Verdict,
    blocking,
    with_lf,
)

log = logging.getLogger(__name__)

#: Characters of an address' part in a path; a longer one ends in a hash.
PART_LIMIT: Final = 100
#: Octets that are read at once.
PIECE: Final = 65_536

NO_ROOM: Final = Defer("No room for the message now", code=452, status="4.3.1")
NOT_STORED: Final = Defer("The message cannot be stored now", status="4.3.0")
LOOP: Final = Deny("The message was delivered here before, it goes in circles", status="5.4.6")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PART = re.compile(r"\{(.*?)\}")
_UNSAFE = re.compile(rb"\A[.-]|[^A-Za-z0-9._+=-]")
_deliveries = count()


@dataclass
class Maildir(Plugin):
    """Deliver into maildirs, one file a message.

    A message is accepted when it is on stable storage: its file is written in `tmp`, synced and
    moved to `new`, and `new` is synced.  A maildir that is missing is made, for its owner only.

    `path` is one maildir for all recipients, or a pattern that holds parts of the address:
    `{local}`, `{domain}`, `{address}` (`bob@example.org`).  They are in lower case, the domain in
    A-labels.  Other octets than `A-Z a-z 0-9 . _ + = -`, and a dot or dash that comes first, become
    `%` and two hexadecimal digits: no address leads out of its place.  An empty local part becomes
    `%`; of a part beyond 100 characters remain 60, `%%` and a hash.  An extension (`bob+lists`)
    stays on.

    On top of the message go Return-Path, instead of any other, and Delivered-To for each recipient
    of that maildir; one that is there already for the same address is a loop, and denied.  An SMTP
    client hears one answer, so it gets the message delivered to all recipients or to none; an LMTP
    client hears of each.

        [[plugin]]
        use = "domains"
        domains = ["example.org"]
        [[plugin]]
        use = "maildir"
        path = "mail/{domain}/{local}"

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
        C:
        C: How are you?
        C: .
        S: 250 2.0.0 Queued as ...
    """

    path: Path  #: the maildir, or a pattern with {local}, {domain} or {address}
    line_ends: Literal["crlf", "lf"] = "crlf"  #: of the file: crlf, as they came, or lf
    local_domain: str = "localhost"  #: what {domain} is for a <Postmaster> without a domain

    def __post_init__(self) -> None:
        for name in _PART.findall(str(self.path)):
            if name not in ("local", "domain", "address"):
                raise ValueError(
                    f"option 'path' holds {{{name}}}, which is no part of an address: "
                    "write {local}, {domain} or {address}"
                )
        # No address has a part in this much of it.
        self._root = Path(*takewhile(lambda level: not _PART.search(level), self.path.parts))

    def startup(self, site: Site) -> None:
        _make(self._root)  # so that a lack of permission shows at once

    @blocking
    def queue(self, transaction: Transaction) -> Verdict | Each | None:
        if not transaction.recipients:
            return None
        together = transaction.session.verb != "LHLO"
        verdicts: dict[Recipient, Verdict] = dict.fromkeys(_looping(transaction), LOOP)
        if together and verdicts:
            return LOOP
        letters = self._letters(transaction, verdicts)
        if together:
            return self._delivered(transaction, letters)
        for letter in letters:
            verdict = self._delivered(transaction, [letter])
            verdicts |= dict.fromkeys(letter.recipients, verdict)
        return Each(verdicts)

    def _letters(self, transaction: Transaction, without: Container[Recipient]) -> list[_Letter]:
        """One letter for each maildir that the message goes to."""
        maildirs: dict[Path, list[Recipient]] = {}
        for recipient in transaction.recipients:
            if recipient not in without:
                maildirs.setdefault(self._maildir(recipient.address), []).append(recipient)
        message = transaction.message
        header, size = bytes(message.headers), message.size
        return [
            _Letter(maildir, recipients, _trace(transaction, recipients), message, header, size)
            for maildir, recipients in maildirs.items()
        ]

    def _maildir(self, address: Address) -> Path:
        local, domain = _folded(address)
        parts = {"local": _safe(local), "domain": _safe(domain or self.local_domain)}
        parts["address"] = f"{parts['local']}@{parts['domain']}"
        return Path(_PART.sub(lambda match: parts[match[1]], str(self.path)))

    def _delivered(self, transaction: Transaction, letters: list[_Letter]) -> Verdict:
        """What comes of delivering all these letters or none."""
        try:
            with ExitStack() as undo:
                for letter in letters:
                    self._write(letter, undo)
                for letter in letters:
                    letter.publish()
                undo.pop_all()
        except OSError as error:
            log.error("%s: cannot deliver to %s: %s", transaction.id, self.path, error)
            return NO_ROOM if error.errno in _FULL else NOT_STORED
        for letter in letters:
            log.info("%s: delivered to %s", transaction.id, letter.file)
        return Accept()

    def _write(self, letter: _Letter, undo: ExitStack) -> None:
        try:
            letter.write(self.line_ends, undo)
        except FileNotFoundError:
            _make_maildir(letter.maildir, self._root)
            letter.write(self.line_ends, undo)


@dataclass(slots=True)
class _Letter:
    """A message on its way into one maildir."""

    maildir: Path
    recipients: list[Recipient]
    trace: Headers
    message: Message
    header: bytes  # of the message, as it was when the delivery began
    size: int  # and its octets
    file: Path = field(init=False)  # where it is now, or will be

    def __post_init__(self) -> None:
        self.file = self.maildir / "tmp" / _unique_name()

    def write(self, line_ends: str, undo: ExitStack) -> None:
        """Write the file in `tmp`, and wait until it is on stable storage."""
        contents = self._contents()
        with open(self.file, "xb", opener=partial(os.open, mode=0o600)) as file:
            undo.callback(self._withdraw)
            for piece in with_lf(contents) if line_ends == "lf" else contents:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())

    def publish(self) -> None:
        """Move the file to `new`, where it is a mail, and wait until that is on stable storage."""
        size = self.file.stat().st_size
        target = self.maildir / "new" / f"{self.file.name},S={size}"
        os.rename(self.file, target)
        self.file = target
        _sync(target.parent)

    def _withdraw(self) -> None:
        with suppress(OSError):
            self.file.unlink()

    def _contents(self) -> Iterator[bytes]:
        headers = Headers(self.header)
        headers.remove("Return-Path")
        yield bytes(self.trace) + bytes(headers)
        if not (self.header or self.message.separated):
            yield b"\r\n"  # else a first line that is indented would continue our field
        with self.message.open() as file:
            left = self.size - len(file.read(len(self.header)))
            for piece in iter(partial(file.read, PIECE), b""):
                left -= len(piece)
                yield piece
        if left:
            # A delivery that took too long goes on in its thread, and the message may be dropped
            # under its hands: what remains must not pass for the whole.
            raise RuntimeError("the message was given up while it was delivered")


def _trace(transaction: Transaction, recipients: Iterable[Recipient]) -> Headers:
    """The fields of final delivery (RFC 5321, 4.4)."""
    trace = Headers()
    trace.add("Return-Path", str(transaction.sender), utf8=True)
    for mailbox in dict.fromkeys(recipient.address.mailbox for recipient in recipients):
        trace.add("Delivered-To", mailbox, utf8=True)
    return trace


def _looping(transaction: Transaction) -> list[Recipient]:
    """The recipients whose Delivered-To the message already carries."""
    headers = transaction.message.headers
    if not headers.count("Delivered-To"):
        return []
    before = set[tuple[str, str]]()
    for value in headers.get_all("Delivered-To"):
        with suppress(ValueError):  # what is no address is no recipient of ours
            before.add(_folded(Address.of(value)))
    return [one for one in transaction.recipients if _folded(one.address) in before]


def _folded(address: Address) -> tuple[str, str]:
    """Local part and domain, the same for all spellings that mean one mailbox here."""
    return unicodedata.normalize("NFC", address.local).lower(), address.ascii_domain


def _safe(part: str) -> str:
    """A part of an address as a name in the file system, or a piece of one; no two come out alike.

    It is never empty, never begins with a dot or dash, and holds no slash.
    """
    octets = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], part.encode())
    name = octets.decode("ascii") or "%"
    if len(name) > PART_LIMIT:
        name = f"{name[:60]}%%{sha256(octets).hexdigest()[:32]}"
    return name


def _unique_name() -> str:
    """A name that no other delivery chooses, on whatever host that shares the maildir."""
    seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    host = socket.gethostname().replace("/", r"\057").replace(":", r"\072")
    unique = f"M{microseconds}P{os.getpid()}Q{next(_deliveries)}R{os.urandom(4).hex()}"
    return f"{seconds}.{unique}.{host}"


def _make_maildir(maildir: Path, root: Path) -> None:
    """Make what is missing of a maildir that lies at or below `root`.

    `tmp` comes last: whoever finds it knows that all the rest is on stable storage.
    """
    _make(root)
    below = [level for level in (maildir, *maildir.parents) if root in level.parents]
    for directory in (*reversed(below), maildir / "cur", maildir / "new"):
        directory.mkdir(0o700, exist_ok=True)
        _sync(directory.parent)
    (maildir / "tmp").mkdir(0o700, exist_ok=True)


def _make(directory: Path) -> None:
    """Make a directory and those that lead to it, where they are missing."""
    missing = [level for level in (directory, *directory.parents) if not level.is_dir()]
    for level in reversed(missing):
        level.mkdir(0o700, exist_ok=True)
        _sync(level.parent)


def _sync(directory: Path) -> None:
    """Wait until the names in a directory are on stable storage."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
