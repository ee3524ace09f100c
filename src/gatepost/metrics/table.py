"""The figures that there are, as data: one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
#: What becomes of a figure when those of several processes are put together.
Across: TypeAlias = Literal["sum", "max", "min"]


@dataclass(frozen=True, eq=False, slots=True)
class Figure:
    """One figure, as it is exposed."""

    name: str  #: as Prometheus will have it, with its unit
    kind: Kind
    help: str  #: what it counts or measures
    labels: tuple[str, ...] = ()  #: what tells its values apart
    bounds: tuple[float, ...] = ()  #: of a histogram's buckets, each included; then all the rest
    across: Across = "sum"  #: for gauges

    @property
    def width(self) -> int:
        """How many numbers a value is: one, or a histogram's buckets and its sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


_HOOK_BOUNDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 600)
_LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CONNECTIONS = Figure(
    "gatepost_connections_total",
    "counter",
    "Connections that were opened, also those that were turned away at once.",
    ("listener",),
)
OPEN_CONNECTIONS = Figure("gatepost_open_connections", "gauge", "Connections that are open.")
MESSAGES = Figure(
    "gatepost_messages_total",
    "counter",
    "Messages whose end was answered.",
    ("listener", "outcome"),
)
RECIPIENTS = Figure(
    "gatepost_recipients_total",
    "counter",
    "Recipients of messages whose end was answered.",
    ("listener", "outcome"),
)
RECEIVED = Figure("gatepost_received_bytes_total", "counter", "Octets of messages.", ("listener",))
CONVERSATION = Figure(
    "gatepost_conversation_bytes_total",
    "counter",
    "Octets that clients have said (in) and were told (out), messages included; TLS is taken off.",
    ("listener", "direction"),
)
VERDICTS = Figure(
    "gatepost_verdicts_total",
    "counter",
    "Verdicts of plugins; mode tells whether they took effect.",
    ("plugin", "hook", "verdict", "mode"),
)
HOOK_SECONDS = Figure(
    "gatepost_hook_seconds",
    "histogram",
    "Seconds that plugins took on their hooks, with what they waited for.",
    ("hook", "plugin"),
    _HOOK_BOUNDS,
)
TLS_SESSIONS = Figure(
    "gatepost_tls_sessions_total",
    "counter",
    "Connections that TLS was brought up on.",
    ("version",),
)
AUTHENTICATIONS = Figure(
    "gatepost_authentications_total",
    "counter",
    "Attempts to authenticate.",
    ("mechanism", "outcome"),
)
LIMITS_HIT = Figure(
    "gatepost_limits_hit_total",
    "counter",
    "Times that a client ran into a limit of the configuration.",
    ("limit",),
)
LAG = Figure(
    "gatepost_event_loop_lag_seconds",
    "histogram",
    "How late the event loop comes to what was planned.",
    (),
    _LAG_BOUNDS,
)
LONGEST_LAG = Figure(
    "gatepost_event_loop_longest_lag_seconds",
    "gauge",
    "The longest lag of the last minute, of all processes.",
    across="max",
)
WORKERS = Figure("gatepost_workers", "gauge", "Processes that serve clients.")
STARTED = Figure(
    "gatepost_start_time_seconds",
    "gauge",
    "When the oldest process was started, in seconds since 1970.",
    across="min",
)
MEMORY = Figure(
    "gatepost_resident_memory_bytes",
    "gauge",
    "Memory of all processes; what they share is counted for each.",
)
OPEN_FILES = Figure(
    "gatepost_open_file_descriptors", "gauge", "Open file descriptors of all processes."
)

#: All figures, in the order in which they are exposed.
TABLE: tuple[Figure, ...] = (
    CONNECTIONS, OPEN_CONNECTIONS, MESSAGES, RECIPIENTS, RECEIVED, CONVERSATION, VERDICTS,
    HOOK_SECONDS, TLS_SESSIONS, AUTHENTICATIONS, LIMITS_HIT, LAG, LONGEST_LAG, WORKERS, STARTED,
    MEMORY, OPEN_FILES,
)  # fmt: skip
