"""The tables [metrics] and [otel]: what they say, and every complaint with its line."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from gatepost.config.complaints import Complaints
from gatepost.config.metrics import MetricsSettings, read_metrics
from gatepost.config.otel import OtelSettings, read_otel


def metrics(
    text: str, directory: Path = Path("/etc/gatepost")
) -> tuple[MetricsSettings, list[str]]:
    complaints = Complaints()
    settings = read_metrics(tomllib.loads(text).get("metrics", {}), directory, complaints)
    return settings, list(complaints.located(Path("gatepost.toml"), text).complaints)


def otel(text: str) -> tuple[OtelSettings, list[str]]:
    complaints = Complaints()
    settings = read_otel(tomllib.loads(text).get("otel", {}), complaints)
    return settings, list(complaints.located(Path("gatepost.toml"), text).complaints)


# -- [metrics] ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "[metrics]\n", '[metrics]\naddress = ""\n'])
def test_figures_are_served_nowhere_by_default(text: str) -> None:
    assert metrics(text) == (MetricsSettings(), [])
    assert MetricsSettings().address == ""


@pytest.mark.parametrize("address", ["127.0.0.1:9925", "[::1]:0", "unix:/run/gatepost/m.sock"])
def test_addresses(address: str) -> None:
    assert metrics(f'[metrics]\naddress = "{address}"\n') == (MetricsSettings(address), [])


def test_a_socket_stands_beside_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN", "/run/mail")
    assert metrics('[metrics]\naddress = "unix:m.sock"\n')[0].address == "unix:/etc/gatepost/m.sock"
    assert (
        metrics('[metrics]\naddress = "unix:$RUN/m.sock"\n')[0].address == "unix:/run/mail/m.sock"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("address = 9925", "2: metrics: option 'address' must be a string, not 9925"),
        (
            'adress = "127.0.0.1:9925"',
            "2: metrics: unknown option 'adress', did you mean 'address'?",
        ),
        (
            'address = "localhost:9925"',
            "2: metrics: option 'address' must be an IP address with a port, 127.0.0.1:2525 or "
            "[::]:25, or unix:/run/gatepost.sock, not 'localhost:9925'",
        ),
        (
            'address = "unix:$NO_SUCH_NAME/m.sock"',
            "2: metrics: option 'address' names $NO_SUCH_NAME, which is not set in the environment",
        ),
    ],
)
def test_what_is_no_address(text: str, complaint: str) -> None:
    assert metrics(f"[metrics]\n{text}\n") == (MetricsSettings(), [f"gatepost.toml:{complaint}"])


def test_an_address_is_checked_wherever_it_comes_from() -> None:
    with pytest.raises(ValueError, match="option 'address' must have a port up to 65535"):
        MetricsSettings("127.0.0.1:65536")


def test_without_aiohttp_nothing_can_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    text = "gatepost.toml:2: metrics: option 'address' needs aiohttp: pip install 'gatepost[web]'"
    assert metrics('[metrics]\naddress = "127.0.0.1:9925"\n') == (MetricsSettings(), [text])
    assert metrics('[metrics]\naddress = ""\n') == (MetricsSettings(), [])


# -- [otel] ---------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry, or what is taken for it."""
    spec = sys.__spec__
    for name in (
        "opentelemetry",
        "opentelemetry.sdk",
        "opentelemetry.exporter",
        "opentelemetry.exporter.otlp",
        "opentelemetry.exporter.otlp.proto",
        "opentelemetry.exporter.otlp.proto.http",
    ):
        module = type(sys)(name)
        module.__spec__, module.__path__ = spec, []
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("text", ["", "[otel]\n", '[otel]\nendpoint = ""\n'])
def test_nothing_is_traced_by_default(text: str) -> None:
    assert otel(text) == (OtelSettings(), [])
    assert (OtelSettings().endpoint, OtelSettings().service) == ("", "gatepost")


@pytest.mark.usefixtures("installed")
def test_a_collector() -> None:
    text = '[otel]\nendpoint = "https://collector.example:4318"\nservice = "mx"\n'
    assert otel(text) == (OtelSettings("https://collector.example:4318", "mx"), [])


def test_a_collectors_address_may_hold_a_secret() -> None:
    assert "secret" not in repr(OtelSettings("https://collector.example/secret"))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("endpoint = 4318", "2: otel: option 'endpoint' must be a string, not 4318"),
        (
            'endpoint = "127.0.0.1:4318"',
            "2: otel: option 'endpoint' must be an http:// or https:// address",
        ),
        ('service = ""', "2: otel: option 'service' must not be empty"),
        ('endpoints = ""', "2: otel: unknown option 'endpoints', did you mean 'endpoint'?"),
    ],
)
def test_what_is_no_collector(text: str, complaint: str) -> None:
    assert otel(f"[otel]\n{text}\n") == (OtelSettings(), [f"gatepost.toml:{complaint}"])


@pytest.mark.parametrize(
    "missing",
    ["opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"],
)
@pytest.mark.usefixtures("installed")
def test_without_opentelemetry_nothing_can_be_traced(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(missing)]:
        monkeypatch.setitem(sys.modules, name, None)
    text = (
        "gatepost.toml:2: otel: option 'endpoint' needs OpenTelemetry: pip install 'gatepost[otel]'"
    )
    assert otel('[otel]\nendpoint = "http://127.0.0.1:4318"\n') == (OtelSettings(), [text])
    assert otel('[otel]\nservice = "mx"\n') == (OtelSettings(service="mx"), [])
