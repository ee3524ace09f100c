"""Meter: a plugin that listens, and counts what it hears."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

from gatepost.limits import Limits
from gatepost.metrics.figures import OTHER, Figures
from gatepost.metrics.lag import Lag
from gatepost.metrics.table import (
    AUTHENTICATIONS,
    CONNECTIONS,
    CONVERSATION,
    LIMITS_HIT,
    MEMORY,
    MESSAGES,
    OPEN_FILES,
    RECEIVED,
    RECIPIENTS,
    TLS_SESSIONS,
    VERDICTS,
)
from gatepost.metrics.usage import open_files, resident_memory
from gatepost.metrics.words import outcome_word, verdict_word
from gatepost.plugin import Plugin
from gatepost.protocol.sasl import MECHANISMS
from gatepost.reply import Reply
from gatepost.session import Session, Transaction
from gatepost.site import Site
from gatepost.trail import LIMITS, Decision, Outcome, Result

#: What became of an attempt to authenticate; one that is accepted is told at once.
_ATTEMPTS: dict[Outcome, str] = {"fail": "refused", "error": "deferred"}
_LIMITS = frozenset(limit.name for limit in fields(Limits))
#: What OpenSSL calls the versions of TLS that there are.
_TLS_VERSIONS = frozenset({"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"})


class Meter(Plugin):
    """Count connections, messages, verdicts and the like.

    It is to be the first of all plugins, or it misses what others settle before it is asked.
    What the server finds out by itself stands on the trail, and is counted when the message is over
    that it is about, or else the session.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        # What is counted for each message is at hand.
        self._verdicts = figures[VERDICTS]
        self._messages = figures[MESSAGES]
        self._recipients = figures[RECIPIENTS]
        self._received = figures[RECEIVED]
        self._lag = Lag(figures)
        self._known: set[Session] = set()  # those whose connections have been counted
        figures.watch(MEMORY, resident_memory)
        figures.watch(OPEN_FILES, open_files)

    def startup(self, site: Site) -> None:
        self._lag.start()

    def shutdown(self, site: Site) -> None:
        self._lag.stop()

    def connect(self, session: Session) -> None:
        # XCLIENT (a proxy that tells of another client) has it asked again.
        if session not in self._known:
            self._known.add(session)
            self._figures[CONNECTIONS].add(session.listener)

    def secured(self, session: Session) -> None:
        version = session.tls.version if session.tls is not None else ""
        self._figures[TLS_SESSIONS].add(_one_of(_TLS_VERSIONS, version))

    def authenticated(self, session: Session) -> None:
        self._figures[AUTHENTICATIONS].add(_one_of(MECHANISMS, session.mechanism), "accepted")

    def decided(self, session: Session, decision: Decision) -> None:
        self._verdicts.add(
            decision.plugin, decision.hook, verdict_word(decision.verdict), decision.mode
        )

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        listener, outcome = transaction.session.listener, outcome_word(reply)
        self._messages.add(listener, outcome)
        self._recipients.add(listener, outcome, by=len(transaction.recipients))
        self._received.add(listener, by=transaction.message.size)

    def reset(self, transaction: Transaction) -> None:
        # In a long session it gives way to what concerns later messages.
        for entry in transaction.session.trail.latest(transaction.number):
            if type(entry) is Result:
                self._count(entry)

    def disconnect(self, session: Session) -> None:
        if session in self._known:
            self._known.remove(session)
        else:  # turned away at the door, or gone within the handshake: nobody was asked
            self._figures[CONNECTIONS].add(session.listener)
        octets = self._figures[CONVERSATION]
        octets.add(session.listener, "in", by=session.octets_in)
        octets.add(session.listener, "out", by=session.octets_out)
        for entry in session.trail:
            if type(entry) is Result and not entry.message:
                self._count(entry)

    def _count(self, result: Result) -> None:
        if result.plugin == LIMITS:
            self._figures[LIMITS_HIT].add(_one_of(_LIMITS, result.text))
        elif result.plugin == "authentication" and result.outcome in _ATTEMPTS:
            mechanism = _one_of(MECHANISMS, result.text)
            self._figures[AUTHENTICATIONS].add(mechanism, _ATTEMPTS[result.outcome])


def _one_of(known: Collection[str], name: str) -> str:
    """The name, if it is one that there is: what comes from outside makes no new figure."""
    return name if name in known else OTHER
