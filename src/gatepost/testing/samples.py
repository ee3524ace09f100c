"""Samples: listeners, sessions, transactions and recipients for tests of plugins."""

from __future__ import annotations

from gatepost.address import Address
from gatepost.config import Listen
from gatepost.message import Message
from gatepost.session import Endpoint, Recipient, Session, Transaction
from gatepost.tls import Tls

#: A whole small message.
LETTER = b"From: anne@client.example\r\nSubject: Hello\r\n\r\nHow are you?\r\n"

#: A listener that asks for nothing, and one for LMTP.
MX = Listen("198.51.100.1:25", name="mx")
LMTP = Listen("198.51.100.1:24", name="lmtp", protocol="lmtp")
#: What the TLS of today is.
A_TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)


def a_session(
    client: str = "192.0.2.1",
    *,
    hello: str = "client.example",
    verb: str = "EHLO",
    relaying: bool = False,
    allowed: str = "",
    user: str = "",
    tls: Tls | None = None,
) -> Session:
    """A session that has got past its greeting."""
    session = Session(Endpoint(client, 49152), Endpoint("198.51.100.1", 25), "mx")
    session.hello, session.verb, session.relaying = hello, verb, relaying
    session.allowed, session.user, session.tls = allowed, user, tls
    return session


def a_recipient(address: str = "bob@example.org") -> Recipient:
    """A recipient as RCPT proposes it."""
    return Recipient(Address.of(address))


def a_transaction(
    session: Session | None = None,
    *,
    sender: str = "anne@client.example",
    recipients: tuple[str, ...] = (),
    message: bytes = b"",
) -> Transaction:
    """A transaction: just begun, or with recipients and a whole message."""
    return Transaction(
        session or a_session(),
        Address.of(sender),
        recipients=[a_recipient(recipient) for recipient in recipients],
        message=Message.parse(message),
    )
