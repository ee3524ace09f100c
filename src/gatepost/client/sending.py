"""Client: sends messages to one destination, over one connection that is kept between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Final

from gatepost.address import Address
from gatepost.client.connection import Connection, Interrupted
from gatepost.client.destination import Destination
from gatepost.client.dialling import Manner, open_session
from gatepost.client.timeouts import Timeouts
from gatepost.protocol.envelope import Envelope
from gatepost.protocol.opening import TlsPolicy
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.stuffing import Survey
from gatepost.protocol.transfer import Outcome, Transfer
from gatepost.reply import Reply

#: Octets that are surveyed before others may go on with their work.
TURN: Final = 1_048_576


class Client:
    """A client of one server.

    `hostname` is the name that it gives itself.  `tls` says whether to use STARTTLS: "off", "may"
    (where it is offered) or "must"; `verify` whether the certificate has to be good for the host's
    name, which is the rule for "must" only; `authorities` names a file of certificates to trust
    instead of the system's.  On a Unix socket there is no TLS.

    It connects when there is something to send.  No failure of the network and no refusal is an
    exception: both are replies in the outcome, and what failed on the way is a 451.
    """

    def __init__(
        self,
        destination: Destination | str,
        *,
        hostname: str,
        tls: TlsPolicy = "may",
        verify: bool | None = None,
        authorities: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        if isinstance(destination, str):
            destination = Destination.parse(destination)
        self.destination = destination
        self._manner = manner(
            hostname, tls=tls, verify=verify, authorities=authorities, timeouts=timeouts
        )
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def idle(self) -> bool:
        """Whether a connection stands ready, as far as one can know without asking."""
        return self._connection is not None and self._connection.usable

    async def send(
        self,
        sender: Address,
        recipients: Sequence[Address],
        message: Iterable[bytes],
        *,
        mail_parameters: MailParameters | None = None,
        rcpt_parameters: Sequence[RcptParameters] = (),
    ) -> Outcome:
        """Send one message; the outcome has a reply for each recipient, in the order given.

        `message` is a Message, or another iterable of octets that gives the same each time that
        it is iterated.  `rcpt_parameters` are as many as the recipients, or none.
        """
        envelope = Envelope(
            sender,
            tuple(recipients),
            mail_parameters or MailParameters(),
            tuple(rcpt_parameters),
        )
        return await self.deliver(envelope, message, await survey_of(message))

    async def deliver(
        self, envelope: Envelope, content: Iterable[bytes], survey: Survey
    ) -> Outcome:
        """Send a message that has been surveyed, in as many rounds as the server's limit takes.

        Recipients beyond what it takes at once are tried again in a further round (RFC 5321,
        4.5.3.1.10).
        """
        async with self._lock:
            outcome = await self._round(envelope, content, survey)
            replies = list(outcome.replies)
            waiting = _left_over(replies)
            while waiting and len(waiting) < len(replies):
                outcome = await self._round(_part(envelope, waiting), content, survey)
                for index, reply in zip(waiting, outcome.replies, strict=True):
                    replies[index] = reply
                still = _left_over(outcome.replies)
                if len(still) == len(waiting):
                    break
                waiting = [waiting[index] for index in still]
            return replace(outcome, replies=tuple(replies))

    async def close(self) -> None:
        """Say goodbye and close the connection, if there is one; the client can be used again."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.quit()

    def leave(self) -> None:
        """Close the connection without waiting for an answer to QUIT."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave()
