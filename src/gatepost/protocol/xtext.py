"""xtext: how text stands in a parameter that may hold neither blanks nor `=` (RFC 3461, 4)."""

from __future__ import annotations

import re

_HEXCHAR = re.compile(r"\+([0-9A-Fa-f]{2})")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*")


def decode_xtext(value: str) -> str:
    """Decode xtext into printable ASCII; raise ValueError where it is none, or is not printable.

    Hexadecimal digits are taken in both cases, as everybody does.  What is decoded ends up in
    header fields and logs, so a control character is refused here already.
    """
    if not _XTEXT.fullmatch(value):
        raise ValueError("no xtext")
    decoded = _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), value)
    if not (decoded.isascii() and decoded.isprintable()):
        raise ValueError("no printable ASCII")
    return decoded
