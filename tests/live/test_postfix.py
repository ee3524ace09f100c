"""A real Postfix as a neighbour: as the next hop that we hand on to, and as the client."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Defer,
    Deny,
    Each,
    Plugin,
    Recipient,
    Transaction,
    Verdict,
)
from gatepost.app import Gate, Listen
from gatepost.client import Client, Destination, Outcome, Stage, Timeouts
from gatepost.message import Message
from gatepost.plugins.queue.forward import Forward
from gatepost.protocol.parameters import MailParameters
from tests.ports import free_ports

PROGRAMS = "/usr/sbin:/usr/local/sbin"
POSTFIX = shutil.which("postfix", path=PROGRAMS)
SENDMAIL = shutil.which("sendmail", path=PROGRAMS)
DAEMONS = Path("/usr/lib/postfix/sbin")
pytestmark = [
    pytest.mark.skipif(
        POSTFIX is None or SENDMAIL is None or not (DAEMONS / "master").exists(),
        reason="Postfix is not installed where Debian has it",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix is started by root only"),
]

#: Seconds after which Postfix ends by itself, whatever becomes of the tests.
LIFETIME = 90
#: Seconds that a message may be on its way.
PATIENCE = 15.0
NOBODY = 65534

MAIN = """
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
daemon_directory = {daemons}
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
local_header_rewrite_clients =
alias_maps =
alias_database =
message_size_limit = 1000000
line_length_limit = 2048
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{later@example.org = 450 4.2.1 Come back}} }}
    reject_unauth_destination
virtual_mailbox_domains = example.org
virtual_mailbox_base = {directory}/mail
virtual_mailbox_maps = inline:{{
    bob@example.org=bob/ later@example.org=later/ bücher@example.org=b/ }}
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
transport_maps = inline:{{
    smtp.example=smtp:[127.0.0.1]:{smtp}
    lmtp.example=lmtp:inet:127.0.0.1:{lmtp}
    client.example=discard: }}
"""
MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{plain_port} inet n - n - - smtpd
    -o smtpd_discard_ehlo_keywords=chunking,pipelining,silent-discard
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
HEAD = (
    b"Message-ID: <1@client.example>\r\nDate: Sun, 22 Nov 2026 19:00:00 +0000\r\n"
    b"From: anne@client.example\r\nSubject: test\r\n\r\n"
)
LETTERS = {
    "plain": HEAD + b"How are you?\r\n",
    "dots": HEAD + b".\r\n..\r\n.one\r\n...three\r\n. \r\n\r\nend.\r\n",
    "998 octets": HEAD + b"x" * 998 + b"\r\n." + b"y" * 997 + b"\r\n",
    "8-bit": HEAD + "Grüße, 你好\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "UTF-8 header": HEAD.replace(b"test", "Grüße".encode()) + b"How are you?\r\n",
    "empty body": HEAD,
    "500 KB": HEAD + (b"0123456789" * 7 + b"\r\n") * 7000,
}
#: What servers put on top of a message.
TRACE = re.compile(
    rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received|Authentication-Results): "
    rb"[^\r]*\r\n(?:[ \t][^\r]*\r\n)*)+"
)

ANNE = Address("anne", "client.example")
PLAIN, UTF8 = MailParameters(), MailParameters(smtputf8=True)
BOB, CARL, LATER = (Address(local, "example.org") for local in ("bob", "carl", "later"))


@dataclass(frozen=True)
class Postfix:
    """A Postfix that runs, with files and ports of its own."""

    directory: Path
    port: int  #: where it takes mail
    plain_port: int  #: where it does so without CHUNKING and PIPELINING
    smtp: int  #: where it looks for smtp.example
    lmtp: int  #: where it looks for lmtp.example

    @property
    def log(self) -> str:
        with suppress(FileNotFoundError):
            return (self.directory / "log").read_text()
        return ""

    def arrived(self, mailbox: str) -> bytes:
        """The next message of a mailbox, as it was before anybody put fields on top."""
        new = self.directory / "mail" / mailbox / "new"
        self.wait_for(lambda: new.exists() and any(new.iterdir()))
        (file,) = new.iterdir()
        octets = file.read_bytes().replace(b"\n", b"\r\n")  # it stores lines as Unix does
        file.unlink()
        return without_trace(octets)

    def send(self, letter: bytes, *recipients: str) -> None:
        """Submit a message as a program on the same machine does."""
        command = [
            str(SENDMAIL),
            "-C",
            str(self.directory / "etc"),
            "-i",
            "-f",
            "anne@client.example",
        ]
        lines = letter.replace(b"\r\n", b"\n")
        subprocess.run([*command, "--", *recipients], input=lines, check=True, timeout=PATIENCE)

    def became_of(self, recipient: str) -> str:
        """What the log says last about a recipient: `5.1.1 bounced 550 5.1.1 ...`."""
        pattern = re.compile(rf" to=<{re.escape(recipient)}>,.* dsn=(\S+), status=(\w+) \((.*)\)\n")
        self.wait_for(lambda: pattern.search(self.log))
        return " ".join(pattern.findall(self.log)[-1])

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Look until it has happened: another process tells nobody."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log
            time.sleep(0.02)


def without_trace(octets: bytes) -> bytes:
    trace = TRACE.match(octets)
    assert trace, octets[:200]
    return octets[trace.end() :]


def configure(directory: Path) -> Postfix:
    directory.chmod(0o755)  # its daemons run as several users
    for name, owner in ("etc", "root"), ("queue", "root"), ("data", "postfix"), ("mail", NOBODY):
        (directory / name).mkdir()
        shutil.chown(directory / name, owner)
    port, plain_port, smtp, lmtp = free_ports(4)
    values = {"directory": directory, "daemons": DAEMONS, "nobody": NOBODY}
    main = MAIN.format(smtp=smtp, lmtp=lmtp, **values)
    (directory / "etc/main.cf").write_text(main, encoding="utf-8")
    (directory / "etc/master.cf").write_text(MASTER.format(port=port, plain_port=plain_port))
    return Postfix(directory, port, plain_port, smtp, lmtp)


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    # Not below pytest's own directory, into which only root can look.
    with tempfile.TemporaryDirectory(prefix="postfix-", ignore_cleanup_errors=True) as name:
        running = configure(Path(name))
        etc = str(running.directory / "etc")
        subprocess.run([str(POSTFIX), "-c", etc, "check"], check=True, timeout=PATIENCE)
        command = [str(DAEMONS / "master"), "-c", etc, "-e", str(LIFETIME)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as master:
            try:
                running.wait_for(lambda: "daemon started" in running.log or master.poll())
                assert master.poll() is None, running.log
                yield running
            finally:
                master.terminate()  # it takes its children along
                master.wait(PATIENCE)


# -- Postfix is the next hop ----------------------------------------------------------------------


class TakesAll(Plugin):
    """Accepts every recipient."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()


def hand_on(
    postfix: Postfix,
    letter: bytes,
    *recipients: Address,
    protocol: str = "",
    parameters: MailParameters = PLAIN,
    port: int = 0,
) -> Outcome:
    """What a client hears that sends a message through a Gate to Postfix."""

    async def scenario() -> Outcome:
        forward = Forward(to=(f"127.0.0.1:{port or postfix.port}",))
        listen = Listen("127.0.0.1:0", protocol="lmtp" if protocol else "smtp")
        async with Gate([TakesAll(), forward], listen=listen, hostname="mx.example") as gate:
            hop = Destination.parse(f"{protocol}127.0.0.1:{gate.port}")
            timeouts = Timeouts(end_of_data=PATIENCE, quit=1)
            async with Client(hop, hostname="client.example", timeouts=timeouts) as client:
                message = Message.parse(letter)
                return await client.send(ANNE, recipients, message, mail_parameters=parameters)

    return asyncio.run(scenario())


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
def test_what_is_handed_on_arrives_as_it_is(
    postfix: Postfix, letter: bytes, chunking: bool
) -> None:
    header = letter.partition(b"\r\n\r\n")[0]
    parameters = PLAIN if header.isascii() else UTF8
    port = postfix.port if chunking else postfix.plain_port
    (reply,) = hand_on(postfix, letter, BOB, parameters=parameters, port=port).replies
    queued = r"\d+ bytes queued" if chunking else "queued"
    assert re.match(rf"250 2\.0\.0 Ok: {queued} as", str(reply))
    assert postfix.arrived("bob") == letter


def test_an_address_in_utf8_is_handed_on(postfix: Postfix) -> None:
    address = Address.parse("bücher@example.org", utf8=True)
    outcome = hand_on(postfix, LETTERS["plain"], address, parameters=UTF8)
    assert outcome.delivered
    assert postfix.arrived("b") == LETTERS["plain"]


def test_a_refusal_is_passed_back(postfix: Postfix) -> None:
    for recipient, answer in (CARL, "550 5.1.1"), (LATER, "450 4.2.1"):
        outcome = hand_on(postfix, LETTERS["plain"], recipient)
        assert str(outcome.replies[0]).startswith(answer)
        assert outcome.stage is Stage.END_OF_DATA
    too_big = hand_on(postfix, HEAD + (b"x" * 70 + b"\r\n") * 20_000, BOB)
    assert str(too_big.replies[0]).startswith("552 5.3.4")


def test_in_lmtp_each_recipient_has_its_own_answer(postfix: Postfix) -> None:
    outcome = hand_on(postfix, LETTERS["dots"], BOB, CARL, LATER, protocol="lmtp:")
    assert [str(reply)[:9] for reply in outcome.replies] == ["250 2.0.0", "550 5.1.1", "450 4.2.1"]
    assert postfix.arrived("bob") == LETTERS["dots"]


# -- Postfix is the client ------------------------------------------------------------------------


@dataclass
class Keeps(Plugin):
    """Takes mail for everybody but a few; keeps what reaches the queue."""

    kept: asyncio.Queue[tuple[str, bytes]] = field(default_factory=asyncio.Queue)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        if recipient.address.local == "nobody":
            return Deny("No such user", status="5.1.1")
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        for recipient in transaction.recipients:
            self.kept.put_nowait((recipient.address.local, bytes(transaction.message)))
        answers: dict[str, Verdict] = {
            "full": Deny("Full", code=552, status="5.2.2"),
            "later": Defer("Come back", status="4.2.1"),
        }
        return Each(
            {who: answers.get(who.address.local, Accept()) for who in transaction.recipients}
        )


def relayed(
    postfix: Postfix, letter: bytes, *locals_: str, protocol: str, expected: int = 1
) -> list[tuple[str, bytes]]:
    """What reaches a Gate's queue of a message that Postfix was given; (local part, octets)."""

    async def scenario() -> list[tuple[str, bytes]]:
        keeps, is_lmtp = Keeps(), protocol == "lmtp"
        port = postfix.lmtp if is_lmtp else postfix.smtp
        listen = Listen(f"127.0.0.1:{port}", protocol="lmtp" if is_lmtp else "smtp")
        addresses = [f"{local}@{protocol}.example" for local in locals_]
        async with Gate([keeps], listen=listen, hostname="mx.example"):
            await asyncio.to_thread(postfix.send, letter, *addresses)
            async with asyncio.timeout(PATIENCE):
                arrived = [await keeps.kept.get() for _ in range(expected)]
            for address in addresses:
                await asyncio.to_thread(postfix.became_of, address)
        return arrived

    return asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_what_is_relayed_to_us_arrives_as_it_is(
    postfix: Postfix, letter: bytes, protocol: str
) -> None:
    ((local, octets),) = relayed(postfix, letter, "bob", protocol=protocol)
    assert local == "bob"
    assert without_trace(octets) == letter
    assert re.match("2.0.0 sent 250 2.0.0 Queued as", postfix.became_of(f"bob@{protocol}.example"))


def test_an_address_in_utf8_is_relayed_to_us(postfix: Postfix) -> None:
    ((local, octets),) = relayed(postfix, LETTERS["plain"], "bücher", protocol="smtp")
    assert local == "bücher"
    assert re.search(rb"\n?\s+by mx\.example with UTF8SMTP", octets)


def test_our_answers_are_understood(postfix: Postfix) -> None:
    expected = {
        "carl": r"2\.0\.0 sent .*250 2\.0\.0 Queued",
        "nobody": r"5\.1\.1 bounced .*550 5\.1\.1 No such user",
        "full": r"5\.2\.2 bounced .*552 5\.2\.2 Full",
        "later": r"4\.2\.1 deferred .*451 4\.2\.1 Come back",
    }
    arrived = relayed(postfix, LETTERS["dots"], *expected, protocol="lmtp", expected=3)
    assert sorted(local for local, _ in arrived) == ["carl", "full", "later"]
    for local, pattern in expected.items():
        assert re.match(pattern, postfix.became_of(f"{local}@lmtp.example"))


def test_who_is_refused_by_smtp_bounces_and_the_others_get_it(postfix: Postfix) -> None:
    ((local, _),) = relayed(postfix, LETTERS["plain"], "dave", "nobody", protocol="smtp")
    assert local == "dave"
    assert postfix.became_of("nobody@smtp.example").startswith("5.1.1 bounced")
    assert postfix.became_of("dave@smtp.example").startswith("2.0.0 sent")
