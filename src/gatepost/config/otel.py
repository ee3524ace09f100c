"""The table [otel]: where traces are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from gatepost.config.complaints import Complaints
from gatepost.hooks.loader import Complaint
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import fill
from gatepost.web_address import web_host

#: What the traces need beside OpenTelemetry's interfaces, which other packages bring along.
_MODULES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


@dataclass(frozen=True, slots=True)
class OtelSettings:
    """The table [otel].  Raises ValueError, naming the option, for an endpoint that is none."""

    #: the collector that is sent a trace of each session (OTLP over HTTP): an address like
    #: `http://127.0.0.1:4318`; empty: none is made
    endpoint: str = field(default="", repr=False)
    service: str = "gatepost"  #: what the collector calls this server

    def __post_init__(self) -> None:
        if self.endpoint:
            web_host(self.endpoint, option="endpoint")


def read_otel(table: Mapping[str, object], complaints: Complaints) -> OtelSettings:
    """The table [otel]; that of no configuration at all when there are complaints."""
    values, wrong = fill(table, declared_options(OtelSettings), Path())
    try:
        OtelSettings(values.get("endpoint", ""))
    except ValueError as error:
        wrong.append(Complaint(str(error), "endpoint"))
    if values.get("endpoint") and not all(map(_is_installed, _MODULES)):
        text = "option 'endpoint' needs OpenTelemetry: pip install 'gatepost[otel]'"
        wrong.append(Complaint(text, "endpoint"))
    if values.get("service") == "":
        wrong.append(Complaint("option 'service' must not be empty", "service"))
    complaints.take(wrong, "otel", section="otel")
    return OtelSettings() if wrong else OtelSettings(**values)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is what it stands in
        return False
