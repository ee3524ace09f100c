"""Next hops: connections to them, kept for a while so that the next message finds one open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gatepost.address import Address
from gatepost.client.destination import NextHop
from gatepost.client.sending import Client, look_through
from gatepost.client.timeouts import Timeouts
from gatepost.protocol.envelope import NOTHING_ASKED, Envelope
from gatepost.protocol.opening import TlsPolicy
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.stuffing import Survey
from gatepost.protocol.transfer import Outcome
from gatepost.session import Transaction


class _Idle(NamedTuple):
    client: Client
    expiry: float  #: when it has been idle for long enough, by the loop's clock


@dataclass(slots=True)
class _Pool:
    """What there is for one destination."""

    room: asyncio.Semaphore
    idle: list[_Idle] = field(default_factory=list)  #: the last one used stands last
    sweep: asyncio.TimerHandle | None = None  #: when the first of them is to be closed


class NextHops:
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
        authorities: Path | None = None,
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
        self._pools: dict[NextHop, _Pool] = {}

    async def hand_on(self, transaction: Transaction, destinations: Sequence[NextHop]) -> Outcome:
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
        destinations: Sequence[NextHop],
        sender: Address,
        recipients: Sequence[Address],
        message: Iterable[bytes],
        *,
        mail_parameters: MailParameters = NOTHING_ASKED,
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
            mail_parameters,
            tuple(rcpt_parameters),
        )
        content, survey = await look_through(message)
        for destination in destinations:
            outcome = await self._deliver(destination, envelope, content, survey)
            if outcome.judged:
                break
        return outcome

    async def close(self) -> None:
        """Say goodbye on all idle connections; those at work close when they have done it."""
        pools, self._pools = self._pools, {}
        clients = [idle.client for pool in pools.values() for idle in pool.idle]
        for pool in pools.values():
            if pool.sweep is not None:
                pool.sweep.cancel()
        await asyncio.gather(*(client.close() for client in clients))

    async def _deliver(
        self, destination: NextHop, envelope: Envelope, content: Iterable[bytes], survey: Survey
    ) -> Outcome:
        pool = self._pools.get(destination)
        if pool is None:
            pool = self._pools[destination] = _Pool(asyncio.Semaphore(self._most))
        async with pool.room:
            client = pool.idle.pop().client if pool.idle else self._new_client(destination)
            try:
                return await client.deliver(envelope, content, survey)
            finally:
                self._keep(pool, client)

    def _keep(self, pool: _Pool, client: Client) -> None:
        if not client.idle or self._pools.get(client.destination) is not pool:
            client.leave()
            return
        loop = asyncio.get_running_loop()
        pool.idle.append(_Idle(client, loop.time() + self._idle_seconds))
        if pool.sweep is None:
            pool.sweep = loop.call_later(self._idle_seconds, self._sweep, pool, loop)

    def _sweep(self, pool: _Pool, loop: asyncio.AbstractEventLoop) -> None:
        """Close what has been idle for long enough; the longest idle one stands first."""
        now = loop.time()
        while pool.idle and pool.idle[0].expiry <= now:
            pool.idle.pop(0).client.leave()
        pool.sweep = None
        if pool.idle:
            pool.sweep = loop.call_at(pool.idle[0].expiry, self._sweep, pool, loop)
