"""A conversation without a socket: one message is offered, and everything that is said is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from gatepost.protocol.extensions import keywords
from gatepost.protocol.replies import ReplyReader
from gatepost.protocol.stuffing import Stuffing, header_is_ascii
from gatepost.reply import Reply
from gatepost.server.conversation import Conversation
from gatepost.trail import Decision, Result

#: Takes a line of the dialogue and says who speaks: `C`, `S`, or nobody for a remark.
Show: TypeAlias = Callable[[str, str], None]

#: Lines of a message that are shown at most.
SHOWN_LINES = 12


@dataclass(frozen=True, slots=True)
class Letter:
    """What a client wants to send, and how it introduces itself."""

    hello: str
    sender: str  #: without angle brackets; empty for the null path
    recipients: tuple[str, ...]
    content: bytes  #: its lines end in CRLF
