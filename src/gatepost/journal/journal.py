"""Journal: what happens, one readable line each, and the same facts as fields, for programs."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from gatepost.address import Address
from gatepost.config.log import CONNECTION_LOGGER, PLUGIN_LOGGER
from gatepost.hooks.placement import Placement
from gatepost.journal.lines import client_fields, decision_fields, is_read, tell
from gatepost.journal.summaries import MESSAGES, SESSIONS, Summaries
from gatepost.notes import Note
from gatepost.plugin import Plugin
from gatepost.session import Recipient, Session, Transaction
from gatepost.trail import Decision

#: The fields of a decision that tell what it is about.
_ASKED = {"helo": "hello", "mail": "from", "rcpt": "to"}

#: What the client has named last: itself, a sender or a recipient.
_NAME: Note[str | Address] = Note("")

_connections = logging.getLogger(CONNECTION_LOGGER)


class Journal(Summaries):
    """Log besides that who comes and what plugins decide."""

    def connect(self, session: Session) -> None:
        if is_read(_connections):
            tell(
                _connections, "connect", client_fields(session),
                "%s connected from %s to %s", session.id, session.client, session.listener,
            )  # fmt: skip

    def secured(self, session: Session) -> None:
        if is_read(_connections):
            tell(
                _connections, "secured", client_fields(session),
                "%s speaks %s", session.id, session.tls,
            )  # fmt: skip

    def authenticated(self, session: Session) -> None:
        if is_read(_connections):
            tell(
                _connections, "authenticated", client_fields(session),
                "%s is %s, by %s", session.id, session.user, session.mechanism,
            )  # fmt: skip

    def helo(self, session: Session, name: str) -> None:
        session.notes[_NAME] = name

    def mail(self, transaction: Transaction, sender: Address) -> None:
        super().mail(transaction, sender)
        transaction.session.notes[_NAME] = sender

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        transaction.session.notes[_NAME] = recipient.address

    def decided(self, session: Session, decision: Decision) -> None:
        log = _log_of(decision.plugin)
        if is_read(log):
            _tell_of_decision(log, session, decision)


def with_journal(plugins: Iterable[tuple[Plugin, Placement]]) -> list[tuple[Plugin, Placement]]:
    """The plugins, behind a journal that tells as much as somebody reads, if anybody does."""
    placed = list(plugins)
    # Nobody decides where it refuses that no plugin spoke.
    names = ("nobody", *(placement.name or placement.use for _, placement in placed))
    logs = (_connections, *map(_log_of, names))
    if any(map(is_read, logs)):
        return [(Journal(), Placement("journal")), *placed]
    if is_read(MESSAGES) or is_read(SESSIONS):
        return [(Summaries(), Placement("journal")), *placed]
    return placed


def _tell_of_decision(log: logging.Logger, session: Session, decision: Decision) -> None:
    hook = decision.hook
    about = f"{session.id}.{decision.message}" if decision.message else session.id
    fields = {"session": session.id, **decision_fields(decision), "mode": decision.mode}
    if decision.message:
        fields["message"] = about
    named = ""
    if hook in _ASKED:
        name = session.notes[_NAME]
        named = f" ({name})"
        fields[_ASKED[hook]] = name.mailbox if isinstance(name, Address) else name
    fields["seconds"] = round(decision.seconds, 6)
    tell(log, "decision", fields, "%s %s%s", about, decision, named)


def _log_of(plugin: str) -> logging.Logger:
    return logging.getLogger(f"{PLUGIN_LOGGER}.{plugin}")
