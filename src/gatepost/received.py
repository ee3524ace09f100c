"""The Received field: the stamp that this server puts on a message (RFC 5321, 4.4)."""

from __future__ import annotations

import re
import time
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: The verb that the client greeted with and whether the message is SMTPUTF8, then the types:
#: plain, over TLS, authenticated, both.  RFC 3848 has none for HELO, which knows no extensions.
# fmt: off
_TYPES = {
    ("HELO", False): ("SMTP",     "SMTP",      "SMTP",      "SMTP"),
    ("HELO", True):  ("SMTP",     "SMTP",      "SMTP",      "SMTP"),
    ("EHLO", False): ("ESMTP",    "ESMTPS",    "ESMTPA",    "ESMTPSA"),
    ("EHLO", True):  ("UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"),
    ("LHLO", False): ("LMTP",     "LMTPS",     "LMTPA",     "LMTPSA"),
    ("LHLO", True):  ("UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"),
}
# fmt: on

_LITERAL = re.compile(r"\[[0-9A-Za-z:.-]{1,255}\]")
_NO_COMMENT_LETTER = re.compile(r"[^0-9A-Za-z._ -]")
_NO_DOMAIN_LETTER = re.compile(r"[^0-9A-Za-z._-]")


def received_field(
    *,
    hello: str,
    client_host: str,
    server: str,
    protocol: str,
    identifier: str,
    date: float,
    client_name: str = "",
    tls: str = "",
    recipient: str = "",
) -> str:
    """The value of a Received field, folded.

    `hello` is the name that the client gave itself, `client_host` its IP address (empty for a
    Unix socket), `client_name` what DNS calls that address, `server` our host name, `protocol` a
    `transmission_type`, `tls` the version and the cipher, `date` seconds since 1970.  `recipient`
    is named only when there is no other: the field must not tell one recipient of the next
    (RFC 5321, 7.2).
    """
    source = _source(hello, client_host, client_name)
    secured = f"\r\n\t(tls {_NO_COMMENT_LETTER.sub('?', tls)})" if tls else ""
    target = f"\r\n\tfor <{recipient}>" if recipient.isprintable() and recipient else ""
    return (
        f"from {source}\r\n\tby {server} with {protocol}{secured} id {identifier}{target};"
        f"\r\n\t{date_time(date)}"
    )


def transmission_type(*, verb: str, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """How the message came, in the words of RFC 3848 and RFC 6531, 4.3: `ESMTPS`.

    `verb` is HELO, EHLO or LHLO.
    """
    return _TYPES[verb, smtputf8][tls + 2 * authenticated]


def date_time(seconds: float) -> str:
    """Seconds since 1970 as RFC 5322, 3.3 writes a moment: `Sun, 22 Nov 2026 17:00:00 +0000`."""
    return _date_time(int(seconds))


@lru_cache(maxsize=16)
def _date_time(seconds: int) -> str:
    # Not strftime, whose names of days and months are those of the locale.
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(seconds)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {clock} +0000"


@lru_cache(maxsize=256)
def _source(hello: str, host: str, name: str) -> str:
    """The client as it called itself, then what is known of it for certain."""
    known = f"{_domain(name)} {_literal(host)}" if name else _literal(host)
    return f"{_domain(hello)} ({known})" if host else _domain(hello)


def _domain(text: str) -> str:
    """Foreign text made fit to stand for a domain: no comment, literal or field can begin in it."""
    if _LITERAL.fullmatch(text):
        return text
    return _NO_DOMAIN_LETTER.sub("?", text[:255]) or "unknown"


def _literal(host: str) -> str:
    """An IP address as RFC 5321, 4.1.3 writes it."""
    if ":" in host:
        host = f"IPv6:{host.partition('%')[0]}"  # a zone means nothing outside this machine
    return f"[{re.sub(r'[^0-9A-Za-z:.]', '?', host[:64])}]"
