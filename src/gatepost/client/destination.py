"""Destination and Program: where a next hop is, and which protocol it speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, TypeAlias

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

    @property
    def is_local(self) -> bool:
        """Whether what is said to it stays on this machine."""
        return self.is_unix

    def __str__(self) -> str:
        protocol = "lmtp:" if self.lmtp else ""
        if self.is_unix:
            return f"{protocol}unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{protocol}{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is started here and speaks on its standard input and output.

    Both are one socket, as inetd has it; `sendmail -bs` is such a program.  There is no shell in
    between.  When the session is over it hears so, and is killed if it does not end by that.
    """

    arguments: tuple[str, ...]  #: its name and its arguments
    lmtp: bool = False  #: whether it speaks LMTP, and not SMTP

    def __post_init__(self) -> None:
        if not self.arguments or not self.arguments[0]:
            raise ValueError("no program is named")
        if any("\0" in argument for argument in self.arguments):
            raise ValueError(f"no argument of a program holds a NUL: {self.arguments}")

    @property
    def host(self) -> str:
        """Where it is."""
        return "localhost"

    @property
    def is_local(self) -> bool:
        """Whether what is said to it stays on this machine."""
        return True

    def __str__(self) -> str:
        # Clients read it in replies: where it lies and what its arguments are is not for them.
        return PurePath(self.arguments[0]).name or self.arguments[0]


#: What a client can talk to.
NextHop: TypeAlias = Destination | Program
