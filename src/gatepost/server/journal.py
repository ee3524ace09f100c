"""Journal: what happens, one readable line each."""

from __future__ import annotations

import logging
import time

from gatepost.plugin import Plugin
from gatepost.reply import Reply
from gatepost.session import Session, Transaction
from gatepost.trail import Decision

log = logging.getLogger("gatepost")

#: How many recipients of a message are named; the others are counted.
_NAMED = 5


class Journal(Plugin):
    """Log connections, decisions and messages, at the level INFO."""

    def connect(self, session: Session) -> None:
        log.info("%s connected from %s to %s", session.id, session.client, session.listener)

    def decided(self, session: Session, decision: Decision) -> None:
        log.info("%s %s", session.id, decision)

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        recipients = transaction.recipients
        names = " ".join(str(recipient) for recipient in recipients[:_NAMED])
        more = f" and {len(recipients) - _NAMED} more" if len(recipients) > _NAMED else ""
        size = transaction.message.size
        log.info(
            "%s %s -> %s%s, %d octets: %s",
            transaction.id, transaction.sender, names or "(nobody)", more, size, reply,
        )  # fmt: skip

    def disconnect(self, session: Session) -> None:
        seconds = time.time() - session.started
        log.info(
            "%s %s (%s) gone after %.2f s and %d %s",
            session.id, session.client, session.hello or "no greeting", seconds, session.messages,
            "message" if session.messages == 1 else "messages",
        )  # fmt: skip
