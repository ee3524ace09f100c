"""Events: what a client did, one small value each; nobody changes one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from gatepost.address import Address
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.xclient import XClientFacts, XForwardFacts
from gatepost.reply import Reply


@dataclass(slots=True)
class Connected:
    """The connection is open and waits for a banner."""


@dataclass(slots=True)
class Helo:
    """HELO: the old greeting (RFC 5321, 4.1.1.1)."""

    name: str


@dataclass(slots=True)
class Ehlo:
    """EHLO: the greeting that asks for extensions (RFC 5321, 4.1.1.1)."""

    name: str


@dataclass(slots=True)
class Lhlo:
    """LHLO: the greeting of LMTP (RFC 2033, 4.1)."""

    name: str


@dataclass(slots=True)
class Mail:
    """MAIL FROM: a message begins (RFC 5321, 4.1.1.2)."""

    sender: Address
    parameters: MailParameters


@dataclass(slots=True)
class Rcpt:
    """RCPT TO: one more recipient (RFC 5321, 4.1.1.3)."""

    recipient: Address
    parameters: RcptParameters


@dataclass(slots=True)
class Data:
    """DATA: the client asks to send the message, ended by a dot (RFC 5321, 4.1.1.4)."""


@dataclass(slots=True)
class Bdat:
    """BDAT: `size` octets of the message follow (RFC 3030, 2).  It needs no reply."""

    size: int
    last: bool = False


@dataclass(slots=True)
class Chunk:
    """Some octets of the message, dots unstuffed.  It needs no reply."""

    content: bytes


@dataclass(slots=True)
class EndOfChunk:
    """All octets of a BDAT that was not the last are in."""


@dataclass(slots=True)
class EndOfData:
    """The message is in."""


@dataclass(slots=True)
class Spoiled:
    """The message is in, or a chunk of it, and cannot be taken; the reply says why."""

    reply: Reply
    whole: bool = True  #: in LMTP every recipient gets a reply, but to a chunk there is one


@dataclass(slots=True)
class Rset:
    """RSET: forget the message (RFC 5321, 4.1.1.5)."""

    text: str = ""


@dataclass(slots=True)
class Noop:
    """NOOP (RFC 5321, 4.1.1.9)."""

    text: str = ""


@dataclass(slots=True)
class Vrfy:
    """VRFY: does this mailbox exist? (RFC 5321, 4.1.1.6)."""

    text: str


@dataclass(slots=True)
class Expn:
    """EXPN: who is on this list? (RFC 5321, 4.1.1.7)."""

    text: str


@dataclass(slots=True)
class Help:
    """HELP (RFC 5321, 4.1.1.8)."""

    text: str = ""


@dataclass(slots=True)
class Quit:
    """QUIT (RFC 5321, 4.1.1.10)."""

    text: str = ""


@dataclass(slots=True)
class StartTls:
    """STARTTLS (RFC 3207, 4)."""


@dataclass(slots=True)
class Auth:
    """AUTH: a mechanism and perhaps its first message, in base64 (RFC 4954, 4)."""

    mechanism: str
    initial: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class AuthResponse:
    """The client's answer to a challenge, in base64; `*` cancels (RFC 4954, 4)."""

    text: str = field(repr=False)


@dataclass(slots=True)
class XClient:
    """XCLIENT: a proxy tells who the client is."""

    facts: XClientFacts


@dataclass(slots=True)
class XForward:
    """XFORWARD: a filter tells, for the log, whom a message is from."""

    facts: XForwardFacts


@dataclass(slots=True)
class Unrecognized:
    """A word that is no command here."""

    verb: str
    text: str = ""


@dataclass(slots=True)
class Line:
    """A command line that is not parsed yet, for those who asked to see it first."""

    verb: str
    text: str = field(repr=False)  # that of AUTH may be a password


@dataclass(slots=True)
class Malformed:
    """A line that breaks the grammar, or a command out of turn, with the reply that it earns."""

    reply: Reply


Command: TypeAlias = (
    Helo | Ehlo | Lhlo | Mail | Rcpt | Data | Bdat | Rset | Noop | Vrfy | Expn | Help | Quit
    | StartTls | Auth | XClient | XForward | Unrecognized
)  # fmt: skip
Event: TypeAlias = (
    Connected | Command | AuthResponse | Line | Chunk | EndOfChunk | EndOfData | Spoiled | Malformed
)
