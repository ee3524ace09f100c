"""Syslog: lines to the syslog of this machine."""

from __future__ import annotations

import logging
import os
import socket
from logging.handlers import SysLogHandler

SYSLOG = "/dev/log"


class Syslog(SysLogHandler):
    """Sends lines to syslog as a part of the mail system.

    Raises OSError where nobody listens.
    """

    def __init__(self, path: str = SYSLOG) -> None:
        super().__init__(path, SysLogHandler.LOG_MAIL)
        self.ident = f"gatepost[{os.getpid()}]: "
        if self.socktype is None:  # `SysLogHandler` would rather wait for somebody to come
            self.close()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(path)
        # In a stream something has to end each line.
        self.append_nul = self.socktype == socket.SOCK_STREAM

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the caller have the error that is being caught."""
        raise
