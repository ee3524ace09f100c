"""Host: what a connection knows of the listener that its client has come to."""

from __future__ import annotations

from typing import Protocol

from gatepost.config import Listen
from gatepost.server.connections import Connections
from gatepost.server.conversation import Conversation
from gatepost.server.tls_channel import TlsChannel
from gatepost.session import Session


class Host(Protocol):
    """Whom a client has come to: the listener, as its connections see it."""

    @property
    def listen(self) -> Listen:
        """What is spoken there."""

    @property
    def connections(self) -> Connections:
        """All that are open."""

    def converse(self, session: Session) -> Conversation:
        """The conversation that a client gets."""

    def new_channel(self) -> TlsChannel:
        """The server's side of a TLS handshake."""
