"""Connection: one open line to a server, with its protocol and a clock."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from math import inf
from typing import NoReturn, cast

from gatepost.client.timeouts import Timeouts
from gatepost.protocol.client import Answered, ClientProtocol, Farewell
from gatepost.protocol.opening import Refusal
from gatepost.protocol.replies import ProtocolViolation
from gatepost.protocol.stages import ClientState, Stage
from gatepost.reply import Reply, printable


class Interrupted(Exception):
    """The connection is of no further use; the refusal says why, as a reply to a message."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal.reply))
        self.refusal = refusal


class HandshakeFailed(Interrupted):
    """TLS did not come up."""


class Connection(asyncio.Protocol):
    """One open line to a server.

    One coroutine at a time waits on it; all that waits raises `Interrupted` when the line breaks,
    the time is up, or the server says what it may not say.
    """

    __slots__ = (
        "_alarm",
        "_closed",
        "_congested",
        "_loop",
        "_lost",
        "_peer",
        "_rings_at",
        "_timeouts",
        "_transport",
        "_waiter",
        "messages",
        "protocol",
    )
    _transport: asyncio.Transport

    def __init__(
        self,
        protocol: ClientProtocol,
        timeouts: Timeouts,
        *,
        peer: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.protocol = protocol
        self.messages = 0  #: transfers begun over it
        self._timeouts = timeouts
        self._peer = peer
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._rings_at = inf  #: when the alarm rings, by the loop's clock
        self._congested = False  #: whether the transport has enough to write for now
        self._lost = ""  #: why nothing more will be heard; empty: the line is open
        self._closed = False  #: whether the transport is gone altogether

    @property
    def usable(self) -> bool:
        """Whether the next message can begin, as far as one can know without asking."""
        return not self._lost and self.protocol.at_rest and not self._transport.is_closing()

    # -- What asyncio calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The line is open."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not inherit it

    def data_received(self, data: bytes) -> None:
        """The server has sent something."""
        self.protocol.receive_data(data)
        self._wake()

    def eof_received(self) -> None:
        """The server has closed its side; asyncio then closes ours."""
        self._lost = self._lost or "the next hop closed the connection"
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is gone."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._lost = self._lost or f"the connection was lost{f' ({exc})' if exc else ''}"
        self._wake()

    def pause_writing(self) -> None:
        """There is enough to write for now."""
        self._congested = True

    def resume_writing(self) -> None:
        """There is room again."""
        self._congested = False
        self._wake()

    # -- What the client calls ------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send octets, now or as soon as there is room."""
        if data and not self._lost:
            self._transport.write(data)

    async def answer(self) -> Answered:
        """The server's next answer."""
        deadline = 0.0
        while (event := self.protocol.next_event()) is None:
            stage = self.protocol.awaited or Stage.END_OF_DATA
            if self._lost:
                raise self._interrupted(self._lost, stage)
            deadline = deadline or self._loop.time() + self._timeouts.of(stage)
            if not await self._happening(deadline):
                seconds = self._timeouts.of(stage)
                raise self._interrupted(f"no reply within {seconds:g} seconds", stage)
        return event if isinstance(event, Answered) else self._give_up(event)

    async def room(self) -> Answered | None:
        """Wait until there is room to write; the server's answer, if it speaks before that."""
        deadline = 0.0
        while (event := self.protocol.next_event()) is None:
            if self._lost:
                raise self._interrupted(self._lost, Stage.END_OF_DATA)
            if not self._congested:
                return None
            deadline = deadline or self._loop.time() + self._timeouts.block
            if not await self._happening(deadline):
                raise self._interrupted("the next hop reads no further", Stage.END_OF_DATA)
        return event if isinstance(event, Answered) else self._give_up(event)

    async def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Put TLS on the line; raises HandshakeFailed."""
        try:
            transport = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_hostname=name,
                ssl_handshake_timeout=self._timeouts.handshake,
            )
        except OSError as error:  # what ssl raises is one, and so is a time-out
            raise HandshakeFailed(self._refusal(f"TLS failed: {error}", "4.7.5")) from None
        if transport is None or self._lost:
            raise HandshakeFailed(self._refusal(f"TLS failed: {self._lost}", "4.7.5"))
        self._transport = transport

    async def quit(self) -> None:
        """Say goodbye, wait for the answer as long as is decent, and hang up."""
        deadline = self._loop.time() + self._timeouts.quit
        self._say_goodbye()
        while self.protocol.awaited and not self._lost and self.protocol.next_event() is None:
            if not await self._happening(deadline):
                break
        self._transport.close()
        while not self._closed and await self._happening(deadline):
            pass
        self.abort()

    def leave(self) -> None:
        """Say goodbye and hang up without waiting for the answer."""
        self._say_goodbye()
        self._transport.close()

    def abort(self) -> None:
        """Hang up at once; what is not written is lost, and no message ends by that."""
        with suppress(AttributeError):  # asyncio 3.11.2 stumbles over TLS that is over already
            self._transport.abort()

    # -- Waiting --------------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        turned_away = self.protocol.state is ClientState.TURNED_AWAY
        if turned_away or self.protocol.at_rest:
            self.write(self.protocol.send(Stage.QUIT))

    def _give_up(self, event: Farewell | ProtocolViolation) -> NoReturn:
        if isinstance(event, Farewell):
            raise Interrupted(Refusal(Stage.MAIL, event.reply))
        stage = self.protocol.awaited or Stage.END_OF_DATA
        raise Interrupted(self._refusal(f"the next hop sent {event.reason}", "4.5.0", stage))

    async def _happening(self, deadline: float) -> bool:
        """Wait until something may have happened; False when the time is up."""
        if self._loop.time() >= deadline:
            return False
        if deadline < self._rings_at:
            self._set_alarm(deadline)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        return True

    def _set_alarm(self, deadline: float) -> None:
        """Have the clock ring at a deadline.

        It is left to ring too early for a later one, and then set anew: that happens much less
        often than a reply, for which it would have to be set each time.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings_at = deadline
        self._alarm = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm, self._rings_at = None, inf
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _interrupted(self, reason: str, stage: Stage) -> Interrupted:
        return Interrupted(self._refusal(f"{reason}, at {stage}", "4.4.2", stage))

    def _refusal(self, reason: str, status: str, stage: Stage = Stage.STARTTLS) -> Refusal:
        return Refusal(stage, Reply(451, status, printable(f"{self._peer}: {reason}")))
