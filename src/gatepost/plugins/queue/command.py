"""Programs that take mail."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gatepost import (
    Accept,
    Address,
    Defer,
    Deny,
    Each,
    Ended,
    NextHops,
    Plugin,
    Program,
    Recipient,
    Site,
    Timeouts,
    Transaction,
    Verdict,
    passed_back,
    run_program,
    with_lf,
)

log = logging.getLogger(__name__)

DASH: Final = Deny("An address that begins with a dash is not taken here", status="5.1.0")
FAILED: Final = Defer("The message cannot be handed on now", status="4.3.0")

#: What an exit status means, as in <sysexits.h>; any other is a trouble of ours.
# fmt: off
SYSEXITS: Final[dict[int, Verdict]] = {
    0:  Accept(),
    65: Deny("The message is malformed", status="5.6.0"),                # EX_DATAERR
    67: Deny("No such mailbox", code=550, status="5.1.1"),               # EX_NOUSER
    68: Deny("No such host", code=550, status="5.1.2"),                  # EX_NOHOST
    69: Deny("The message cannot be delivered", status="5.3.0"),         # EX_UNAVAILABLE
    77: Deny("The message is refused", code=550, status="5.7.1"),        # EX_NOPERM
}
#: What an exit status of qmail-queue means: 11 to 40 are permanent.
QMAIL: Final[dict[int, Verdict]] = {
    **dict.fromkeys(range(11, 41), Deny("The message is refused", status="5.3.0")),
    0:  Accept(),
    11: Deny("An address is too long", status="5.1.3"),
    53: Defer("No room for the message now", code=452, status="4.3.1"),
}
# fmt: on

_BLANK = re.compile(r"\{([a-z_]+)\}")
_BLANKS = frozenset({"sender", "recipient", "recipients", "id"})
_FAULT = "there is only {sender}, {recipient}, {id} and, as an item of its own, {recipients}"


@dataclass
class Command(Plugin):
    """Hand each message to a program, without a shell in between.

    The items of `command` are the program and its arguments.  In them `{sender}`, `{recipient}`
    and `{id}` stand for what they say, and an item `{recipients}` for one item a recipient.  With
    `{recipient}` the program is run for each recipient in turn: use it on an LMTP listener, for
    an SMTP client hears one answer only, and sends the message again to all when one recipient had
    to wait.  An address that begins with a dash, and would pass for an option, is refused, unless
    an item `--` stands before it.

    | `protocol` | the program gets |
    |---|---|
    | `plain` | the message on its standard input |
    | `bsmtp` | envelope and message there as batch SMTP, as `exim -bS` wants them |
    | `qmail-queue` | the message on descriptor 0, the envelope on descriptor 1 |
    | `smtp` | a dialogue on its standard input and output, as `sendmail -bs` holds it |

    Exit status 0 accepts: the program has taken the message.  65, 67, 68, 69 and 77 of `sysexits.h`
    deny it; with `qmail-queue`, 11 to 40 do.  All else defers: other statuses, a signal, a program
    that is not there, and one that is not ready within `wait` seconds, which is killed with all
    that it has started.  What it prints goes to the log.

    With `smtp` the program's replies decide, and are passed back with their codes.  Its arguments
    have no blanks to fill in, for the dialogue says it all.  It is kept for a while and gets more
    messages.  Once nothing follows, it has 3 seconds to end before it is killed.

        [[plugin]]
        use = "domains"
        domains = ["example.org"]
        [[plugin]]
        use = "command"
        command = ["sh", "-c", "cat > /dev/null; exit 67"]

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
        S: 550 5.1.1 No such mailbox
    """

    command: tuple[str, ...]  #: the program and its arguments
    protocol: Literal["plain", "bsmtp", "qmail-queue", "smtp"] = "plain"  #: how it gets the message
    line_ends: Literal["lf", "crlf"] = "lf"  #: what the program's lines end in; in `smtp` CRLF
    null_sender: str = "<>"  #: what {sender} is for a notification, which has none
    wait: float = 25.0  #: seconds for one message; let it be less than `timeout`
    at_once: int = 20  #: how many may run at the same time
    repeat: bool = False  #: deny in the program's own words: the first line that it prints
    _hops: NextHops = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise ValueError("option 'command' must name a program")
        for item in self.command:
            for name in _BLANK.findall(item):
                if name not in _BLANKS or (name == "recipients" and item != "{recipients}"):
                    raise ValueError(f"option 'command' holds {item!r}, but {_FAULT}")
        if self.wait <= 0:
            raise ValueError("option 'wait' must be more than 0")
        if self.at_once < 1:
            raise ValueError("option 'at_once' must be at least 1")
        if self.protocol == "smtp":
            self._require_dialogue()
        self._connect_as("localhost")
        self._one_by_one = any("{recipient}" in item for item in self.command)
        self._places = asyncio.Semaphore(self.at_once)

    def startup(self, site: Site) -> None:
        if shutil.which(self.command[0]) is None:
            log.warning("there is no program %s: all mail for it is deferred", self.command[0])
        self._connect_as(site.hostname)

    async def shutdown(self, site: Site) -> None:
        await self._hops.close()

    async def queue(self, transaction: Transaction) -> Verdict | Each | None:
        mailboxes = [recipient.address for recipient in transaction.recipients]
        if mailboxes and self.protocol == "smtp":
            return await self._told(transaction)
        if not self._one_by_one or len(mailboxes) < 2:
            return await self._handed_over(transaction, mailboxes) if mailboxes else None
        verdicts: dict[Recipient, Verdict] = {}
        for recipient in transaction.recipients:
            verdict = await self._handed_over(transaction, [recipient.address])
            verdicts[recipient] = verdict
            if verdict != Accept() and transaction.session.verb != "LHLO":
                break  # it will come again, or never: the fewer have it, the better
        return verdict if len(set(verdicts.values())) == 1 else Each(verdicts)

    async def _handed_over(self, transaction: Transaction, mailboxes: list[Address]) -> Verdict:
        """What comes of handing the message over for these recipients."""
        arguments = self._arguments(transaction, [address.mailbox for address in mailboxes])
        if arguments is None:
            return DASH
        envelope = None
        if self.protocol == "qmail-queue":
            envelope = _envelope(transaction.sender, mailboxes)
        content = self._content(transaction, mailboxes)
        try:
            async with self._places:
                ended = await run_program(arguments, content, seconds=self.wait, envelope=envelope)
        except TimeoutError:
            log.error("%s: %s took too long and was killed", transaction.id, self.command[0])
            return FAILED
        except OSError as error:
            log.error("%s: %s failed: %s", transaction.id, self.command[0], error)
            return FAILED
        return self._judged(transaction, ended)

    def _arguments(self, transaction: Transaction, mailboxes: list[str]) -> list[str] | None:
        """The program and its arguments; None where an address would pass for an option."""
        words = {
            "sender": transaction.sender.mailbox or self.null_sender,
            "recipient": mailboxes[0],
            "id": transaction.id,
        }
        arguments: list[str] = []
        for item in self.command:
            if item == "{recipients}":
                values = mailboxes
            else:
                values = [_BLANK.sub(lambda match: words[match[1]], item)]
            dashes = item.startswith("{") and any(value.startswith("-") for value in values)
            if dashes and "--" not in arguments:
                return None
            arguments += values
        return arguments

    def _content(self, transaction: Transaction, mailboxes: list[Address]) -> Iterator[bytes]:
        """What the program reads from its standard input."""
        pieces = iter(transaction.message)
        if self.protocol == "bsmtp":
            pieces = _batch(transaction.sender, mailboxes, pieces)
        return with_lf(pieces) if self.line_ends == "lf" else pieces

    def _judged(self, transaction: Transaction, ended: Ended) -> Verdict:
        table = QMAIL if self.protocol == "qmail-queue" else SYSEXITS
        verdict = table.get(ended.status, FAILED)
        log.log(
            logging.INFO if verdict == Accept() else logging.WARNING,
            "%s: %s ended with %s: %s",
            transaction.id,
            self.command[0],
            ended,
            " | ".join(ended.lines),
        )
        if self.repeat and ended.lines and isinstance(verdict, Deny):
            return replace(verdict, text=ended.lines[0])
        return verdict

    # -- A dialogue -----------------------------------------------------------------------------

    def _require_dialogue(self) -> None:
        """Refuse options that mean nothing to a program that speaks SMTP."""
        if any(_BLANK.search(item) for item in self.command):
            raise ValueError("option 'command' has nothing to fill in with the protocol 'smtp'")
        if self.null_sender != "<>":
            raise ValueError("option 'null_sender' has no meaning with the protocol 'smtp'")
        if self.repeat:
            raise ValueError("option 'repeat' goes without saying with the protocol 'smtp'")

    def _connect_as(self, hostname: str) -> None:
        timeouts = Timeouts(end_of_data=self.wait)
        self._hops = NextHops(hostname=hostname, timeouts=timeouts, most=self.at_once)

    async def _told(self, transaction: Transaction) -> Verdict | Each:
        """What comes of telling the program in SMTP."""
        program = Program(self.command)
        try:
            async with self._places, asyncio.timeout(self.wait):
                outcome = await self._hops.hand_on(transaction, [program])
        except TimeoutError:
            log.error("%s: %s took too long", transaction.id, self.command[0])
            return FAILED
        for reply in dict.fromkeys(outcome.replies):
            level = logging.INFO if reply.positive else logging.WARNING
            words = str(reply).replace("\n", " | ")
            log.log(level, "%s: %s said: %s", transaction.id, self.command[0], words)
        return passed_back(outcome, transaction.recipients)


# -- What a program reads -------------------------------------------------------------------------


def _envelope(sender: Address, recipients: Iterable[Address]) -> bytes:
    """The envelope as qmail-queue reads it; there an address has no quotes."""
    words = [f"F{_unquoted(sender)}", *(f"T{_unquoted(address)}" for address in recipients), ""]
    return b"".join(word.encode() + b"\0" for word in words)


def _unquoted(address: Address) -> str:
    return f"{address.local}@{address.domain}" if address.domain else address.local


def _batch(
    sender: Address, recipients: Iterable[Address], pieces: Iterable[bytes]
) -> Iterator[bytes]:
    """Envelope and message as batch SMTP.

    A dot is doubled behind every LF, for whoever reads this may take a bare one for a line's end.
    """
    commands = [f"MAIL FROM:{sender}", *(f"RCPT TO:{address}" for address in recipients), "DATA"]
    yield b"".join(command.encode() + b"\r\n" for command in commands)
    last = b"\n"
    for piece in pieces:
        stuffed = piece.replace(b"\n.", b"\n..")
        yield b"." + stuffed if last == b"\n" and piece.startswith(b".") else stuffed
        last = piece[-1:] or last
    yield b".\r\nQUIT\r\n" if last == b"\n" else b"\r\n.\r\nQUIT\r\n"
