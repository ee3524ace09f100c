"""Gate: the whole server, in an event loop that somebody else may own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Self

from gatepost.config import Config, Listen, SocketAddress, TlsSettings, own_hostname
from gatepost.config.settings import StrayLineEnds
from gatepost.hooks.chain import Chain, Observe
from gatepost.hooks.placement import Placement, placed
from gatepost.journal.journal import with_journal
from gatepost.limits import Limits
from gatepost.plugin import Plugin
from gatepost.server.certificates import Certificates
from gatepost.server.connections import SWEEP_INTERVAL, Connections
from gatepost.server.guesses import Guesses
from gatepost.server.listener import Listener
from gatepost.server.tally import Tally
from gatepost.site import Site

__all__ = ["Gate", "Limits", "Listen", "Placement", "TlsSettings"]

#: Seconds that messages under way are given when the server stops.
GRACE = 10.0
#: Seconds that plugins are given to hear of connections that were cut off.
FAREWELL = 1.0


class Gate:
    """A mail server.

        async with Gate([Domains(domains=["example.org"]), Inbox()]) as gate:
            print(gate.port)

    `plugins` are asked in their order; one may come with a `Placement`, which is what the common
    keys of a [[plugin]] table say, and else is called by its class: `NoSales` is `no_sales`.
    `listen` is one address or several, as in the configuration: `127.0.0.1:0` for a port that the
    system chooses, `[::1]:2525`, `unix:gatepost.sock`, or a `Listen`; one with TLS needs `tls`, the
    certificates.  It runs in the event loop
    that it is started in and starts no thread of its own.  `observe` is the chain's.
    """

    def __init__(
        self,
        plugins: Iterable[Plugin | tuple[Plugin, Placement]] = (),
        *,
        listen: str | Listen | Iterable[str | Listen] = "127.0.0.1:0",
        hostname: str = "",
        limits: Limits | None = None,
        stray_line_ends: StrayLineEnds = "refuse",
        directory: Path | None = None,
        tls: TlsSettings | None = None,
        authserv_id: str = "",
        dns_servers: tuple[str, ...] = (),
        tally: Tally | None = None,
        seed: bytes = b"",
        observe: Observe | None = None,
    ) -> None:
        self.site = Site(
            hostname or own_hostname(),
            directory or Path.cwd(),
            limits or Limits(),
            authserv_id=authserv_id,
            seed=seed or token_bytes(32),
            dns_servers=dns_servers,
        )
        self.connections = Connections(self.site.limits, tally=tally)
        certificates = Certificates(tls) if tls is not None else None
        self.chain = Chain(with_journal(map(placed, plugins)), observe=observe)
        self.listeners = tuple(
            Listener(
                one,
                self.chain.on(one.name),
                self.site,
                self.connections,
                guesses=Guesses(self.connections.tally),
                certificates=certificates,
                repair=stray_line_ends == "repair",
            )
            for one in _listens(listen)
        )
        self._sweep: asyncio.TimerHandle | None = None

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        observers: Iterable[tuple[Plugin, Placement]] = (),
        tally: Tally | None = None,
        seed: bytes = b"",
        observe: Observe | None = None,
    ) -> Self:
        """The server that a configuration describes, with `observers` before its plugins.

        Several processes that share a `tally` and a `seed` keep its limits together.
        """
        return cls(
            [*observers, *config.plugins],
            listen=config.listen,
            hostname=config.hostname,
            limits=config.limits,
            stray_line_ends=config.stray_line_ends,
            directory=config.directory,
            tls=config.tls,
            authserv_id=config.authserv_id,
            dns_servers=config.dns.servers,
            tally=tally,
            seed=seed,
            observe=observe,
        )

    @property
    def addresses(self) -> tuple[SocketAddress, ...]:
        """Where it listens, in the order of the listeners; ports are known once it is started."""
        return tuple(listener.address for listener in self.listeners)

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return self.addresses[0].port

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Tell the plugins, and take connections.

        `sockets` are those of the listeners, in their order, if somebody has bound them already.
        Raises OSError where an address cannot be had, and whatever a plugin's `startup` raises; the
        server is down again then.
        """
        self.connections.admits = True
        try:
            await self.chain.start(self.site)
            for listener, bound in zip_longest(self.listeners, sockets):
                await listener.open(bound)
        except BaseException:
            await self.stop(grace=0)
            raise
        self._sweep_later()

    async def retire(self, seconds: float) -> None:
        """Take no more connections, and wait until those that there are have gone by themselves.

        After so many seconds it gives up; `stop` is still to be called.
        """
        for listener in self.listeners:
            listener.close()
        await self._emptied_within(seconds)

    async def stop(self, grace: float = GRACE) -> None:
        """Take no more connections; messages under way have `grace` seconds to be finished."""
        for listener in self.listeners:
            listener.close()
        self.connections.drain()
        if not await self._emptied_within(grace):
            self.connections.abort()
            await self._emptied_within(FAREWELL)
        if self._sweep is not None:
            self._sweep.cancel()
        await self.chain.tell("shutdown", self.site)

    async def _emptied_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.connections.emptied()
        except TimeoutError:
            return False
        return True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(SWEEP_INTERVAL, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep_later()
        self.connections.sweep(asyncio.get_running_loop().time())


def _listens(listen: str | Listen | Iterable[str | Listen]) -> list[Listen]:
    several = [listen] if isinstance(listen, str | Listen) else listen
    return [one if isinstance(one, Listen) else Listen(one, name=one) for one in several]
