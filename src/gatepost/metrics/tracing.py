"""Tracer: a plugin that listens, and tells OpenTelemetry of sessions, messages and hooks."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gatepost.address import Address
from gatepost.each import Each
from gatepost.hooks.chain import Method, Observe
from gatepost.metrics.timing import AT_ONCE
from gatepost.metrics.words import verdict_word
from gatepost.plugin import Plugin, blocking
from gatepost.reply import Reply
from gatepost.session import Session, Transaction
from gatepost.site import Site
from gatepost.trail import Decision, limits_hit
from gatepost.verdict import Accept, Defer, Deny

T = TypeVar("T")

#: Seconds that the collector has for a batch of spans; at the end, four of them may be left.
PATIENCE = 2.0
#: Where a collector takes traces whose address names no path (OTLP/HTTP).
_PATH = "/v1/traces"
#: The answers that `decided` tells of.
_DECIDING = frozenset({Accept, Deny, Defer, Each})


@dataclass(slots=True, eq=False)
class _Hook:
    """What one plugin did on one hook, as a span that is not over yet."""

    name: str
    span: trace.Span
    ended: int = 0  #: nanoseconds since 1970

    def end(self) -> None:
        """Nothing more is known of it."""
        self.span.end(self.ended)


class Tracer(Plugin):
    """Make a span of each session, each transaction, and each hook that decided or was waited for.

    It is to be the first of all plugins, or it misses what others settle before it is asked, and
    `tracing` is to be put around all of them.  While a plugin is waited for, its span is the
    current one, and what it calls may add to the trace.  Spans are told in batches by a thread;
    while the collector is gone, they are dropped.  They tell of the client's address and of
    nobody's mailbox: by the identifiers that they bear, the rest is found in the log.  What the SDK
    reads from the environment holds here, too, such as `OTEL_TRACES_SAMPLER` and
    `OTEL_EXPORTER_OTLP_HEADERS`.
    """

    def __init__(self, endpoint: str, service: str = "gatepost") -> None:
        self._endpoint = with_path(endpoint)
        self._service = service
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()
        self._sessions: dict[Session, trace.Span] = {}
        self._transactions: dict[Session, trace.Span] = {}
        self._answered: dict[Session, _Hook] = {}  #: of which `decided` may tell more

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

    # -- Sessions and transactions ----------------------------------------------------------------

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
        session = transaction.session
        span = self._transactions.pop(session, None)
        if span is not None:
            if limits := limits_hit(session.trail.latest(transaction.number)):
                span.set_attribute("gatepost.limits", limits)
            span.end()

    def disconnect(self, session: Session) -> None:
        self._settle(session)
        span = self._sessions.pop(session, None)
        if span is None:  # turned away at the door, or gone within the handshake
            return
        span.set_attribute("gatepost.messages", session.messages)
        if session.tls is not None:
            span.set_attribute("tls.protocol.version", session.tls.version)
            span.set_attribute("tls.cipher", session.tls.cipher)
        if session.mechanism:
            span.set_attribute("gatepost.mechanism", session.mechanism)
        if limits := limits_hit(entry for entry in session.trail if not entry.message):
            span.set_attribute("gatepost.limits", limits)
        span.end()

    # -- Hooks ------------------------------------------------------------------------------------

    def decided(self, session: Session, decision: Decision) -> None:
        name = f"{decision.hook} {decision.plugin}"
        hook = self._answered.get(session)
        if hook is not None and hook.name == name:
            del self._answered[session]
        else:
            hook = self._at_once(session, name, decision)
        hook.span.set_attributes(
            {
                "gatepost.verdict": verdict_word(decision.verdict),
                "gatepost.mode": decision.mode,
            }
        )
        hook.end()

    def _at_once(self, session: Session, name: str, decision: Decision) -> _Hook:
        """A hook that was not waited for, and is over."""
        now = time.time()
        parent = self._parent(session, is_about_message=decision.message != 0)
        span = self._hook_span(name, parent, _nanoseconds(now - decision.seconds))
        return _Hook(name, span, _nanoseconds(now))

    async def _waited(self, answer: Awaitable[T], name: str, holder: Session | Transaction) -> T:
        is_about_message = isinstance(holder, Transaction)
        session = holder.session if isinstance(holder, Transaction) else holder
        parent = self._parent(session, is_about_message=is_about_message)
        if parent is None:  # it is over already, or has never begun
            return await answer
        hook, failed = _Hook(name, self._hook_span(name, parent, time.time_ns())), True
        try:
            with trace.use_span(hook.span, record_exception=False, set_status_on_exception=False):
                value = await answer
            failed = False
            return value
        finally:
            hook.ended = time.time_ns()
            if failed:  # the log says how: there may be mailboxes in the words of an exception
                hook.span.set_status(trace.StatusCode.ERROR)
            if session in self._sessions and (failed or type(value) in _DECIDING):
                self._settle(session)
                self._answered[session] = hook
            else:
                hook.end()

    def _settle(self, session: Session) -> None:
        """A hook that failed and was ignored is over."""
        hook = self._answered.pop(session, None)
        if hook is not None:
            hook.end()

    def _parent(self, session: Session, *, is_about_message: bool) -> trace.Span | None:
        if is_about_message and session in self._transactions:
            return self._transactions[session]
        return self._sessions.get(session)

    def _hook_span(self, name: str, parent: trace.Span | None, started: int) -> trace.Span:
        hook, _, plugin = name.partition(" ")
        span = self._span(name, parent, start_time=started)
        span.set_attributes({"gatepost.hook": hook, "gatepost.plugin": plugin})
        return span

    def _span(self, name: str, parent: trace.Span | None, **more: Any) -> trace.Span:
        context = trace.set_span_in_context(parent) if parent is not None else None
        return self._tracer.start_span(name, context, **more)


def tracing(tracer: Tracer) -> Observe:
    """What a chain is to put around its plugins' methods, so that what is waited for is a span."""

    def around(hook: str, plugin: str, method: Method) -> Method:
        def asked(*arguments: Any) -> Any:
            answer = method(*arguments)
            if type(answer) in AT_ONCE or not isawaitable(answer):
                return answer
            holder = arguments[0]
            if not isinstance(holder, Session | Transaction):
                return answer  # it concerns no client
            return tracer._waited(answer, f"{hook} {plugin}", holder)

        return asked

    return around


def with_path(endpoint: str) -> str:
    """The address of a collector, with the usual path where it names none."""
    parts = urlsplit(endpoint)
    return parts._replace(path=_PATH).geturl() if parts.path in ("", "/") else endpoint


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
