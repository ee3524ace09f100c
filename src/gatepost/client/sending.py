"""Client: sends messages to one destination, over one connection that is kept between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from gatepost.address import Address
from gatepost.client.connection import Connection, Interrupted
from gatepost.client.destination import Destination, NextHop
from gatepost.client.dialling import Manner, open_session
from gatepost.client.timeouts import Timeouts
from gatepost.protocol.envelope import NOTHING_ASKED, Envelope
from gatepost.protocol.opening import TlsPolicy
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.stuffing import Survey
from gatepost.protocol.transfer import ONE_PIECE, Outcome, Transfer
from gatepost.reply import Reply

#: Octets that are surveyed before others may go on with their work.
TURN: Final = 1_048_576


class Client:
    """A client of one server.

    `hostname` is the name that it gives itself.  `tls` says whether to use STARTTLS: "off", "may"
    (where it is offered) or "must"; `verify` whether the certificate has to be good for the host's
    name, which is the rule for "must" only; `authorities` names a file of certificates to trust
    instead of the system's.  On a Unix socket, and to a Program, there is no TLS.

    It connects when there is something to send.  No failure of the network and no refusal is an
    exception: both are replies in the outcome, and what failed on the way is a 451.
    """

    def __init__(
        self,
        destination: NextHop | str,
        *,
        hostname: str,
        tls: TlsPolicy = "may",
        verify: bool | None = None,
        authorities: Path | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        if isinstance(destination, str):
            destination = Destination.parse(destination)
        if destination.is_local and tls == "must":
            raise ValueError(f"{destination} is on this machine: there is no TLS on it")
        self.destination: NextHop = destination
        self._manner = Manner(
            hostname,
            tls=tls,
            verify=tls == "must" if verify is None else verify,
            authorities=authorities,
            timeouts=timeouts or Timeouts(),
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
        mail_parameters: MailParameters = NOTHING_ASKED,
        rcpt_parameters: Sequence[RcptParameters] = (),
    ) -> Outcome:
        """Send one message; the outcome has a reply for each recipient, in the order given.

        `message` is a Message, or another iterable of octets that gives the same each time that
        it is iterated.  `rcpt_parameters` are as many as the recipients, or none.
        """
        envelope = Envelope(
            sender,
            tuple(recipients),
            mail_parameters,
            tuple(rcpt_parameters),
        )
        content, survey = await look_through(message)
        async with self._lock:
            return await self.deliver(envelope, content, survey)

    async def deliver(
        self, envelope: Envelope, content: Iterable[bytes], survey: Survey
    ) -> Outcome:
        """Send a message that was looked through, for one who has this client to himself.

        Recipients beyond what the server takes at once go into a further round (RFC 5321,
        4.5.3.1.10; RFC 9422, 4.2).
        """
        replies: dict[int, Reply] = {}
        waiting = list(range(len(envelope.recipients)))
        judged = False
        while waiting:
            tried, outcome = await self._round(envelope, waiting, content, survey)
            if tried is waiting and not any(map(_too_many, outcome.replies)) and not replies:
                return outcome
            judged = judged or outcome.judged
            answers = dict(zip(tried, outcome.replies, strict=True))
            settled = {i: reply for i, reply in answers.items() if not _too_many(reply)}
            replies |= settled or answers  # one that takes nobody is not asked for ever
            waiting = [index for index in waiting if index not in replies]
        return Outcome(tuple(replies[index] for index in sorted(replies)), outcome.stage, judged)

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

    async def _round(
        self, envelope: Envelope, waiting: list[int], content: Iterable[bytes], survey: Survey
    ) -> tuple[list[int], Outcome]:
        """Send it to the first of those who wait; return who they are, too.

        Where a connection that was kept turns out to be stale before the server has judged
        anything, the same is done once more over a fresh one.
        """
        while True:
            try:
                connection = await self._ready()
            except Interrupted as interruption:
                refusal = interruption.refusal
                return waiting, Outcome((refusal.reply,) * len(waiting), refusal.stage)
            kept = connection.messages > 0
            most = connection.protocol.limit("RCPTMAX") or len(waiting)
            tried = waiting if most >= len(waiting) else waiting[:most]
            transfer = Transfer(
                connection.protocol, _part(envelope, tried), content=content, survey=survey
            )
            await self._run(connection, transfer)
            if transfer.judged or not kept:
                return tried, transfer.outcome

    async def _ready(self) -> Connection:
        """The connection that was kept, or a fresh one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            most = connection.protocol.limit("MAILMAX")
            if connection.usable and (most is None or connection.messages < most):
                self._connection = connection
                return connection
            connection.leave()
        self._connection = await open_session(self.destination, self._manner)
        return self._connection

    async def _run(self, connection: Connection, transfer: Transfer) -> None:
        """Take a transfer to its end; afterwards the connection is at rest or gone."""
        connection.messages += 1
        try:
            connection.write(transfer.start())
            while not transfer.done:
                if transfer.wants_content:
                    await _stream(connection, transfer)
                else:
                    connection.write(transfer.receive(await connection.answer()))
        except Interrupted as interruption:
            transfer.fail(
                _after_all(interruption.refusal.reply, transfer), interruption.refusal.stage
            )
        finally:
            if not connection.usable:  # also when this task is cancelled in the middle
                connection.abort()
                self._connection = None


async def look_through(message: Iterable[bytes]) -> tuple[Iterable[bytes], Survey]:
    """Survey a message, letting others work in between; the octets come back to be sent."""
    if isinstance(message, Iterator):
        raise TypeError("a message is iterated more than once: not an iterator")
    survey = Survey()
    pieces: list[bytes] = []
    turn = TURN
    for piece in message:
        survey.add(piece)
        if survey.size <= ONE_PIECE:
            pieces.append(piece)
        elif survey.size > turn:
            turn = survey.size + TURN
            await asyncio.sleep(0)
    return (pieces if survey.size <= ONE_PIECE else message), survey


async def _stream(connection: Connection, transfer: Transfer) -> None:
    """Send the message as fast as it is taken; a server that has had enough of it ends that."""
    for piece in transfer.pieces():
        connection.write(piece)
        if (answered := await connection.room()) is not None:
            connection.write(transfer.receive(answered))
            if transfer.done:
                return


def _part(envelope: Envelope, indexes: list[int]) -> Envelope:
    if len(indexes) == len(envelope.recipients):
        return envelope
    recipients = tuple(envelope.recipients[index] for index in indexes)
    rcpt = tuple(envelope.rcpt[index] for index in indexes) if envelope.rcpt else ()
    return replace(envelope, recipients=recipients, rcpt=rcpt)


def _too_many(reply: Reply) -> bool:
    """Whether a recipient was one too many, and not refused for what it is.

    RFC 5321, 4.5.3.1.10 has a client read 552 as 452 there; many servers give no status.
    """
    return reply.code in (452, 552) and reply.status in ("4.5.3", "5.5.3", "")


def _after_all(reply: Reply, transfer: Transfer) -> Reply:
    if not transfer.sent:
        return reply
    return replace(reply, text=f"{reply.text}; the message may have arrived all the same")
