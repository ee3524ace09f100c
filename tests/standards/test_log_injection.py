"""I13, I14: nobody forges or breaks a line of the log, and nothing secret stands in it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, Literal, TypeAlias

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Credentials,
    Defer,
    Deny,
    Password,
    Plugin,
    Recipient,
    Session,
    Token,
    Transaction,
    plugins,
)
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.config.log import LogSettings
from gatepost.log import set_up as set_up_module
from gatepost.log.relay import Relay
from gatepost.log.set_up import log_nothing, set_up
from gatepost.protocol.events import Auth, AuthResponse, Line

log = logging.getLogger("gatepost.plugins.somebodys")

# -- Targets: the log as it is written, taken apart again ------------------------------------------

_JOURNAL_FIELDS = re.compile(
    r"MESSAGE=.*\nPRIORITY=[2-7]\nSYSLOG_IDENTIFIER=gatepost\nSYSLOG_FACILITY=2\n"
    r"GATEPOST_LOGGER=[a-z_.]+\n(?:GATEPOST_[A-Z]+=.*\n)*"
)


def _lines(octets: bytes) -> list[str]:
    assert octets.endswith(b"\n")
    return octets.decode("utf-8").split("\n")[:-1]


def _text(octets: bytes) -> list[str]:
    lines = _lines(octets)
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line)
        assert line.isprintable()
    return lines


def _json(octets: bytes) -> list[str]:
    lines = _lines(octets)
    for line in lines:
        assert line.isprintable()
        told = json.loads(line)
        assert told["text"].isprintable()
        assert told["level"] in ("debug", "info", "warning", "error")
        assert told["logger"].startswith("gatepost.")
    return lines


def _syslog(datagrams: bytes) -> list[str]:
    lines = _lines(datagrams)
    for line in lines:
        assert re.match(r"<(?:18|19|20|22|23)>gatepost\[\d+\]: ", line)
        assert line.isprintable()
    return lines


def _journald(datagrams: bytes) -> list[str]:
    events = datagrams.decode("utf-8").split("\0\n")[:-1]
    for event in events:
        assert _JOURNAL_FIELDS.fullmatch(event)
        assert event.replace("\n", "").isprintable()
    return events


Target: TypeAlias = Literal["text", "json", "syslog", "journald"]
#: How each is taken apart, and what stands between the datagrams of one that has such.
_TAKEN_APART: dict[Target, tuple[Callable[[bytes], list[str]], bytes]] = {
    "text": (_text, b""),
    "json": (_json, b""),
    "syslog": (_syslog, b"\n"),
    "journald": (_journald, b"\0\n"),
}


class Counter(logging.Handler):
    """Counts events."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


class Daemon:
    """Listens, so that nobody who logs has to wait."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        self._heard: list[bytes] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> list[bytes]:
        """Listen no more; all that was heard."""
        if self._thread.is_alive():
            self._socket.sendto(b"", self._path)
            self._thread.join()
            self._socket.close()
        return self._heard

    def _listen(self) -> None:
        while datagram := self._socket.recv(1_000_000):
            self._heard.append(datagram)


@dataclass
class Log:
    """A log that is set up, and can be read."""

    target: Target
    directory: Path
    daemon: Daemon
    counter: Counter = field(default_factory=Counter)

    def begin(self) -> None:
        """From here on all is logged there, and nowhere else: what would pytest make of it?"""
        where: Any = self.target
        if where in ("text", "json"):
            where = str(self.directory / "log")
        form: Any = "json" if self.target == "json" else "text"
        set_up(LogSettings(where, form, "debug"), quiet=False)
        logging.getLogger().addHandler(self.counter)

    def read(self) -> list[str]:
        """All that was logged, an entry for each event."""
        log_nothing()  # and with that all is written
        take_apart, between = _TAKEN_APART[self.target]
        if between:
            octets = b"".join(datagram + between for datagram in self.daemon.close())
        else:
            octets = (self.directory / "log").read_bytes()
        entries = take_apart(octets)
        assert len(entries) == self.counter.count
        return entries


@pytest.fixture(params=_TAKEN_APART)
def written(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Log]:
    """A log of each kind."""
    for place in ("syslog", "journald"):
        monkeypatch.setitem(set_up_module._PLACES, place, str(tmp_path / "socket"))
    root = logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, logging.getLogger("gatepost").level
    daemon = Daemon(tmp_path / "socket")
    yield Log(request.param, tmp_path, daemon)
    for handler in root.handlers:
        if isinstance(handler, Relay):
            handler.close()
    daemon.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("gatepost").setLevel(ours)


# -- The server -----------------------------------------------------------------------------------


Hears: TypeAlias = Callable[[Session, Password | Token], Answer]


@dataclass
class Box(Plugin):
    """Takes everything, and logs and says what a foolish plugin might."""

    says: str = ""
    hears: Hears = field(default=lambda session, shown: Accept())
    beside: str = ""  #: a hook on which it has something else in mind

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        assert isinstance(credentials, Password | Token)
        return self.hears(session, credentials)

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER")

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        if self.beside == "deny":
            return Deny(self.says)
        if self.beside == "raise":
            raise ValueError(self.says) from KeyError(self.says)
        if self.beside == "defer":
            return Defer(self.says, disconnect=True)
        return None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        if self.beside == "format":
            log.warning(f"{self.says} %s", self.says)
        return Accept()

    def headers(self, transaction: Transaction) -> None:
        log.info("%s: %s", transaction.id, transaction.message.headers.get("Subject"))
        for value in transaction.message.headers.raw("Subject"):
            log.info("%s", value.decode("ascii", "surrogateescape"), extra={"fields": {"s": value}})

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return Accept(self.says) if self.beside == "accept" else Accept()


LISTEN = Listen("127.0.0.1:0", name="mx", auth_without_tls=True, xclient_from=("127.0.0.1",))


def serve(box: Box, sessions: Iterable[bytes]) -> list[bytes]:
    """Have clients say all that, one after the other; what they hear."""

    async def scenario() -> list[bytes]:
        heard = []
        async with Gate([box], listen=LISTEN, hostname="mx.example") as gate:
            for octets in sessions:
                reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
                writer.write(octets)
                heard.append(await reader.read())
                writer.close()
                await writer.wait_closed()
        return heard

    return asyncio.run(asyncio.wait_for(scenario(), 60))


# -- I13: nobody forges a line ---------------------------------------------------------------------

#: Something by which foreign text is found again.
MARK = "Mallory"
EVIL = [
    "\n2026-11-30T12:00:00+0000 k2x8 gone after 1.00 s",
    "\r\n<0>kernel: panic",
    "\nMESSAGE=forged\nPRIORITY=0",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "\0\x7f\x08",
    "\u202e\u2066evil\u2069",
    "\u2028\u2029\x85",
    "\ufeff\u200b\U000e0041",
    '","level":"error","x":"',
    r"\", \n \u001b",
    "%s%d%(name)s{}{0.__class__}",
    "\udcff\ud83d",
    "ordinary",
]


def octets_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def base64_of(text: str) -> bytes:
    return b64encode(octets_of(text))


def xtext_of(text: str) -> bytes:
    """Every octet as RFC 3461, 4 spells it."""
    return b"".join(b"+%02X" % octet for octet in octets_of(text))


HELLO = b"EHLO client.example\r\n"
MAIL = b"MAIL FROM:<anne@client.example>\r\n"
RCPT = b"RCPT TO:<bob@example.org>\r\n"
LETTER = b"DATA\r\nSubject: Hello\r\n\r\nHow are you?\r\n.\r\nQUIT\r\n"
REST = MAIL + RCPT + LETTER


def _quoted(text: str) -> bytes:
    return b'"' + re.sub(rb'["\\]', rb"\\\g<0>", octets_of(text)) + b'"'


#: The ways in: what a client says for each evil text, and what becomes of the letter with it.
SAID: dict[str, Callable[[str], bytes]] = {
    "HELO": lambda evil: b"HELO %b\r\n" % octets_of(evil) + REST,
    "EHLO": lambda evil: b"EHLO %b\r\n" % octets_of(evil) + REST,
    "MAIL": lambda evil: (
        HELLO + b"MAIL FROM:<%b@x.example> SMTPUTF8\r\n" % _quoted(evil) + RCPT + LETTER
    ),
    "RCPT": lambda evil: (
        HELLO + MAIL[:-2] + b" SMTPUTF8\r\nRCPT TO:<%b@x.example>\r\n" % _quoted(evil) + LETTER
    ),
    "a user, right": lambda evil: (
        HELLO + b"AUTH PLAIN %b\r\n" % base64_of(f"\0{evil}\0secret") + REST
    ),
    "a user, wrong": lambda evil: (
        HELLO + b"AUTH PLAIN %b\r\n" % base64_of(f"\0{evil}\0wrong") + REST
    ),
    "XCLIENT NAME": lambda evil: HELLO + b"XCLIENT NAME=%b\r\n" % xtext_of(evil) + HELLO + REST,
    "XCLIENT HELO": lambda evil: HELLO + b"XCLIENT HELO=%b\r\nQUIT\r\n" % xtext_of(evil),
    "XCLIENT LOGIN": lambda evil: HELLO + b"XCLIENT LOGIN=%b\r\n" % xtext_of(evil) + HELLO + REST,
    "Subject": lambda evil: (
        HELLO + MAIL + RCPT + b"DATA\r\nSubject: %b\r\n\r\n.\r\nQUIT\r\n" % octets_of(evil)
    ),
    "Subject, encoded": lambda evil: (
        HELLO + MAIL + RCPT
        + b"DATA\r\nSubject: =?utf-8?b?%b?=\r\n\r\n.\r\nQUIT\r\n" % base64_of(evil)
    ),
    "a verb": lambda evil: HELLO + b"%b\r\n" % octets_of(evil) + REST,
    "VRFY": lambda evil: HELLO + b"VRFY %b\r\n" % octets_of(evil) + REST,
}  # fmt: skip
#: Ways in on which whatever is not plain is turned away, or not logged at all.
SILENT = {"a verb", "VRFY"}
#: Those of which only programs are told.
SILENT_IN = {"XCLIENT NAME": ("text", "syslog")}


def _knows_the_secret(_: Session, shown: Password | Token) -> Answer:
    return Accept() if isinstance(shown, Password) and shown.password == "secret" else Deny()


@pytest.mark.parametrize("way", SAID)
def test_what_a_client_says_forges_no_line(
    way: str, written: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.server.guesses.FIRST_DELAY", 1e-5)
    box = Box(hears=_knows_the_secret)
    written.begin()
    serve(box, [SAID[way](f"{MARK}{evil}{MARK}") for evil in EVIL])
    entries = written.read()
    is_told = way not in SILENT and written.target not in SILENT_IN.get(way, ())
    assert any(MARK in entry for entry in entries) is is_told


@pytest.mark.parametrize("beside", ["deny", "defer", "raise", "format", "accept"])
def test_what_a_plugin_says_forges_no_line(beside: str, written: Log) -> None:
    written.begin()
    for evil in EVIL:
        serve(Box(f"{MARK}{evil}{MARK}", beside=beside), [HELLO + REST])
    entries = written.read()
    assert sum(MARK in entry for entry in entries) >= len(EVIL)


# -- I14: nothing secret --------------------------------------------------------------------------

SECRET = "xyzzy-Plugh-42"
PLAIN = base64_of(f"\0anne\0{SECRET}")
LOGIN = base64_of(SECRET)
XOAUTH2 = base64_of(f"user=anne\1auth=Bearer {SECRET}\1\1")
BEARER = base64_of(f"n,a=anne,\1auth=Bearer {SECRET}\1\1")
BODY = f"This is between us: {SECRET}.\r\n".encode()


def _accepts(_: Session, shown: Password | Token) -> Answer:
    return Accept()


def _denies(_: Session, shown: Password | Token) -> Answer:
    return Deny()


def _fails(_: Session, shown: Password | Token) -> Answer:
    raise ConnectionError("no answer")


def _shows_it(_: Session, shown: Password | Token) -> Answer:
    raise KeyError(shown.password if isinstance(shown, Password) else shown.token)


def _shows_what_it_came_from(_: Session, shown: Password | Token) -> Answer:
    try:
        return _shows_it(_, shown)
    except KeyError as error:
        raise RuntimeError(f"cannot check {shown}") from error


SPOKEN = {
    "PLAIN": b"AUTH PLAIN " + PLAIN,
    "PLAIN, in two lines": b"AUTH PLAIN\r\n" + PLAIN,
    "LOGIN": b"AUTH LOGIN YW5uZQ==\r\n" + LOGIN,
    "XOAUTH2": b"AUTH XOAUTH2 " + XOAUTH2 + b"\r\n",
    "OAUTHBEARER": b"AUTH OAUTHBEARER " + BEARER + b"\r\nAQ==",
    "a mechanism that nobody knows": b"AUTH PLAINER " + PLAIN,
    "no base64": b"AUTH PLAIN " + PLAIN[:-3] + b"!",
    "too many fields": b"AUTH PLAIN " + base64_of(f"\0anne\0{SECRET}\0"),
    "a verb that nobody knows": b"AUHT PLAIN " + PLAIN,
    "a password where a command is in turn": LOGIN,
    "in clear": SECRET.encode(),
    "behind another verb": b"NOOP " + SECRET.encode(),
    "twice": b"AUTH PLAIN " + PLAIN + b"\r\nAUTH PLAIN " + PLAIN,
}


@pytest.mark.parametrize("written", ["text", "json"], indirect=True)
@pytest.mark.parametrize(
    "hears",
    [_accepts, _denies, _fails, _shows_it, _shows_what_it_came_from],
    ids=lambda it: str(it.__name__[1:]),
)
def test_neither_passwords_nor_tokens_nor_bodies_are_logged(
    hears: Hears,
    written: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gatepost.server.guesses.FIRST_DELAY", 1e-5)
    written.begin()
    letter = MAIL + RCPT + b"DATA\r\nSubject: Hello\r\n\r\n" + BODY + b".\r\nQUIT\r\n"
    serve(Box(hears=hears), [HELLO + spoken + b"\r\n" + letter for spoken in SPOKEN.values()])
    told = "\n".join(written.read())
    assert "anne" in told
    for secret in (SECRET, "xyzzy", PLAIN, LOGIN, XOAUTH2, BEARER, PLAIN[:12], LOGIN[:12]):
        text = secret if isinstance(secret, str) else secret.decode()
        assert text not in told
    assert "between us" not in told
    if hears in (_shows_it, _shows_what_it_came_from):
        assert "whose words may hold a secret" in told


def test_what_a_client_shows_does_not_show() -> None:
    shown = [Auth("PLAIN", SECRET), AuthResponse(SECRET), Line("AUTH", SECRET)]
    assert SECRET not in repr(shown)


def _options() -> Iterator[tuple[str, Field[Any]]]:
    """The options of all bundled plugins."""
    for module in walk_packages(plugins.__path__, f"{plugins.__name__}."):
        for kind in vars(import_module(module.name)).values():
            if is_dataclass(kind) and kind.__module__ == module.name:
                yield from ((f"{module.name} {one.name}", one) for one in fields(kind) if one.init)


def test_options_that_are_secrets_or_may_hold_one_do_not_show() -> None:
    options = dict(_options())
    secret = re.compile(r"(?:password|secret|token|url)$")
    secrets = {name: option.repr for name, option in options.items() if secret.search(option.name)}
    assert len(secrets) >= 7
    assert [name for name, is_shown in secrets.items() if is_shown] == []
