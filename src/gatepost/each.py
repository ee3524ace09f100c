"""Each: one verdict for each recipient of a message."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gatepost.session import Recipient
from gatepost.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Each:
    """One verdict for each recipient, on `message` and `queue`.

    An LMTP client hears them one by one (RFC 2033, 4.2).  An SMTP client hears one reply: the
    verdict when all are alike, a Defer when they differ, because a second copy is better than a
    lost one.  A recipient that is not named is deferred.
    """

    verdicts: Mapping[Recipient, Verdict]


#: What `message` and `queue` return.
AnswerForEach: TypeAlias = Verdict | Each | Awaitable[Verdict | Each | None] | None
