"""Site: what a plugin may know of the server that it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gatepost.limits import Limits


@dataclass(frozen=True, slots=True)
class Site:
    """The server as its plugins see it."""

    hostname: str  #: the name that it gives itself in the banner and in Received
    directory: Path = field(default_factory=Path.cwd)  #: of the configuration; resolves paths
    limits: Limits = field(default_factory=Limits)
    dns_servers: tuple[str, ...] = ()  #: whom a plugin is to ask; empty: the system's resolver
