"""TLS where we are the client: whom we believe to be the server that we meant."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=64)  # reading the system's authorities takes milliseconds
def client_context(*, verify: bool = True, authorities: Path | None = None) -> ssl.SSLContext:
    """What TLS needs to know on our side; it is shared, so leave it as it is.

    `verify` says whether the certificate must be good for the host's name, `authorities` is a PEM
    file of whom to trust instead of the system's.  Raises OSError for a file that cannot be read
    or holds no certificate.
    """
    if verify:
        context = ssl.create_default_context(cafile=authorities)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
