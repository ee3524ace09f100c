"""Web addresses that an operator gives."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def web_host(url: str, *, option: str, private: bool = False) -> str:
    """The host in a web address, fit for a log; the rest of one may hold a secret.

    `private` says that nobody on the way may read or change what is said: then `http://` is only
    good for this machine.  Raises ValueError, naming `option`.
    """
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or parts.port == 0:
        raise ValueError(f"option {option!r} must be an http:// or https:// address")
    if private and parts.scheme == "http" and not _is_here(host):
        raise ValueError(f"option {option!r} must be an https:// address: {host} is elsewhere")
    return host


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
