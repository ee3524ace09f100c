"""Connections to next hops, kept for a while so that the next message finds one open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from gatepost.address import Address
from gatepost.client.destination import Destination
from gatepost.client.sending import Client, survey_of
from gatepost.client.timeouts import Timeouts
from gatepost.protocol.envelope import Envelope
from gatepost.protocol.opening import TlsPolicy
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.stuffing import Survey
from gatepost.protocol.transfer import Outcome
from gatepost.session import Transaction


@dataclass(slots=True)
class _Idle:
    client: Client
    expiry: asyncio.TimerHandle


@dataclass(slots=True)
class _Pool:
    """What there is for one destination."""

    room: asyncio.Semaphore
    idle: list[_Idle] = field(default_factory=list)  #: the last one used stands last


class Connections:
    """Connections to any number of destinations.

    To one destination there are at most `most` at a time: further messages wait for their turn.
    One that nobody needs is kept for `idle_seconds`, then closed.  The other options are those of
    `Client`.
    """

    def __init__(
        self,
        *,
        hostname: str,
        tls: TlsPolicy = "may",
        verify: bool | None = None,
        authorities: str | None = None,
        timeouts: Timeouts | None = None,
        most: int = 20,
        idle_seconds: float = 20,
    ) -> None:
        self._new_client = partial(
            Client,
            hostname=hostname,
            tls=tls,
            verify=verify,
            authorities=authorities,
            timeouts=timeouts,
        )
        self._most = most
        self._idle_seconds = idle_seconds
        self._pools: dict[Destination, _Pool] = {}

    async def hand_on(
        self, transaction: Transaction, destinations: Sequence[Destination]
    ) -> Outcome:
        """Send a transaction's message to its recipients, as `send` does."""
        return await self.send(
            destinations,
            transaction.sender,
            [recipient.address for recipient in transaction.recipients],
            transaction.message,
            mail_parameters=transaction.parameters,
            rcpt_parameters=[recipient.parameters for recipient in transaction.recipients],
        )

    async def send(
        self,
        destinations: Sequence[Destination],
        sender: Address,
        recipients: Sequence[Address],
        message: Iterable[bytes],
        *,
        mail_parameters: MailParameters | None = None,
        rcpt_parameters: Sequence[RcptParameters] = (),
    ) -> Outcome:
        """Send a message to the first destination that can be talked to, in the order given.

        The next one is tried only where this one has not judged the message at all.  The outcome
        is the last one's; see `Client.send`.
        """
        if not destinations:
            raise ValueError("no destination")
        envelope = Envelope(
            sender,
            tuple(recipients),
            mail_parameters or MailParameters(),
            tuple(rcpt_parameters),
        )
        survey = await survey_of(message)
        for destination in destinations:
            outcome = await self._deliver(destination, envelope, message, survey)
            if outcome.judged:
                break
        return outcome

    async def close(self) -> None:
        """Say goodbye on all idle connections; those at work close when they have done it."""
        pools, self._pools = self._pools, {}
        idle = [one for pool in pools.values() for one in pool.idle]
        for one in idle:
            one.expiry.cancel()
        await asyncio.gather(*(one.client.close() for one in idle))

    async def _deliver(
        self, destination: Destination, envelope: Envelope, content: Iterable[bytes], survey: Survey
    ) -> Outcome:
        pool = self._pools.get(destination)
        if pool is None:
            pool = self._pools[destination] = _Pool(asyncio.Semaphore(self._most))
        async with pool.room:
            client = self._take(pool) or self._new_client(destination)
            try:
                return await client.deliver(envelope, content, survey)
            finally:
                self._keep(pool, client)

    def _take(self, pool: _Pool) -> Client | None:
        while pool.idle:
            idle = pool.idle.pop()
            idle.expiry.cancel()
            if idle.client.idle:
                return idle.client
            idle.client.leave()
        return None

    def _keep(self, pool: _Pool, client: Client) -> None:
        if not client.idle or self._pools.get(client.destination) is not pool:
            client.leave()
            return
        loop = asyncio.get_running_loop()
        pool.idle.append(
            _Idle(client, loop.call_later(self._idle_seconds, self._expire, pool, client))
        )

    def _expire(self, pool: _Pool, client: Client) -> None:
        pool.idle = [idle for idle in pool.idle if idle.client is not client]
        client.leave()
