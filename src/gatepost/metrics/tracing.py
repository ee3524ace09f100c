"""Tracer: a plugin that listens, and tells OpenTelemetry of sessions, messages and decisions."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gatepost.address import Address
from gatepost.metrics.words import verdict_word
from gatepost.plugin import Plugin, blocking
from gatepost.reply import Reply
from gatepost.session import Session, Transaction
from gatepost.site import Site
from gatepost.trail import Decision

#: Seconds that the collector has for a batch of spans; at the end, four of them may be left.
PATIENCE = 2.0
#: Where a collector takes traces whose address names no path (OTLP/HTTP).
_PATH = "/v1/traces"


class Tracer(Plugin):
    """Make a span of each session, each transaction and each decision.

    It is to be the first of all plugins, or it misses what others settle before it is asked.
    Spans are told in batches by a thread; while the collector is gone, they are dropped.  They
    tell of the client's address and of nobody's mailbox: by the identifiers that they bear, the
    rest is found in the log.  What the SDK reads from the environment holds here, too, such as
    `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS`.
    """

    def __init__(self, endpoint: str, service: str = "gatepost") -> None:
        self._endpoint = with_path(endpoint)
        self._service = service
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()
        self._sessions: dict[Session, trace.Span] = {}
        self._transactions: dict[Session, trace.Span] = {}

    def startup(self, site: Site) -> None:
        resource = Resource.create({"service.name": self._service, "host.name": site.hostname})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=self._endpoint, timeout=PATIENCE)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._provider, self._tracer = provider, provider.get_tracer("gatepost")

    @blocking
    def shutdown(self, site: Site) -> None:
        if self._provider is not None:
            self._provider.shutdown()

    def connect(self, session: Session) -> None:
        if session not in self._sessions:
            self._sessions[session] = self._tracer.start_span(
                "session", kind=trace.SpanKind.SERVER, start_time=_nanoseconds(session.started)
            )
        # XCLIENT (a proxy that tells of another client) has it asked again.
        self._sessions[session].set_attributes(
            {
                "gatepost.session": session.id,
                "gatepost.listener": session.listener,
                "client.address": session.client.host,
                "client.port": session.client.port,
            }
        )

    def mail(self, transaction: Transaction, sender: Address) -> None:
        session = transaction.session
        span = self._span("transaction", self._sessions.get(session))
        span.set_attribute("gatepost.transaction", transaction.id)
        self._transactions[session] = span

    def decided(self, session: Session, decision: Decision) -> None:
        is_about_message = decision.message and session in self._transactions
        parent = (self._transactions if is_about_message else self._sessions).get(session)
        now = time.time()
        span = self._span(
            f"{decision.hook} {decision.plugin}",
            parent,
            start_time=_nanoseconds(now - decision.seconds),
            attributes={
                "gatepost.hook": decision.hook,
                "gatepost.plugin": decision.plugin,
                "gatepost.verdict": verdict_word(decision.verdict),
                "gatepost.mode": decision.mode,
            },
        )
        span.end(_nanoseconds(now))

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        span = self._transactions.get(transaction.session)
        if span is not None:
            span.set_attributes(
                {
                    "gatepost.recipients": len(transaction.recipients),
                    "gatepost.octets": transaction.message.size,
                    "gatepost.reply": reply.code,
                }
            )

    def reset(self, transaction: Transaction) -> None:
        span = self._transactions.pop(transaction.session, None)
        if span is not None:
            span.end()

    def disconnect(self, session: Session) -> None:
        span = self._sessions.pop(session, None)
        if span is None:  # turned away at the door, or gone within the handshake
            return
        span.set_attribute("gatepost.messages", session.messages)
        if session.tls is not None:
            span.set_attribute("tls.protocol.version", session.tls.version)
            span.set_attribute("tls.cipher", session.tls.cipher)
        if session.mechanism:
            span.set_attribute("gatepost.mechanism", session.mechanism)
        span.end()

    def _span(self, name: str, parent: trace.Span | None, **more: Any) -> trace.Span:
        context = trace.set_span_in_context(parent) if parent is not None else None
        return self._tracer.start_span(name, context, **more)


def with_path(endpoint: str) -> str:
    """The address of a collector, with the usual path where it names none."""
    parts = urlsplit(endpoint)
    return parts._replace(path=_PATH).geturl() if parts.path in ("", "/") else endpoint


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
