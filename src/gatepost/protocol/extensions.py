"""The extensions of SMTP, and who turns each on."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Extension(NamedTuple):
    """One keyword of the EHLO reply."""

    keyword: str
    rfc: str
    turned_on_by: str


# fmt: off
EXTENSIONS = (
    Extension("PIPELINING",          "RFC 2920",      "the server, always"),
    Extension("SIZE",                "RFC 1870",      "the server: limits.message_size"),
    Extension("8BITMIME",            "RFC 6152",      "the server, always"),
    Extension("SMTPUTF8",            "RFC 6531",      "the server, always"),
    Extension("CHUNKING",            "RFC 3030",      "the server, always"),
    Extension("ENHANCEDSTATUSCODES", "RFC 2034",      "the server, always"),
    Extension("LIMITS",              "RFC 9422",      "the server: limits.recipients, limits.messages"),
    Extension("HELP",                "RFC 5321",      "the server, always"),
    Extension("STARTTLS",            "RFC 3207",      "a listener with a certificate"),
    Extension("AUTH",                "RFC 4954",      "a plugin that can check credentials"),
    Extension("XCLIENT",             "Postfix",       "a listener that trusts the client: xclient_from"),
    Extension("XFORWARD",            "Postfix",       "a listener that trusts the client: xforward_from"),
    Extension("BINARYMIME",          "RFC 3030",      "a plugin whose next hop takes it"),
    Extension("DSN",                 "RFC 3461",      "a plugin that writes the notifications"),
    Extension("REQUIRETLS",          "RFC 8689",      "a plugin whose next hop takes it"),
    Extension("FUTURERELEASE",       "RFC 4865",      "a plugin that holds messages back"),
    Extension("DELIVERBY",           "RFC 2852",      "a plugin that keeps the deadline"),
    Extension("MT-PRIORITY",         "RFC 6710",      "a plugin that minds priorities"),
)
# fmt: on


@lru_cache(maxsize=64)
def core_capabilities(*, message_size: int, recipients: int, messages: int) -> tuple[str, ...]:
    """The lines of the EHLO reply that the server itself honours.

    `message_size` is in octets, 0 for no limit; `recipients` are of a message, `messages` of a
    connection.
    """
    return (
        "PIPELINING",
        f"SIZE {message_size}",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
        f"LIMITS MAILMAX={messages} RCPTMAX={recipients}",
        "HELP",
    )


@lru_cache(maxsize=64)
def keywords(lines: tuple[str, ...]) -> frozenset[str]:
    """The keywords that the lines of an EHLO reply offer, in capitals."""
    return frozenset(line.partition(" ")[0].upper() for line in lines)
