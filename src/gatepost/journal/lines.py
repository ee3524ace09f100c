"""Lines of the journal: how each is logged, and the facts that many of them tell."""

from __future__ import annotations

import logging

from gatepost.session import Session
from gatepost.trail import Decision
from gatepost.verdict import Accept, Defer, Deny, Verdict

#: What a verdict is called in a field.
_CALLED: dict[type[Verdict], str] = {Accept: "accept", Deny: "deny", Defer: "defer"}


def is_read(log: logging.Logger) -> bool:
    """Whether anybody reads what is logged there."""
    return log.isEnabledFor(logging.INFO)


def tell(
    log: logging.Logger, event: str, fields: dict[str, object], text: str, *values: object
) -> None:
    """Log an event: a text for people, and the same facts as fields, for programs."""
    # `Logger.info` would look for the line of code that it was called from, which takes as long as
    # all the rest.
    extra = {"event": event, "fields": fields}
    log.handle(log.makeRecord(log.name, logging.INFO, "", 0, text, values, None, extra=extra))


def client_fields(session: Session) -> dict[str, object]:
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


def client_words(session: Session) -> str:
    """A client in words: `192.0.2.1:7 (client.example, as anne, TLSv1.3)`."""
    user = f", as {session.user}" if session.user else ""
    tls = f", {session.tls.version}" if session.tls else ""
    return f"{session.client} ({session.hello or 'no greeting'}{user}{tls})"


def decision_fields(decision: Decision | None) -> dict[str, object]:
    """A decision in fields; they are empty where the server itself has decided."""
    if decision is None:
        return {"verdict": "", "plugin": "", "hook": "", "reason": ""}
    return {
        "verdict": _CALLED[type(decision.verdict)],
        "plugin": decision.plugin,
        "hook": decision.hook,
        "reason": decision.verdict.text,
    }


def decision_words(decision: Decision | None) -> str:
    """Who has decided: `maildir on queue`."""
    return f"{decision.plugin} on {decision.hook}" if decision else "the server itself"
