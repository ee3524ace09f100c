"""Connection: one client's transport: bounded buffers both ways, clocks, and its conversation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias, cast

from gatepost.identifier import SESSION_ID
from gatepost.reply import Reply
from gatepost.server.connections import SHUTTING_DOWN
from gatepost.server.host import Host
from gatepost.server.origin import Origin, origin_of
from gatepost.server.stay import Stay
from gatepost.server.tls_transport import TlsTransport
from gatepost.server.waiting_room import SHARE
from gatepost.tls import Tls

log = logging.getLogger(__name__)

#: Octets that a client may send ahead while a hook waits; beyond them it is not read.
AHEAD = 65_536
#: Seconds that a client has to take its last reply.
GOODBYE = 10.0

#: What is said to clients whose time is over, by the limit; within a handshake it cannot be said.
TIMED_OUT = {
    limit: Reply(421, "4.4.2", "Time is over", final=True, limit=limit)
    for limit in ("command_timeout", "data_timeout", "handshake_timeout", "session_timeout")
}

_Answering: TypeAlias = Coroutine[asyncio.Future[Any], None, bytes]


class Connection(asyncio.Protocol):
    """Joins a transport to a conversation.

    It steps the conversation's coroutine itself: a session whose hooks never wait costs no task
    and no switch.  What a hook waits for is a future, and stepping goes on when it is done.
    """

    __slots__ = (
        "_choked", "_clock", "_closing", "_connections", "_conversation", "_coroutine", "_draining",
        "_ended_input", "_host", "_limits", "_lost", "_origin", "_reading_paused", "_said",
        "_securing", "_stay", "_transport", "_unsent",
    )  # fmt: skip

    def __init__(
        self, host: Host, clock: Callable[[], float], origin: Origin | None = None
    ) -> None:
        self._host = host
        self._connections = host.connections
        self._clock = clock
        self._origin = origin  #: who the client is; None: whoever the transport says
        self._coroutine: _Answering | None = None
        self._said = 0  #: octets, without those of TLS itself
        self._unsent = b""  #: replies that wait for those of other clients
        self._choked = False  #: the client does not read its replies
        self._closing = False  #: everything is said
        self._securing = False  #: a TLS handshake is under way
        self._reading_paused = self._ended_input = False
        self._draining = False
        self._lost = False

    # -- What the transport calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        refusal = self._connections.admit(self, self._met(transport).address)
        is_clear = self._host.listen.tls != "implicit"
        if refusal is not None:
            # The clock is not held against it, so its own end is not waited for.
            octets = self._conversation.close(refusal)
            self._unsent = octets if is_clear else b""
            self.flush()
            self._transport.close()
            return
        self._stay.begin(self._clock())
        if is_clear:
            self._run(self._conversation.respond())
        else:
            self._begin_tls()

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""
        if len(data) >= SHARE:
            self._pause_reading()
            self._connections.waiting_room.add(self)
        if self._closing:
            return  # it is only waited for that the client takes its last reply
        conversation = self._conversation
        waits = self._coroutine is not None or self._choked or conversation.more
        conversation.receive_data(data)
        self._stay.receive(len(data), receiving=conversation.receiving)
        if not waits:
            self._run(conversation.respond())
        if conversation.more and not self._closing and conversation.count_ahead() > AHEAD:
            self._pause_reading()

    def eof_received(self) -> bool:
        """The client sends no more; what it has said before is still answered."""
        self._ended_input = True
        conversation = self._conversation
        has_more_to_say = conversation.more
        if self._coroutine is not None:
            has_more_to_say = conversation.committed or conversation.count_ahead() > 0
        if not has_more_to_say:
            self.flush()
            self._transport.close()
        return True

    def flush(self) -> None:
        """Send what has been answered so far."""
        octets, self._unsent = self._unsent, b""
        if octets and not self._lost:
            self._said += len(octets)
            self._transport.write(octets)

    def secured(self, tls: Tls) -> None:
        """The TLS handshake is done."""
        self._securing = False
        self._stay.move()
        self._run(self._conversation.secured(tls))

    def pause_writing(self) -> None:
        """The client does not read its replies: it gets no more until it does."""
        self._choked = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._choked = False
        self._connections.waiting_room.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, for whatever reason."""
        self._lost = True
        if self._coroutine is not None and self._conversation.committed:
            self._conversation.forget_ahead()
        elif self._coroutine is not None:
            coroutine, self._coroutine = self._coroutine, None
            coroutine.close()  # and with it what its hook waits for
        if self._coroutine is None:
            self._leave()

    def turn_away(self, transport: asyncio.BaseTransport, refusal: Reply) -> None:
        """A client has come to whom nothing is said, only to those who listen."""
        self._met(transport)
        self._conversation.close(refusal)
        self._transport.abort()

    # -- What the clock and the server call -------------------------------------------------------

    def expire(self, now: float) -> None:
        """Hang up on a client that has been silent for too long, or has stayed for too long."""
        if self._closing or self._securing:
            if self._stay.is_late(now):
                if self._securing:
                    self._conversation.close(TIMED_OUT["handshake_timeout"])
                self._transport.abort()
            return
        limit = self._stay.limit_at(now, receiving=self._conversation.receiving)
        if limit and self._coroutine is None:
            self._hang_up(TIMED_OUT[limit])

    def drain(self) -> None:
        """Hang up as soon as no message is under way."""
        self._draining = True
        if self._securing:
            self._transport.abort()
        idle = self._coroutine is None and not (self._closing or self._securing)
        if idle and self._conversation.between_messages:
            self._hang_up(SHUTTING_DOWN)

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def _met(self, transport: asyncio.BaseTransport) -> Origin:
        """Who has come; the session begins."""
        self._transport = cast(asyncio.Transport, transport)
        origin = self._origin or origin_of(transport)
        self._conversation = self._host.converse(origin.session(self._host.listen.name))
        self._limits = self._conversation.limits
        self._stay = Stay(self._limits)
        return origin

    # -- The conversation -------------------------------------------------------------------------

    def _run(self, coroutine: _Answering) -> None:
        self._coroutine = coroutine
        self._step(coroutine)

    def _step(self, coroutine: _Answering, _: asyncio.Future[Any] | None = None) -> None:
        """Run the coroutine until it is through, or waits for a future."""
        if coroutine is not self._coroutine:
            return  # it was given up while it waited
        token = SESSION_ID.set(self._conversation.session.id)
        try:
            future = coroutine.send(None)
        except StopIteration as through:  # no `finally`: raised anew it would cost microseconds
            SESSION_ID.reset(token)
            self._coroutine = None
            self._go_on(through.value)
        except (Exception, asyncio.CancelledError):  # it is no task: only a plugin can cancel here
            SESSION_ID.reset(token)
            log.exception("%s: the conversation broke", self._conversation.session.id)
            self._coroutine = None
            if self._lost:
                self._leave()
            else:
                self._transport.abort()
        else:
            SESSION_ID.reset(token)
            future.add_done_callback(partial(self._step, coroutine))

    def _go_on(self, octets: bytes) -> None:
        """Send what was answered, and see what is next."""
        conversation, transport = self._conversation, self._transport
        if self._lost:
            self._leave()
            return
        if octets:
            waiting, self._unsent = self._unsent, self._unsent + octets
            if not waiting:
                self._connections.outbox.add(self)
            self._stay.move()
        if conversation.more and not self._stay.overstays:
            self._connections.waiting_room.add(self)
        elif conversation.over:
            self._say_goodbye()
        elif conversation.wants_tls:
            self.flush()
            self._begin_tls()
        elif self._ended_input:
            self.flush()
            transport.close()
        elif self._stay.overstays:  # whoever always has a question under way is met here alone
            self._hang_up(TIMED_OUT["session_timeout"])
        elif self._draining and conversation.between_messages:
            self._hang_up(SHUTTING_DOWN)
        elif self._reading_paused:
            self._connections.waiting_room.add(self)

    def next_share(self) -> None:
        """Answer the next part of what has arrived, or hear more: others have had their turn."""
        waits = self._coroutine is not None or self._choked
        if self._conversation.more and not (waits or self._closing):
            self._run(self._conversation.respond())
        elif self._reading_paused and not self._lost and (self._closing or not waits):
            self._reading_paused = False
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        self._reading_paused = True
        self._transport.pause_reading()

    def _begin_tls(self) -> None:
        """What comes from here on is a TLS handshake, and what is in it."""
        self._securing = True
        self._stay.await_until(self._clock() + self._limits.handshake_timeout)
        room, name = self._connections.waiting_room, self._conversation.session.id
        channel = self._host.new_channel()
        self._transport = TlsTransport(self._transport, self, channel, room, session_id=name)
        self._transport.resume_reading()

    def _leave(self) -> None:
        """Tell those who listen that the connection is gone, and make room for another."""
        if self._conversation.ended:
            self._connections.leave(self)
        else:
            session = self._conversation.session
            session.octets_in, session.octets_out = self._stay.heard, self._said
            self._run(self._conversation.end())

    def _hang_up(self, reply: Reply) -> None:
        self._unsent += self._conversation.close(reply)
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Close, but give the client time to take what was said last.

        To close with input unread would make the kernel reset the connection, and the reply might
        never be seen; so the client's own end is awaited.
        """
        self.flush()
        self._closing = True
        self._stay.await_until(self._clock() + GOODBYE)
        transport = self._transport
        if self._ended_input or not transport.can_write_eof():
            transport.close()
        else:
            with suppress(OSError):  # it may be gone without our having heard of it
                transport.write_eof()
            transport.resume_reading()
