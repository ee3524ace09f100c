"""Timeouts: how long a client waits for a server at each step (RFC 5321, 4.5.3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.protocol.stages import Stage


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait at each step; a reply that drips in does not get more."""

    connect: float = 30  #: for each address of a host, and for its look-up
    banner: float = 300
    hello: float = 300  #: EHLO, HELO, LHLO; also STARTTLS
    handshake: float = 60  #: until TLS is up
    mail: float = 300  #: also RSET and NOOP
    rcpt: float = 300
    data: float = 120
    block: float = 180  #: until there is room for the next 64 KiB of the message
    end_of_data: float = 600  #: for the reply that counts; giving up early makes second copies
    quit: float = 5  #: for a goodbye

    def of(self, stage: Stage) -> float:
        """Seconds to wait for the reply to one step."""
        name = _FIELDS.get(stage, "mail")
        seconds: float = getattr(self, name)
        return seconds


_FIELDS = {
    Stage.CONNECT: "connect",
    Stage.BANNER: "banner",
    Stage.EHLO: "hello",
    Stage.HELO: "hello",
    Stage.LHLO: "hello",
    Stage.STARTTLS: "hello",
    Stage.RCPT: "rcpt",
    Stage.DATA: "data",
    Stage.END_OF_DATA: "end_of_data",
    Stage.QUIT: "quit",
}
