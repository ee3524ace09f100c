"""Traces: what a collector of OpenTelemetry is told, over HTTP, in its own encoding."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs pip install 'gatepost[otel]'")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="as above")

from aiohttp import web
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gatepost import Accept, Defer, Deny, Plugin, Recipient, Session, Site, Transaction
from gatepost.app import Gate
from gatepost.config import Listen
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.metrics.tracing import Tracer, tracing, with_path
from gatepost.testing import A_TLS, MX, a_session, a_transaction, converse

HELLO = "S: 220 ...\nC: EHLO client.example\nS: 250 ...\n"
BEGINNING = (
    "C: MAIL FROM:<anne@client.example>\nS: 250 ...\nC: RCPT TO:<bob@example.org>\nS: 250 ...\n"
)
LETTER = "C: DATA\nS: 354 ...\nC: Subject: Hello\nC:\nC: How are you?\nC: .\n"
BYE = "C: QUIT\nS: 221 ...\nS: <closed>\n"


@dataclass
class House(Plugin):
    """Takes everything, but asks for patience where it is told to."""

    takes: bool = True

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Accept:
        return Accept()

    async def queue(self, transaction: Transaction) -> Accept | Defer:
        await asyncio.sleep(0.02)
        return Accept() if self.takes else Defer("bob@example.org is away")


@dataclass
class Collector:
    """Takes spans in as OTLP over HTTP has them."""

    status: int = 200
    paths: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    octets: bytes = b""

    async def take(self, request: web.Request) -> web.Response:
        octets = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            octets = gzip.decompress(octets)
        self.paths.append(request.path)
        if self.status == 200:
            self.octets += octets
            for spans in ExportTraceServiceRequest.FromString(octets).resource_spans:
                self.resource = values(spans.resource.attributes)
                for scope in spans.scope_spans:
                    self.spans += scope.spans
        return web.Response(status=self.status, content_type="application/x-protobuf")

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


def list_of(span: Span, key: str) -> list[str]:
    (found,) = (one.value for one in span.attributes if one.key == key)
    return [one.string_value for one in found.array_value.values]


@asynccontextmanager
async def collecting(collector: Collector) -> AsyncIterator[str]:
    """The address where a collector takes spans in."""
    app = web.Application()
    app.router.add_post("/{path:.*}", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def traced(
    *scripts: str,
    collector: Collector | None = None,
    plugins: tuple[Plugin | tuple[Plugin, Placement], ...] = (House(),),
    path: str = "",
    **more: Any,
) -> tuple[Collector, list[Session]]:
    """Hold dialogues, and give what a collector was told of them."""
    collector = collector or Collector()
    sessions: list[Session] = []

    async def whole() -> None:
        async with collecting(collector) as address:
            for script in scripts:
                tracer = Tracer(address + path, "post office")
                sessions.append(await converse([tracer, *plugins], script, **more))

    asyncio.run(asyncio.wait_for(whole(), 30))
    return collector, sessions


# -- A trace --------------------------------------------------------------------------------------


def test_a_session_its_messages_and_its_decisions() -> None:
    script = HELLO + (BEGINNING + LETTER + "S: 250 ...\n") * 2 + BYE
    collector, (session,) = traced(script)
    root = collector.one("session")
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert root.parent_span_id == b""
    assert root.kind == Span.SPAN_KIND_SERVER
    assert root.start_time_unix_nano == int(session.started * 1_000_000_000)
    assert values(root.attributes) == {
        "gatepost.session": session.id,
        "gatepost.listener": "mx",
        "client.address": "192.0.2.1",
        "client.port": 49152,
        "gatepost.messages": 2,
    }
    first, second = sorted(
        collector.named("transaction"), key=lambda span: span.start_time_unix_nano
    )
    assert first.parent_span_id == second.parent_span_id == root.span_id
    found = values(second.attributes)
    assert found.pop("gatepost.octets") > 30
    assert found == {
        "gatepost.transaction": f"{session.id}.2",
        "gatepost.recipients": 1,
        "gatepost.reply": 250,
    }
    queues = sorted(collector.named("queue house"), key=lambda span: span.start_time_unix_nano)
    assert [span.parent_span_id for span in queues] == [first.span_id, second.span_id]
    assert values(queues[0].attributes) == {
        "gatepost.hook": "queue",
        "gatepost.plugin": "house",
        "gatepost.verdict": "accept",
        "gatepost.mode": "enforce",
    }
    assert collector.resource["service.name"] == "post office"
    assert collector.resource["host.name"] == "mx.example"


def test_a_span_lasts_as_long_as_what_it_tells_of() -> None:
    collector, _ = traced(HELLO + BEGINNING + LETTER + "S: 250 ...\n" + BYE)
    inner, middle, outer = map(collector.one, ("queue house", "transaction", "session"))
    assert inner.end_time_unix_nano - inner.start_time_unix_nano >= 15_000_000
    # Clocks may differ by what it takes to look at them.
    for one, around in ((inner, middle), (middle, outer)):
        assert around.start_time_unix_nano - 5_000_000 <= one.start_time_unix_nano
        assert one.end_time_unix_nano <= around.end_time_unix_nano + 5_000_000


def test_what_was_decided_before_a_message_belongs_to_the_session() -> None:
    class Doorman(Plugin):
        """Asks everybody to come back."""

        def connect(self, session: Session) -> Defer:
            return Defer()

    collector, _ = traced("S: 421 ...\nS: <closed>\n", plugins=(Doorman(),))
    decision = collector.one("connect doorman")
    assert decision.parent_span_id == collector.one("session").span_id
    assert values(decision.attributes)["gatepost.verdict"] == "defer"


def test_a_message_that_is_refused_at_once_is_a_transaction_too() -> None:
    class Sceptic(Plugin):
        """Takes no mail."""

        def mail(self, transaction: Transaction, sender: object) -> Deny:
            return Deny()

    script = HELLO + "C: MAIL FROM:<anne@client.example>\nS: 550 ...\n" + BYE
    collector, _ = traced(script, plugins=(Sceptic(),))
    assert collector.one("mail sceptic").parent_span_id == collector.one("transaction").span_id
    assert "gatepost.reply" not in values(collector.one("transaction").attributes)


def test_tls_and_authentication() -> None:
    collector, _ = traced(HELLO + BYE, tls=True, user="anne")
    found = values(collector.one("session").attributes)
    assert found["tls.protocol.version"] == A_TLS.version
    assert found["tls.cipher"] == A_TLS.cipher
    assert found["gatepost.mechanism"] == "PLAIN"


def test_nobodys_mailbox_is_told() -> None:
    script = HELLO + BEGINNING + LETTER + "S: 451 ...\n" + BYE
    collector, _ = traced(script, plugins=(House(takes=False),), user="secretary")
    assert values(collector.one("transaction").attributes)["gatepost.reply"] == 451
    assert collector.octets
    for word in (b"anne", b"bob", b"example.org", b"Subject", b"secretary"):
        assert word not in collector.octets


def test_a_session_that_xclient_gives_to_another_stays_one() -> None:
    class Doorman(Plugin):
        """Lets everybody in, and says so."""

        def connect(self, session: Session) -> Accept:
            return Accept()

    listen: Listen = replace(MX, xclient_from=("192.0.2.1",))
    xclient = "C: XCLIENT ADDR=203.0.113.9 PORT=7\nS: 220 ...\n"
    collector, _ = traced(HELLO + xclient + BYE, plugins=(Doorman(),), listen=listen)
    root = collector.one("session")
    found = values(root.attributes)
    assert (found["client.address"], found["client.port"]) == ("203.0.113.9", 7)
    parents = [span.parent_span_id for span in collector.named("connect doorman")]
    assert parents == [root.span_id] * 2


def test_nothing_is_kept_of_what_is_over() -> None:
    tracer = Tracer("http://127.0.0.1:1")
    for _ in range(3):
        transaction = a_transaction()
        tracer.connect(transaction.session)
        tracer.mail(transaction, transaction.sender)
        tracer.reset(transaction)
        tracer.disconnect(transaction.session)
    assert tracer._sessions == tracer._transactions == {}


def test_a_connection_of_which_nobody_was_asked_has_no_trace() -> None:
    tracer = Tracer("http://127.0.0.1:1")
    tracer.disconnect(a_session())


# -- Hooks that are waited for --------------------------------------------------------------------


@dataclass
class Ponders(Plugin):
    """Waits on one hook, and then says or raises what it is to say; it keeps what is current."""

    answer: Any = None
    seconds: float = 0.0
    seen: list[int] = field(default_factory=list)

    async def rcpt(self, transaction: Transaction, recipient: Recipient) -> Any:
        self.seen.append(trace.get_current_span().get_span_context().span_id)
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


SENDER = b"EHLO x.example\r\nMAIL FROM:<anne@x.example>\r\n"
RCPT = b"RCPT TO:<bob@example.org>\r\n"
ENVELOPE = SENDER + RCPT
QUIT = b"QUIT\r\n"


def watched(
    *plugins: Plugin | tuple[Plugin, Placement],
    said: bytes = ENVELOPE + QUIT,
    until: bytes = b"\r\n221 ",
    last: bytes = b"",
    limits: Limits | None = None,
) -> tuple[Collector, Tracer]:
    """Let one client talk to a server whose hooks are traced, until it hears something.

    What it says last is not waited for.
    """
    collector, tracers = Collector(), list[Tracer]()

    async def whole() -> None:
        async with collecting(collector) as address:
            tracer = Tracer(address)
            tracers.append(tracer)
            async with Gate([tracer, *plugins], limits=limits, observe=tracing(tracer)) as gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
                writer.write(said)
                heard = b""
                while until not in heard:
                    heard += await reader.read(1000)
                writer.write(last)
                writer.close()
                await gate.connections.emptied()

    asyncio.run(asyncio.wait_for(whole(), 30))
    return collector, tracers[0]


def test_a_plugin_that_is_waited_for_has_a_span_whatever_it_says() -> None:
    ponders = Ponders(seconds=0.05)
    collector, _ = watched(ponders, House())
    span = collector.one("rcpt ponders")
    assert span.parent_span_id == collector.one("transaction").span_id
    assert span.end_time_unix_nano - span.start_time_unix_nano >= 45_000_000
    assert values(span.attributes) == {"gatepost.hook": "rcpt", "gatepost.plugin": "ponders"}
    assert span.status.code == Status.STATUS_CODE_UNSET
    # What the plugin calls may add to the trace.
    assert ponders.seen == [int.from_bytes(span.span_id)]


@pytest.mark.parametrize(("mode", "code"), [("enforce", b"550"), ("report", b"250")])
def test_what_it_decides_stands_on_the_same_span(mode: Any, code: bytes) -> None:
    ponders = Ponders(Deny("Not bob"), seconds=0.05)
    placement = Placement("ponders", mode=mode)
    collector, tracer = watched((ponders, placement), House(), until=b"\r\n221 ")
    span = collector.one("rcpt ponders")
    assert span.end_time_unix_nano - span.start_time_unix_nano >= 45_000_000
    assert values(span.attributes) == {
        "gatepost.hook": "rcpt",
        "gatepost.plugin": "ponders",
        "gatepost.verdict": "deny",
        "gatepost.mode": mode,
    }
    assert len(collector.named("rcpt house")) == (mode == "report")
    assert tracer._answered == {}


def test_a_plugin_that_answers_at_once_and_says_nothing_has_no_span() -> None:
    class Shrugs(Plugin):
        """Has no opinion."""

        def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
            return None

    collector, _ = watched(Shrugs(), House())
    assert collector.named("rcpt shrugs") == []
    assert len(collector.named("rcpt house")) == 1


def test_a_plugin_that_fails_is_told_of_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails = Ponders(ValueError("bob is ill"))
    collector, tracer = watched((fails, Placement("fails")), House())
    span = collector.one("rcpt fails")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert values(span.attributes)["gatepost.verdict"] == "defer"
    assert b"ill" not in collector.octets
    assert tracer._answered == {}


def test_failures_that_are_ignored_decide_nothing(caplog: pytest.LogCaptureFixture) -> None:
    fails = [
        (Ponders(ValueError("bob is ill")), Placement("fails", name=name, on_error="ignore"))
        for name in ("one", "two")
    ]
    collector, tracer = watched(*fails, House())
    for span in (collector.one("rcpt one"), collector.one("rcpt two")):
        assert span.status.code == Status.STATUS_CODE_ERROR
        assert "gatepost.verdict" not in values(span.attributes)
    assert values(collector.one("rcpt house").attributes)["gatepost.verdict"] == "accept"
    assert tracer._answered == {}


def test_a_plugin_whose_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    slow = Ponders(Accept(), seconds=30)
    collector, _ = watched((slow, Placement("slow", timeout=0.05)), House())
    span = collector.one("rcpt slow")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.end_time_unix_nano - span.start_time_unix_nano < 5_000_000_000
    assert values(span.attributes)["gatepost.verdict"] == "defer"


def test_a_client_that_does_not_wait() -> None:
    slow = Ponders(seconds=30)
    collector, tracer = watched(slow, said=SENDER, until=b"250 2.1.0", last=RCPT)
    assert collector.one("rcpt ponders").status.code == Status.STATUS_CODE_ERROR
    assert tracer._sessions == tracer._transactions == {}
    assert tracer._answered == {}


def test_after_the_end_no_new_trace_begins() -> None:
    class Lingers(Plugin):
        """Takes its time when everybody is gone."""

        async def startup(self, site: Site) -> None:
            await asyncio.sleep(0)

        async def disconnect(self, session: Session) -> None:
            await asyncio.sleep(0.01)

    collector, tracer = watched(Lingers(), House())
    assert {span.trace_id for span in collector.spans} == {collector.one("session").trace_id}
    assert collector.named("disconnect lingers") == collector.named("startup lingers") == []
    assert tracer._answered == {}


def test_limits_that_the_client_has_run_into() -> None:
    letter = b"DATA\r\nSubject: Hello\r\n.\r\nFROB\r\n"
    limits = Limits(message_size=10, errors=0)
    collector, _ = watched(House(), said=ENVELOPE + letter, until=b"\r\n421 ", limits=limits)
    assert list_of(collector.one("transaction"), "gatepost.limits") == ["message_size"]
    assert list_of(collector.one("session"), "gatepost.limits") == ["errors"]


# -- The collector --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "whole"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example/", "https://collector.example/v1/traces"),
        ("https://collector.example/mine", "https://collector.example/mine"),
    ],
)
def test_the_usual_path(endpoint: str, whole: str) -> None:
    assert with_path(endpoint) == whole


def test_a_path_that_is_named_is_kept() -> None:
    collector, _ = traced(HELLO + BYE, path="/tenant/traces")
    assert collector.paths == ["/tenant/traces"]
    assert traced(HELLO + BYE)[0].paths == ["/v1/traces"]


def test_what_the_environment_says_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    collector, _ = traced(HELLO + BEGINNING + LETTER + "S: 250 ...\n" + BYE)
    assert collector.spans == []


@pytest.mark.parametrize("status", [400, 503])
def test_a_collector_that_refuses_is_nobodys_trouble(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    script = HELLO + BEGINNING + LETTER + "S: 250 ...\n" + BYE
    collector, _ = traced(script, collector=Collector(status))
    assert collector.paths
    assert collector.spans == []


def test_a_collector_that_is_not_there_is_nobodys_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def whole() -> None:
        async with collecting(Collector()) as address:
            pass  # its port is free again
        async with Gate([Tracer(address), House()]) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(b"QUIT\r\n")
            assert (await reader.read()).startswith(b"220 ")
            writer.close()

    asyncio.run(asyncio.wait_for(whole(), 30))


def test_a_gate_may_be_started_again() -> None:
    async def talk(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"QUIT\r\n")
        await reader.read()
        writer.close()

    async def whole() -> None:
        collector = Collector()
        async with collecting(collector) as address:
            gate = Gate([Tracer(address)])
            for _ in range(2):
                async with gate:
                    await talk(gate.port)
        assert len(collector.named("session")) == 2

    asyncio.run(asyncio.wait_for(whole(), 30))
