"""How many files the system lets a server have open, and whether its connections fit."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

log = logging.getLogger(__name__)

#: A connection has a socket, and a file while it sends a message that is too big for the memory.
FILES_A_CONNECTION = 2
#: Files that are open whatever the clients do: listeners, logs, libraries.
FILES_BESIDE = 64


def allow_connections(connections: int) -> None:
    """Have as many files as the system lets us; warn where they are too few for the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections * FILES_A_CONNECTION + FILES_BESIDE
    # Some systems allow more than they can do when it comes to it.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "%d connections may need %d open files, and the system allows %d: "
            "raise `ulimit -n` (LimitNOFILE= in systemd) or lower limits.connections",
            connections, needed, soft,
        )  # fmt: skip
