"""Supervisor: binds the sockets, keeps workers alive, and lets new ones take over from old ones."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from importlib import import_module
from pathlib import Path
from typing import Protocol

from gatepost.config import Config, ConfigError, SocketAddress, load_config
from gatepost.metrics.exposition import exposition
from gatepost.processes.channel import Told
from gatepost.processes.control import ControlSocket
from gatepost.processes.generation import Generation
from gatepost.processes.privileges import become, give_to
from gatepost.processes.recruiting import Recruiting
from gatepost.processes.sockets import Sockets, from_systemd
from gatepost.processes.systemd import Systemd
from gatepost.processes.worker_process import WorkerFailed
from gatepost.server.listener import CannotListen

log = logging.getLogger(__name__)


class WatchSite(Protocol):
    """The pages for machines that watch the server."""

    async def close(self) -> None:
        """Answer no more."""


class Supervisor:
    """A whole server of several processes."""

    def __init__(self, config_file: Path, config: Config, *, quiet: bool) -> None:
        self.config = config
        self.asked_to_end = asyncio.Event()  #: by the control socket
        self._config_file = config_file
        self._started = time.time()
        self._reloads = 0
        self._sockets = Sockets(from_systemd(os.environ))
        self._control = ControlSocket(config.state, self._answer)
        self._systemd = Systemd(os.environ)
        self._recruiting = Recruiting(config_file, seed=secrets.token_hex(32), quiet=quiet)
        self._generation: Generation | None = None
        self._retiring: dict[Generation, asyncio.Task[None]] = {}
        self._switching = asyncio.Lock()
        self._site: WatchSite | None = None
        self._showing_life: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> tuple[SocketAddress, ...]:
        """Where it listens, in the order of the listeners."""
        return tuple(self._sockets.address_of(listen) for listen in self.config.listen)

    @property
    def sessions(self) -> int:
        """How many clients there are, as of the last second."""
        return sum(worker["sessions"] for worker in self._workers())

    async def start(self) -> None:
        """Bind the sockets, give up privileges, and start the workers.

        Raises CannotListen, NoSuchAccount, OSError and WorkerFailed; nothing is left then.
        """
        config = self.config
        try:
            self._sockets.bind(config.listen)
            config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            give_to(config.state, config.user, config.group)
            become(config.user, config.group)
            await self._control.open()
            self._generation = self._new_generation(config)
            await self._generation.start()
            await self._open_site(config)
        except BaseException:
            self._close()
            raise
        self._systemd.tell("READY=1", f"STATUS=Listening on {', '.join(map(str, self.addresses))}")
        if self._systemd.watchdog:
            self._showing_life = asyncio.create_task(self._show_life())

    async def reload(self) -> tuple[str, ...]:
        """Let workers with the configuration as it is now take over; complaints if they cannot.

        Nobody is cut off: the old ones stay until their clients have gone, `drain` seconds at most.
        """
        async with self._switching:
            self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            complaints: tuple[str, ...] = ()
            try:
                await self._hand_over(load_config(self._config_file))
            except (ConfigError, WorkerFailed) as error:
                complaints = error.complaints
            except OSError as error:  # CannotListen is one
                complaints = (str(error),)
            self._systemd.tell("READY=1")
        for complaint in complaints:
            log.error("%s", complaint)
        if complaints:
            log.error("not reloaded: everything goes on as it was")
        else:
            self._reloads += 1
            log.info("reloaded: new workers have taken over")
        return complaints

    async def stop(self, grace: float) -> None:
        """End; messages under way have `grace` seconds."""
        self._systemd.tell("STOPPING=1")
        await self._close_site()
        self._sockets.close()
        for task in self._retiring.values():
            task.cancel()
        generations = [*self._retiring, *([self._generation] if self._generation else [])]
        await asyncio.gather(*(generation.stop(grace) for generation in generations))
        self._close()

    # -- Generations ------------------------------------------------------------------------------

    def _new_generation(self, config: Config) -> Generation:
        text = self._config_file.read_text(encoding="utf-8-sig")
        sockets = self._sockets.bind(config.listen)
        recruiting = self._recruiting
        return Generation(
            config.workers or len(os.sched_getaffinity(0)),
            lambda: recruiting.new_worker(text, sockets),
            recruiting.gone,
        )

    async def _hand_over(self, config: Config) -> None:
        new = self._new_generation(config)
        await new.start()
        old, self._generation = self._generation, new
        if old is not None:
            self._retiring[old] = asyncio.create_task(self._retire(old, config.drain))
        if config.metrics != self.config.metrics:
            await self._close_site()
            await self._open_site(config)
        self.config = config
        self._sockets.keep_only(config.listen)

    async def _open_site(self, config: Config) -> None:
        """Serve the figures, where that is wanted; aiohttp is there only then."""
        if config.metrics.address:
            web = import_module("gatepost.metrics.web")
            accumulator = self._recruiting.accumulator
            self._site = await web.start_site(
                config.metrics.address,
                metrics=lambda: exposition(accumulator.total()),
                healthy=lambda: True,
                ready=self._is_ready,
            )

    async def _close_site(self) -> None:
        if self._site is not None:
            await self._site.close()
            self._site = None

    def _is_ready(self) -> bool:
        """Whether somebody takes clients in."""
        workers = self._generation.workers if self._generation else []
        return any(worker.is_ready for worker in workers)

    async def _retire(self, old: Generation, seconds: float) -> None:
        await old.retire(seconds)
        del self._retiring[old]

    def _close(self) -> None:
        if self._showing_life is not None:
            self._showing_life.cancel()
        self._control.close()
        self._sockets.close()
        self._recruiting.close()

    async def _show_life(self) -> None:
        """Tell systemd that there is still somebody, in time."""
        while True:
            self._systemd.tell("WATCHDOG=1")
            await asyncio.sleep(self._systemd.watchdog / 2)

    # -- Questions --------------------------------------------------------------------------------

    async def _answer(self, told: Told) -> Told:
        match told["say"]:
            case "reload":
                return {"say": "done", "complaints": await self.reload()}
            case "stop":
                self.asked_to_end.set()
                return {"say": "done"}
            case "status":
                return {"say": "status", **self.status()}
        return {"say": "unknown"}

    def status(self) -> Told:
        """What `gatepost status` shows."""
        return {
            "pid": os.getpid(),
            "started": self._started,
            "reloads": self._reloads,
            "replaced": self._generation.replaced if self._generation else 0,
            "addresses": [str(address) for address in self.addresses],
            "workers": self._workers(),
        }

    def _workers(self) -> list[Told]:
        generations = [*([self._generation] if self._generation else []), *self._retiring]
        return [
            {
                "pid": worker.pid,
                "started": worker.started,
                "state": worker.state,
                "sessions": worker.last_beat.get("sessions", 0),
                "taken": worker.last_beat.get("taken", 0),
            }
            for generation in generations
            for worker in generation.workers
        ]


__all__ = ["CannotListen", "Supervisor"]
