"""Failures: what is logged when a plugin breaks, without the secrets that it was shown."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator, Sequence
from urllib.parse import quote, quote_plus

from gatepost.credentials import Password, Token

log = logging.getLogger(__name__)


#: Exceptions that are looked at: the last, and what it came from; the log tells of fewer.
_CAUSES = 10


class Withheld(Exception):
    """Stands in the log for an exception whose words may hold a secret."""


def log_failure(
    plugin: str, hook: str, error: BaseException, arguments: Sequence[object] = ()
) -> None:
    """Log what a plugin has raised on a hook that was called with these arguments.

    Where a password or token is among these, and in the words of the exception or of what it came
    from, only its kind is told, and where it was raised.
    """
    if not _may_be_told(error, arguments):
        withheld = Withheld(f"{type(error).__name__}, whose words may hold a secret")
        error = withheld.with_traceback(error.__traceback__)
    log.error("%s failed on %s", plugin, hook, exc_info=error)


def _may_be_told(error: BaseException, arguments: Sequence[object]) -> bool:
    try:
        secrets = frozenset(_spellings(arguments))
        told = "\n".join(_words(error)) if secrets else ""
    except Exception:  # somebody else's exception may raise whatever it likes when it becomes text
        return False
    return not any(secret in told for secret in secrets if secret)


def _words(error: BaseException) -> Iterator[str]:
    """All that an exception says, and what it came from."""
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if cause is None:
            return
        yield from (str(cause), repr(cause), *getattr(cause, "__notes__", ()))
        cause = cause.__cause__


def _spellings(arguments: Sequence[object]) -> Iterator[str]:
    """The secrets among the arguments of a hook, as they may stand in a text."""
    for user, secret in _secrets(arguments):
        octets = secret.encode("utf-8", "surrogateescape")
        yield secret
        yield repr(secret)[1:-1]
        yield repr(octets)[2:-1]
        yield quote(octets)
        yield quote_plus(octets)
        for whole in (octets, f"{user}:".encode() + octets, b"\0%b\0%b" % (user.encode(), octets)):
            yield b64encode(whole).decode()


def _secrets(arguments: Sequence[object]) -> Iterator[tuple[str, str]]:
    """Users and what they have shown."""
    for argument in arguments:
        if isinstance(argument, Password):
            yield argument.user, argument.password
        elif isinstance(argument, Token):
            yield argument.user, argument.token
    match arguments:
        case (_, "AUTH", str(text)):  # a command line that nobody has parsed yet
            yield from (("", word) for word in text.split()[1:])
