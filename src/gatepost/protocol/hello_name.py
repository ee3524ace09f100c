"""The name that stands behind HELO, EHLO and LHLO, as it is taken (RFC 5321, 4.1.1.1)."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9.:-]{1,255}\]")


def is_hello_name(text: str) -> bool:
    """Whether a text may be such a name: a domain, be it a sloppy one, or an address literal."""
    return _NAME.fullmatch(text) is not None
