"""The journal of systemd: each event with its fields, by the journal's own protocol."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import socket
from array import array
from collections.abc import Iterator

from gatepost.log.json_lines import as_json
from gatepost.log.record import fields_of, text_of
from gatepost.visible import visible

JOURNAL = "/run/systemd/journal/socket"

#: Characters of a field's name.
_NAME_LIMIT = 64
_NOT_IN_A_NAME = re.compile("[^A-Z0-9_]")
_ALWAYS = {"SYSLOG_IDENTIFIER": "gatepost", "SYSLOG_FACILITY": "2"}  # mail (RFC 5424, 6.2.1)
#: The severities of syslog (RFC 5424, 6.2.1), each with the level from which on it counts.
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_TOO_BIG = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SEALED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Journald(logging.Handler):
    """Sends events to the journal, each with its fields as `GATEPOST_SESSION` and their like.

    A field of several values stands there several times.  Control characters are spelled out.  The
    protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL.  Raises OSError where no journal listens.
    """

    def __init__(self, path: str = JOURNAL) -> None:
        super().__init__()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(path)
        except OSError:
            self.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """Send one event.  Raises OSError."""
        octets = "".join(f"{name}={value}\n" for name, value in _fields(record)).encode()
        try:
            # It is never connected, so that a journal which was restarted is found again.
            self._socket.sendto(octets, self._path)
        except OSError as error:
            if error.errno not in _TOO_BIG:
                raise
            self._send_file(octets)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
        super().close()

    def _send_file(self, octets: bytes) -> None:
        """Send what no datagram can hold: a file in memory that nobody can change any more."""
        file = os.memfd_create("gatepost-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(file, "wb", closefd=False) as writer:
                writer.write(octets)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALED)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))]
            self._socket.sendmsg([b""], rights, 0, self._path)
        finally:
            os.close(file)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    """All that the journal is told of a complete event, printable."""
    yield "MESSAGE", visible(text_of(record))
    yield "PRIORITY", str(_severity(record.levelno))
    yield from _ALWAYS.items()
    yield "GATEPOST_LOGGER", visible(record.name)
    for name, value in fields_of(record).items():
        field = f"GATEPOST_{_NOT_IN_A_NAME.sub('_', str(name).upper())}"[:_NAME_LIMIT]
        for one in value if isinstance(value, list | tuple) else (value,):
            yield field, visible(_as_text(one))


def _severity(level: int) -> int:
    return next((severity for least, severity in _SEVERITIES if level >= least), _DEBUG)


def _as_text(value: object) -> str:
    if isinstance(value, bool | dict):
        return as_json(value)
    return "" if value is None else str(value)
