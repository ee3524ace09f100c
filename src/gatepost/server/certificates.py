"""Certificates: those that the server shows, read anew whenever their files change."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias

from gatepost.config.tls import TlsSettings, bare_context, certificate_files
from gatepost.tls_context import (
    PemError,
    ServerCertificate,
    TlsContext,
    pem_files,
    read_certificate,
)

log = logging.getLogger(__name__)

#: Seconds between two looks at the files.
LOOK_INTERVAL = 1.0

#: A file as it was at one moment: its path, then when it was written, its size and its inode.
_Seen: TypeAlias = tuple[Path, int, int, int]


class Certificates:
    """The server's certificates, as a context for the next connection.

    Whoever has a context keeps it: a connection that is up does not notice that there is another.
    Raises ValueError when it is made of files that are of no use.  When files change later and
    the new ones are, those that were read before stay, and that is logged once.
    """

    def __init__(self, settings: TlsSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._looked = clock()
        self._seen = _look(settings)
        self._context = _context(settings)

    def context(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        now = self._clock()
        if now - self._looked >= LOOK_INTERVAL:
            self._looked = now
            self._renew()
        return self._context

    def _renew(self) -> None:
        seen = _look(self._settings)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._context = _context(self._settings)
        except ValueError as error:
            log.error("The certificates that were read before stay in use: %s", error)
        else:
            log.info("The certificates have changed and were read anew")


def _look(settings: TlsSettings) -> set[_Seen]:
    """The files as they are; one that is not there, or cannot be seen, is left out."""
    paths = {settings.certificate, settings.key, settings.client_ca}
    for files in settings.certificates:
        paths |= {files.certificate, files.key}
    if settings.directory is not None:
        with suppress(PemError):  # whoever reads it complains
            paths.update(pem_files(settings.directory))
    seen: set[_Seen] = set()
    for path in paths:
        try:
            status = path.stat() if path else None
        except OSError:
            continue
        if path and status:
            seen.add((path, status.st_mtime_ns, status.st_size, status.st_ino))
    return seen


def _context(settings: TlsSettings) -> TlsContext:
    """A context with the first certificate, which changes to another where a client asks for it."""
    certificates = [
        read_certificate(files.certificate, files.key) for files in certificate_files(settings)
    ]
    now = datetime.now(UTC)
    for untimely in filter(None, (certificate.untimely(now) for certificate in certificates)):
        log.warning("%s", untimely)
    first, *others = (_joined(settings, group) for group in _groups(certificates))
    names: dict[str, ssl.SSLContext] = {}
    for context in (first, *others):
        for name in context.certificates[0].names:
            names.setdefault(name, context)
    if others:
        first.sni_callback = partial(_choose, names)
    return first


def _joined(settings: TlsSettings, certificates: Iterable[ServerCertificate]) -> TlsContext:
    context = bare_context(settings)
    for certificate in certificates:
        context.add(certificate)
    return context


def _groups(certificates: Iterable[ServerCertificate]) -> list[list[ServerCertificate]]:
    """Those for the same names with keys of different kinds together: the client can have either.

    OpenSSL takes the one that the client can verify, as it does with RSA beside ECDSA.
    """
    groups: list[list[ServerCertificate]] = []
    for certificate in certificates:
        for group in groups:
            kinds = {other.kind for other in group}
            if certificate.names == group[0].names and certificate.kind not in kinds:
                group.append(certificate)
                break
        else:
            groups.append([certificate])
    return groups


def _choose(
    names: Mapping[str, ssl.SSLContext],
    connection: ssl.SSLObject | ssl.SSLSocket,
    server_name: str | None,
    _: ssl.SSLContext,
) -> None:
    """Take the context for the name that the client asks for (SNI); the first is in place already.

    A wildcard stands for one label on the left (RFC 9525, 6.3).
    """
    name = (server_name or "").lower()
    label, _dot, parent = name.partition(".")
    chosen = names.get(name) or (names.get(f"*.{parent}") if label else None)
    if chosen is not None:
        connection.context = chosen
