"""The trace fields that this server puts on a message: Received and Authentication-Results."""

from __future__ import annotations

import time

from gatepost.authentication_results import authentication_results, remove_claims
from gatepost.received import received_field, transmission_type
from gatepost.session import Recipient, Transaction
from gatepost.site import Site


def received(transaction: Transaction, site: Site, only: Recipient | None) -> str:
    """The value of the Received field (RFC 5321, 4.4); `only` is the only recipient there is."""
    session = transaction.session
    return received_field(
        hello=session.hello,
        client_host=session.client.host if session.client.ip is not None else "",
        client_name=session.client_name,
        server=site.hostname,
        protocol=transmission_type(
            verb=session.verb,
            tls=session.tls is not None,
            authenticated=session.user != "",
            smtputf8=transaction.parameters.smtputf8,
        ),
        tls=str(session.tls) if session.tls is not None else "",
        identifier=transaction.id,
        recipient=only.address.mailbox if only else "",
        date=time.time(),
    )


def remove_forged_results(transaction: Transaction, site: Site) -> None:
    """Remove what claims to be our own Authentication-Results (RFC 8601, 5)."""
    if service := _service(site):
        remove_claims(transaction.message.headers, service)


def add_results(transaction: Transaction, site: Site) -> None:
    """Say on top of the message what was found out about it (RFC 8601)."""
    if service := _service(site):
        results = transaction.session.trail.told_of(transaction.number)
        value = authentication_results(service, results) if results else f"{service}; none"
        transaction.message.headers.prepend("Authentication-Results", value)


def _service(site: Site) -> str:
    """Our name in Authentication-Results; empty: we write none and believe all."""
    return "" if site.authserv_id == "none" else site.authserv_id or site.hostname
