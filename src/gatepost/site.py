"""Site: what a plugin may know of the server that it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_bytes

from gatepost.limits import Limits


@dataclass(frozen=True, slots=True)
class Site:
    """The server as its plugins see it."""

    hostname: str  #: the name that it gives itself in the banner and in Received
    directory: Path = field(default_factory=Path.cwd)  #: of the configuration; resolves paths
    limits: Limits = field(default_factory=Limits)
    #: its name in Authentication-Results; empty: `hostname`; `none`: there are none
    authserv_id: str = ""
    #: what is hidden, like the decoys for unknown users, is derived from this
    seed: bytes = field(default_factory=partial(token_bytes, 32), repr=False)
    dns_servers: tuple[str, ...] = ()  #: whom a plugin is to ask; empty: the system's resolver
