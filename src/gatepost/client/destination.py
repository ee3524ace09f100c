"""Destination: where a next hop listens, and which protocol it speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SMTP_PORT: Final = 25
LMTP_PORT: Final = 24  #: what RFC 2033 leaves to local agreement is most often this

_SPELLING = re.compile(
    r"""(?:(?P<protocol>smtp|lmtp):(?://)?)?
    (?: unix:(?P<path>/.+)
      | (?: \[(?P<literal>[^\[\]]+)\]
          | (?P<host>(?![0-9]+(?::|\Z))[^\[\]:/\s]+)
        )
        (?: :(?P<port>[0-9]{1,5}) )?
    )""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A host and a port, or a Unix socket."""

    host: str  #: a name or an IP address; the path of a Unix socket where the port is 0
    port: int = SMTP_PORT
    lmtp: bool = False  #: whether LMTP is spoken there, and not SMTP

    def __post_init__(self) -> None:
        if not self.host or not 0 <= self.port <= 65_535:
            raise ValueError(f"not a host and a port: {self.host!r}, {self.port}")

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read `mail.example`, `[2001:db8::1]:25`, `lmtp:host:24`, `lmtp:unix:/run/lmtp.sock`, ...

        `smtp:` may stand before, and both protocols may be written as in a URL (`lmtp://host:24`).
        Raises ValueError.
        """
        match = _SPELLING.fullmatch(text)
        if match is None or match["port"] == "0":
            raise ValueError(
                f"{text!r} is no destination: write host:port, [2001:db8::1]:port, unix:/path, "
                "or one of these behind smtp: or lmtp:"
            )
        lmtp = (match["protocol"] or "").lower() == "lmtp"
        if match["path"]:
            return cls(match["path"], 0, lmtp)
        port = int(match["port"] or (LMTP_PORT if lmtp else SMTP_PORT))
        return cls(match["literal"] or match["host"], port, lmtp)

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""
        return not self.port

    def __str__(self) -> str:
        protocol = "lmtp:" if self.lmtp else ""
        if self.is_unix:
            return f"{protocol}unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{protocol}{host}:{self.port}"
