"""Journal: what happens, one readable line each, and the same facts as fields, for programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable

from gatepost.address import Address
from gatepost.config.log import CONNECTION_LOGGER, MESSAGE_LOGGER, PLUGIN_LOGGER, SESSION_LOGGER
from gatepost.hooks.placement import Placement
from gatepost.notes import Note
from gatepost.plugin import Plugin
from gatepost.reply import Reply
from gatepost.session import Recipient, Session, Transaction
from gatepost.trail import LIMITS, Decision, Result
from gatepost.verdict import Accept, Defer, Deny, Verdict

#: How many recipients of a message are named; the others are counted.
_NAMED = 5

#: What a verdict is called in a field.
_CALLED: dict[type[Verdict], str] = {Accept: "accept", Deny: "deny", Defer: "defer"}
#: The same for a reply, by the first digit of its code.
_ANSWERED = {"2": "accept", "4": "defer", "5": "deny"}
_AT_THE_END = ("data", "headers", "message", "queue")
#: The verdicts that earn a reply behind a message, by the first digit of its code, and the hooks on
#: which they are given; 0: there is no reply, for the message was not sent.
_EARNING: dict[int, tuple[Collection[type[Verdict]], Collection[str]]] = {
    0: ((Deny, Defer), ("mail", "rcpt", "data")),
    2: ((Accept,), ("queue",)),
    4: ((Defer,), _AT_THE_END),
    5: ((Deny,), _AT_THE_END),
}
#: The fields of a decision that tell what it is about.
_ASKED = {"helo": "hello", "mail": "from", "rcpt": "to"}

#: What the client has named last: itself, a sender or a recipient.
_NAME: Note[str | Address] = Note("")
#: When a transaction began, by the monotonic clock; None: its line is written.
_BEGUN: Note[float | None] = Note(None)
#: How many messages of a session were taken, and how many octets they had together.
_TAKEN: Note[tuple[int, int]] = Note((0, 0))

_connections = logging.getLogger(CONNECTION_LOGGER)
_messages = logging.getLogger(MESSAGE_LOGGER)
_sessions = logging.getLogger(SESSION_LOGGER)


class Summaries(Plugin):
    """Log one line about each message and one about each session, at the level INFO."""

    def mail(self, transaction: Transaction, sender: Address) -> None:
        transaction.notes[_BEGUN] = time.monotonic()

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        if reply.positive:
            taken, octets = transaction.session.notes[_TAKEN]
            transaction.session.notes[_TAKEN] = taken + 1, octets + transaction.message.size
        if _is_read(_messages):
            _tell_of_message(transaction, reply)
        transaction.notes[_BEGUN] = None

    def reset(self, transaction: Transaction) -> None:
        if transaction.notes[_BEGUN] is not None and _is_read(_messages):
            _tell_of_message(transaction, None)

    def disconnect(self, session: Session) -> None:
        if _is_read(_sessions):
            _tell_of_session(session)


class Journal(Summaries):
    """Log besides that who comes and what plugins decide."""

    def connect(self, session: Session) -> None:
        if _is_read(_connections):
            _tell(
                _connections, "connect", _client(session),
                "%s connected from %s to %s", session.id, session.client, session.listener,
            )  # fmt: skip

    def secured(self, session: Session) -> None:
        if _is_read(_connections):
            _tell(
                _connections, "secured", _client(session), "%s speaks %s", session.id, session.tls
            )

    def authenticated(self, session: Session) -> None:
        if _is_read(_connections):
            _tell(
                _connections, "authenticated", _client(session),
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
        if _is_read(log):
            _tell_of_decision(log, session, decision)


def with_journal(plugins: Iterable[tuple[Plugin, Placement]]) -> list[tuple[Plugin, Placement]]:
    """The plugins, behind a journal that tells as much as somebody reads, if anybody does."""
    placed = list(plugins)
    names = ("nobody", *(placement.name or placement.use for _, placement in placed))
    logs = (_connections, *map(_log_of, names))
    if any(map(_is_read, logs)):
        return [(Journal(), Placement("journal")), *placed]
    if _is_read(_messages) or _is_read(_sessions):
        return [(Summaries(), Placement("journal")), *placed]
    return placed


# -- What is told ---------------------------------------------------------------------------------


def _tell_of_decision(log: logging.Logger, session: Session, decision: Decision) -> None:
    hook = decision.hook
    about = f"{session.id}.{decision.message}" if decision.message else session.id
    fields: dict[str, object] = {"session": session.id, **_decided(decision), "mode": decision.mode}
    if decision.message:
        fields["message"] = about
    named = ""
    if hook in _ASKED:
        name = session.notes[_NAME]
        named = f" ({name})"
        fields[_ASKED[hook]] = name.mailbox if isinstance(name, Address) else name
    fields["seconds"] = round(decision.seconds, 6)
    _tell(log, "decision", fields, "%s %s%s", about, decision, named)


def _tell_of_message(transaction: Transaction, reply: Reply | None) -> None:
    """One line about a message: the reply behind its last octet, or that it was not sent at all."""
    session, begun = transaction.session, transaction.notes[_BEGUN]
    recipients, about = transaction.recipients, transaction.id
    named = [recipient.address.mailbox for recipient in recipients[:_NAMED]]
    limits = _limits(session.trail.latest(transaction.number))
    limit = reply.limit if reply else ", ".join(limits)
    cause = None if limit else _cause(transaction, reply)
    seconds = 0.0 if begun is None else time.monotonic() - begun
    size = transaction.message.size
    fields = {
        **_client(session),
        "message": about,
        "from": transaction.sender.mailbox,
        "to": named,
        "recipients": len(recipients),
        "size": size,
        **_decided(cause),
        "limits": limits,
        "seconds": round(seconds, 3),
    }
    answer = str(reply) if reply else ""
    if reply is not None:
        fields |= {"verdict": _ANSWERED[answer[0]], "code": reply.code, "reply": answer}
    _tell(
        _messages, "message", fields,
        "%s %s -> %s, %d octets from %s in %.2f s: %s",
        about, transaction.sender, _listed(named, len(recipients)), size, _described(session),
        seconds, _outcome(answer, cause, limit),
    )  # fmt: skip


def _outcome(answer: str, cause: Decision | None, limit: str) -> str:
    """What became of a message: `250 2.0.0 Queued (maildir on queue)`, or why it was not sent."""
    if limit:
        return f"{answer or 'not sent'} (limit {limit})"
    if not answer:
        return f"not sent; {cause}" if cause else "not sent"
    return f"{answer} ({f'{cause.plugin} on {cause.hook}' if cause else 'the server itself'})"


def _listed(named: list[str], count: int) -> str:
    """Recipients in words: `<bob@example.org> <eve@example.org> and 3 more`."""
    words = " ".join(f"<{recipient}>" for recipient in named) or "(nobody)"
    return f"{words} and {count - len(named)} more" if count > len(named) else words


def _tell_of_session(session: Session) -> None:
    seconds = max(0.0, time.time() - session.started)  # the time of day may be set back
    taken, octets = session.notes[_TAKEN]
    limits = _limits(entry for entry in session.trail if not entry.message)
    fields = {
        **_client(session),
        "messages": session.messages,
        "taken": taken,
        "octets": octets,
        "limits": limits,
        "seconds": round(seconds, 3),
    }
    _tell(
        _sessions, "session", fields,
        "%s %s gone after %.2f s and %d %s%s%s",
        session.id, _described(session), seconds, session.messages,
        "message" if session.messages == 1 else "messages",
        f", {taken} taken, {octets} octets" if session.messages else "",
        f" (limit {', '.join(limits)})" if limits else "",
    )  # fmt: skip


def _client(session: Session) -> dict[str, object]:
    """What is known of a client."""
    tls = session.tls
    return {
        "session": session.id,
        "listener": session.listener,
        "client": session.client.host,
        "port": session.client.port,
        "name": session.client_name,
        "hello": session.hello,
        "user": session.user,
        "mechanism": session.mechanism,
        "tls": tls.version if tls else "",
        "cipher": tls.cipher if tls else "",
    }


def _described(session: Session) -> str:
    """A client in words: `192.0.2.1:7 (client.example, as anne, TLSv1.3)`."""
    user = f", as {session.user}" if session.user else ""
    tls = f", {session.tls.version}" if session.tls else ""
    return f"{session.client} ({session.hello or 'no greeting'}{user}{tls})"


def _decided(decision: Decision | None) -> dict[str, object]:
    """A decision in fields; they are empty where the server itself has decided."""
    if decision is None:
        return {"verdict": "", "plugin": "", "hook": "", "reason": ""}
    return {
        "verdict": _CALLED[type(decision.verdict)],
        "plugin": decision.plugin,
        "hook": decision.hook,
        "reason": decision.verdict.text,
    }


def _cause(transaction: Transaction, reply: Reply | None) -> Decision | None:
    """The last decision that earned a message its reply, or that kept it from being sent."""
    verdicts, hooks = _EARNING[reply.code // 100 if reply else 0]
    for decision in reversed(transaction.session.trail.decisions):
        if (
            decision.message == transaction.number
            and decision.mode == "enforce"
            and decision.hook in hooks
            and type(decision.verdict) in verdicts
        ):
            return decision
    return None


def _limits(entries: Iterable[Decision | Result]) -> list[str]:
    """The limits that a client has run into."""
    return [one.text for one in entries if type(one) is Result and one.plugin == LIMITS]


def _is_read(log: logging.Logger) -> bool:
    return log.isEnabledFor(logging.INFO)


def _log_of(plugin: str) -> logging.Logger:
    return logging.getLogger(f"{PLUGIN_LOGGER}.{plugin}")


def _tell(
    log: logging.Logger, event: str, fields: dict[str, object], text: str, *values: object
) -> None:
    # `Logger.info` would look for the line of code that it was called from, which takes as long as
    # all the rest.
    extra = {"event": event, "fields": fields}
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, text, values, None, extra=extra))
