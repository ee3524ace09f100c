"""The table [metrics]: where figures and the state of health are served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gatepost.config.complaints import Complaints
from gatepost.config.socket_address import UNIX, SocketAddress
from gatepost.hooks.loader import Complaint
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import Misfit, fill, resolved_path


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """The table [metrics].  Raises ValueError, naming the option, for an address that is none."""

    #: where `/metrics`, `/healthz` and `/readyz` are served: `127.0.0.1:9925`, `[::1]:9925` or
    #: `unix:/run/gatepost/metrics.sock`; empty: nowhere
    address: str = ""

    def __post_init__(self) -> None:
        try:
            if self.address:
                SocketAddress.parse(self.address)
        except ValueError as error:
            raise ValueError(f"option 'address' {error}") from error


def read_metrics(
    table: Mapping[str, object], directory: Path, complaints: Complaints
) -> MetricsSettings:
    """The table [metrics]; that of no configuration at all when there are complaints.

    The relative path of a Unix socket starts at `directory`.
    """
    values, wrong = fill(table, declared_options(MetricsSettings), directory)
    settings = MetricsSettings()
    try:
        settings = MetricsSettings(_resolved(values.get("address", ""), directory))
    except Misfit as misfit:
        wrong.append(Complaint(f"option 'address'{misfit.faults[0]}", "address"))
    except ValueError as error:
        wrong.append(Complaint(str(error), "address"))
    if settings.address and find_spec("aiohttp") is None:
        text = "option 'address' needs aiohttp: pip install 'gatepost[web]'"
        wrong.append(Complaint(text, "address"))
    complaints.take(wrong, "metrics", section="metrics")
    return MetricsSettings() if wrong else settings


def _resolved(address: str, directory: Path) -> str:
    if not address.startswith(UNIX):
        return address
    return f"{UNIX}{resolved_path(address.removeprefix(UNIX), directory)}"
