"""How a client opens a session: banner, greeting, TLS as the policy wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gatepost.protocol.client import Answered, ClientProtocol
from gatepost.protocol.stages import Stage
from gatepost.reply import Reply

#: Whether to use STARTTLS: never; where it is offered; or not to deliver without it.
TlsPolicy: TypeAlias = Literal["off", "may", "must"]

#: What a server says to EHLO that does not know it (RFC 5321, 3.2).
EHLO_UNKNOWN: Final = frozenset({500, 501, 502, 504})

NOT_OFFERED: Final = Reply(451, "4.7.4", "TLS is required here, and the next hop does not offer it")
NOT_READY: Final = Reply(451, "4.7.4", "TLS is required here, and the next hop refuses STARTTLS")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no message can be sent, and at which step that showed."""

    stage: Stage
    reply: Reply


class Opening:
    """The steps from an open connection to a session that takes messages.

    What the methods return is to be sent.  When `wants_tls` is set, the octets wait for a TLS
    handshake and then for `secured`.
    """

    __slots__ = ("_protocol", "_tls", "done", "refusal", "wants_tls")

    def __init__(self, protocol: ClientProtocol, tls: TlsPolicy) -> None:
        self._protocol = protocol
        self._tls = tls
        self.wants_tls = False
        self.done = False
        self.refusal: Refusal | None = None  #: why it failed, once it is done

    def receive(self, event: Answered) -> bytes:
        """Take the server's answer to the last step."""
        reply = event.reply
        if event.stage is Stage.STARTTLS:
            return self._answered_starttls(reply)
        if reply.positive:
            return self._protocol.hello() if event.stage is Stage.BANNER else self._greeted()
        if event.stage is Stage.EHLO and reply.code in EHLO_UNKNOWN:
            return self._protocol.send(Stage.HELO, self._protocol.hostname)
        return self._end(Refusal(event.stage, reply))

    def secured(self) -> bytes:
        """TLS is up."""
        self.wants_tls = False
        self._protocol.secured()
        return self._protocol.hello()

    def _greeted(self) -> bytes:
        if self._tls == "off" or self._protocol.secure:
            return self._end()
        if "STARTTLS" in self._protocol.capabilities:
            return self._protocol.send(Stage.STARTTLS)
        return self._end(Refusal(Stage.STARTTLS, NOT_OFFERED) if self._tls == "must" else None)

    def _answered_starttls(self, reply: Reply) -> bytes:
        if reply.positive:
            self.wants_tls = True
            return b""
        if self._tls == "may" and reply.code != 421:
            return self._end()
        # That TLS is lacking says nothing about the message: it is never a permanent failure.
        return self._end(Refusal(Stage.STARTTLS, NOT_READY if reply.code >= 500 else reply))

    def _end(self, refusal: Refusal | None = None) -> bytes:
        self.done = True
        self.refusal = refusal
        return b""
