"""What a service tells systemd: that it is ready, that it lives (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

#: Seconds that it is waited for, while it does not take what it is told.
PATIENCE = 2.0


class Systemd:
    """The service manager; silence where there is none."""

    def __init__(self, environment: Mapping[str, str], *, patience: float = PATIENCE) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._patience = patience
        #: seconds after which it holds a service that says nothing for dead; 0: it does not care
        self.watchdog = 0.0
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if watched and environment.get("WATCHDOG_USEC", "").isdecimal():
            self.watchdog = int(environment["WATCHDOG_USEC"]) / 1_000_000

    def tell(self, *facts: str) -> None:
        """Tell it some facts: `READY=1`, `STATUS=...`."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there, suppress(OSError):
            there.settimeout(self._patience)
            there.connect(address)
            there.send("\n".join(facts).encode(errors="replace"))
