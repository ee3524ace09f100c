"""Limits: how much one client may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass

#: RFC 5321, 4.5.3.1.8: a server takes at least so many recipients.
FEWEST_RECIPIENTS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The table [limits] of the configuration."""

    message_size: int = 52_428_800  #: octets of a message; 0: no limit
    header_size: int = 1_048_576  #: octets of a message's header block
    text_line: int = 65_536  #: octets of a line of a message; never fewer than 1000
    memory: int = 262_144  #: octets of a message kept in memory; the rest goes to a file
    received: int = 100  #: Received fields that mean a loop
    recipients: int = 1000  #: of a message; never fewer than 100
    line: int = 2048  #: octets of a command line
    errors: int = 20  #: refused commands before 421
    idle_commands: int = 100  #: NOOP, RSET, VRFY, EHLO and the like in a row, before 421
    messages: int = 1000  #: per connection
    connections: int = 2000  #: per worker
    connections_per_address: int = 50  #: per client's IP address
    command_timeout: float = 300  #: seconds to wait for a command
    data_timeout: float = 600  #: seconds to wait for the next 64 KiB of a message
    session_timeout: float = 3600  #: seconds that a connection may last

    def __post_init__(self) -> None:
        if self.recipients < FEWEST_RECIPIENTS:
            raise ValueError(
                f"recipients: never fewer than {FEWEST_RECIPIENTS} (RFC 5321, 4.5.3.1.8)"
            )
        if self.line < 512:
            raise ValueError("line: never fewer than 512 octets (RFC 5321, 4.5.3.1.4)")
        if self.text_line < 1000:
            raise ValueError("text_line: never fewer than 1000 octets (RFC 5321, 4.5.3.1.6)")
