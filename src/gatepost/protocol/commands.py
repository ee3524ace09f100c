"""The grammar of commands: how a line becomes an event (RFC 5321, 4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from gatepost.address import Address, InvalidAddress
from gatepost.protocol.events import (
    Auth,
    Bdat,
    Data,
    Ehlo,
    Event,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
    XForward,
)
from gatepost.protocol.hello_name import is_hello_name
from gatepost.protocol.parameters import (
    InvalidParameter,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from gatepost.protocol.xclient import InvalidAttribute, parse_xclient, parse_xforward
from gatepost.reply import Reply

#: The longest BDAT that can be counted without doubt; a longer one ends the session.
_CHUNK_DIGITS = 18

_NOTHING: frozenset[str] = frozenset()
_PATH = re.compile(r' *<([^"<>]*+(?:"(?:[^"\\]|\\.)*"[^"<>]*+)*)>(.*)')
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")

LONG_LINE = Reply(500, "5.5.2", "Line too long", limit="line")
STRAY_LINE_END = Reply(500, "5.5.2", "Lines end with CR LF, and only with that", final=True)
NOT_ASCII = Reply(500, "5.5.2", "Commands are ASCII")
LONG_AUTH = Reply(500, "5.5.6", "Authentication exchange line is too long")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
NOT_YET = Reply(503, "5.5.1", "Say EHLO first")
NOT_MAIL = Reply(521, "5.7.0", "This is a mail server", final=True)


class Context(NamedTuple):
    """What the meaning of a line depends on."""

    offered: frozenset[str] | None = None  #: the extensions in force; None: before EHLO
    early: frozenset[str] = frozenset()  #: those in force before EHLO
    lmtp: bool = False
    utf8: bool = False  #: whether MAIL asked for SMTPUTF8 (RFC 6531, 3.4)


def split(line: bytes) -> tuple[str, str] | Malformed:
    """A command line as its verb, in capitals, and the text behind it."""
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        text = line.decode("utf-8", "replace")
        verb, _, rest = text.partition(" ")
        if not verb.isascii() or verb.upper() not in _TAKES_UTF8 or "\ufffd" in rest:
            return _refused(verb.upper(), _foreign(verb) or NOT_ASCII)
        return verb.upper(), rest
    verb, _, rest = text.partition(" ")
    return verb.upper(), rest


def parse(verb: str, text: str, context: Context) -> Event:
    """What a verb and the text behind it mean; Malformed when they mean nothing."""
    row = (LMTP_VERBS if context.lmtp else SMTP_VERBS).get(verb)
    if row is None:
        return _unknown(verb, text)
    in_force = context.early if context.offered is None else context.offered
    if row.needs and row.needs not in in_force:
        return _refused(verb, NOT_YET if context.offered is None else NOT_IMPLEMENTED)
    if not text.isprintable():
        return _refused(
            verb, Reply(501, row.status, "Control characters have no place in a command")
        )
    return row.parse(text.rstrip(" "), context) or Malformed(
        Reply(501, row.status, f"Syntax: {row.usage}")
    )


def _refused(verb: str, reply: Reply) -> Malformed:
    """A refusal; with BDAT it is the last word, for octets follow that are no commands."""
    return Malformed(replace(reply, final=True) if verb == "BDAT" else reply)


def _unknown(verb: str, text: str) -> Event:
    if verb in _KNOWN_BUT_NOT_HERE:
        return Malformed(NOT_IMPLEMENTED)
    if foreign := _foreign(verb):
        return Malformed(foreign)
    if not (verb + text).isprintable():
        return Malformed(Reply(500, "5.5.2", "Control characters have no place in a command"))
    return Unrecognized(verb, text)


def _foreign(verb: str) -> Reply | None:
    """A reply to those who speak another protocol: every word of it may be an attack (ALPACA)."""
    return NOT_MAIL if verb.upper() in _FOREIGN or verb.startswith(_FOREIGN_STARTS) else None


def _parse_helo(text: str, _: Context) -> Event | None:
    return Helo(text) if is_hello_name(text) else None


def _parse_ehlo(text: str, _: Context) -> Event | None:
    return Ehlo(text) if is_hello_name(text) else None


def _parse_lhlo(text: str, _: Context) -> Event | None:
    return Lhlo(text) if is_hello_name(text) else None


def _parse_mail(text: str, context: Context) -> Event | None:
    if text[:5].upper() != "FROM:" or (path := _PATH.fullmatch(text, 5)) is None:
        return None
    try:
        parameters = parse_mail_parameters(path[2], context.offered or _NOTHING)
        return Mail(Address.parse(path[1], utf8=parameters.smtputf8), parameters)
    except InvalidParameter as error:
        return Malformed(Reply(error.code, error.status, str(error)))
    except InvalidAddress as error:
        return _bad_address(error, "5.1.7")


def _parse_rcpt(text: str, context: Context) -> Event | None:
    if text[:3].upper() != "TO:" or (path := _PATH.fullmatch(text, 3)) is None:
        return None
    if not path[1]:  # the null path is no recipient
        return None
    try:
        parameters = parse_rcpt_parameters(path[2], context.offered or _NOTHING)
        return Rcpt(Address.parse(path[1], utf8=context.utf8), parameters)
    except InvalidParameter as error:
        return Malformed(Reply(error.code, error.status, str(error)))
    except InvalidAddress as error:
        return _bad_address(error, "5.1.3")


def _bad_address(error: InvalidAddress, status: str) -> Malformed:
    if error.status == "5.6.7":  # RFC 6531, 3.5: not without SMTPUTF8
        return Malformed(Reply(553, "5.6.7", str(error)))
    return Malformed(Reply(501, status, str(error)))


def _parse_data(text: str, _: Context) -> Event | None:
    return None if text else Data()


def _parse_bdat(text: str, _: Context) -> Event | None:
    size, _blank, last = text.partition(" ")
    if not (size.isascii() and size.isdigit()) or last.upper() not in ("", "LAST"):
        # How many octets follow is unknown, so nothing behind this line can be trusted.
        return Malformed(Reply(501, "5.5.4", "Syntax: BDAT size [LAST]", final=True))
    if len(size) > _CHUNK_DIGITS:
        return Malformed(Reply(552, "5.3.4", "Chunk too big", final=True))
    return Bdat(int(size), last != "")


def _parse_rset(text: str, _: Context) -> Event | None:
    return None if text else Rset()


def _parse_quit(text: str, _: Context) -> Event | None:
    return None if text else Quit()


def _parse_noop(text: str, _: Context) -> Event | None:
    return Noop(text)


def _parse_help(text: str, _: Context) -> Event | None:
    return Help(text)


def _parse_vrfy(text: str, _: Context) -> Event | None:
    return Vrfy(text) if text else None


def _parse_expn(text: str, _: Context) -> Event | None:
    return Expn(text) if text else None


def _parse_starttls(text: str, _: Context) -> Event | None:
    return None if text else StartTls()


def _parse_auth(text: str, _: Context) -> Event | None:
    mechanism, blank, initial = text.partition(" ")
    if not _MECHANISM.fullmatch(mechanism) or " " in initial or (blank and not initial):
        return None
    return Auth(mechanism.upper(), initial if blank else None)


def _parse_xclient(text: str, _: Context) -> Event | None:
    attributes = _attributes(text)
    try:
        return XClient(parse_xclient(attributes)) if attributes else None
    except InvalidAttribute as error:
        return Malformed(Reply(501, "5.5.4", str(error)))


def _parse_xforward(text: str, _: Context) -> Event | None:
    attributes = _attributes(text)
    try:
        return XForward(parse_xforward(attributes)) if attributes else None
    except InvalidAttribute as error:
        return Malformed(Reply(501, "5.5.4", str(error)))


def _attributes(text: str) -> tuple[tuple[str, str], ...]:
    """`name=value` pairs, the names in capitals; none where one of the words is no pair."""
    pairs = [word.partition("=") for word in text.split()]
    if not all(name.isalpha() and equals and value for name, equals, value in pairs):
        return ()
    return tuple((name.upper(), value) for name, _equals, value in pairs)


class Verb(NamedTuple):
    """One command: how its argument is parsed, and what is said when it cannot be."""

    parse: Callable[[str, Context], Event | None]
    usage: str
    status: str = "5.5.4"
    needs: str = ""  #: the extension without which it is not implemented


# fmt: off
_VERBS: dict[str, Verb] = {
    "MAIL":     Verb(_parse_mail,     "MAIL FROM:<address> [parameters]", "5.1.7"),
    "RCPT":     Verb(_parse_rcpt,     "RCPT TO:<address> [parameters]",   "5.1.3"),
    "DATA":     Verb(_parse_data,     "DATA"),
    "BDAT":     Verb(_parse_bdat,     "BDAT size [LAST]",                 needs="CHUNKING"),
    "RSET":     Verb(_parse_rset,     "RSET"),
    "NOOP":     Verb(_parse_noop,     "NOOP [text]"),
    "QUIT":     Verb(_parse_quit,     "QUIT"),
    "VRFY":     Verb(_parse_vrfy,     "VRFY mailbox"),
    "EXPN":     Verb(_parse_expn,     "EXPN list"),
    "HELP":     Verb(_parse_help,     "HELP [command]"),
    "STARTTLS": Verb(_parse_starttls, "STARTTLS",                         needs="STARTTLS"),
    "AUTH":     Verb(_parse_auth,     "AUTH mechanism [initial-response]", needs="AUTH"),
    "XCLIENT":  Verb(_parse_xclient,  "XCLIENT attribute=value ...",      needs="XCLIENT"),
    "XFORWARD": Verb(_parse_xforward, "XFORWARD attribute=value ...",     needs="XFORWARD"),
}
SMTP_VERBS = {
    "EHLO":     Verb(_parse_ehlo,     "EHLO name"),
    "HELO":     Verb(_parse_helo,     "HELO name"),
} | _VERBS
LMTP_VERBS = {
    "LHLO":     Verb(_parse_lhlo,     "LHLO name"),
} | _VERBS
# fmt: on

#: Commands of other RFCs that no server of today carries out.
_KNOWN_BUT_NOT_HERE = frozenset({"ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "BURL"})
#: First words of other protocols.
_FOREIGN = frozenset(
    {
        "GET",
        "POST",
        "PUT",
        "HEAD",
        "DELETE",
        "OPTIONS",
        "CONNECT",
        "PATCH",
        "TRACE",
        "PRI",
        "USER",
        "PASS",
        "CAPA",
        "LOGIN",
    }
)
#: First octets of other protocols: SSH, and the ClientHello of TLS.
_FOREIGN_STARTS = ("SSH-", "\x16\x03")
_TAKES_UTF8 = frozenset({"MAIL", "RCPT", "VRFY", "EXPN"})
