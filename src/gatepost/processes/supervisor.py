"""Supervisor: binds the sockets, keeps workers alive, and lets new ones take over from old ones."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from gatepost.config import Config, ConfigError, SocketAddress, config_text, parse_config
from gatepost.log.set_up import CannotLog, set_up
from gatepost.processes.channel import Told
from gatepost.processes.control import ControlSocket
from gatepost.processes.generation import Generation
from gatepost.processes.pages import Pages
from gatepost.processes.privileges import become, give_to
from gatepost.processes.recruiting import Recruiting
from gatepost.processes.sockets import Sockets, from_systemd
from gatepost.processes.systemd import Systemd
from gatepost.processes.worker_process import WorkerFailed, WorkerProcess
from gatepost.server.listener import CannotListen

log = logging.getLogger(__name__)

STOPPING = "the server is being stopped"


class Supervisor:
    """A whole server of several processes.

    `config` is that of the text.  It knows nothing of mail, and nothing of plugins: once the
    workers are there, only they look at plugins' tables and run their code.
    """

    def __init__(self, path: Path, text: str, config: Config, *, quiet: bool) -> None:
        self.config = config
        self.asked_to_end = asyncio.Event()  #: by the control socket
        self._path = path
        self._text = text
        self._quiet = quiet
        self._started = time.time()
        self._reloads = 0
        self._sockets = Sockets(from_systemd(os.environ))
        self._control = ControlSocket(config.state, self._answer)
        self._systemd = Systemd(os.environ)
        self._recruiting = Recruiting(path, seed=secrets.token_hex(32), quiet=quiet)
        self._pages = Pages(self._recruiting.accumulator, ready=self._is_ready)
        self._generation: Generation | None = None
        self._retiring: dict[Generation, asyncio.Task[None]] = {}
        self._is_stopping = False
        self._switching = asyncio.Lock()
        self._next_reload: asyncio.Task[tuple[str, ...]] | None = None
        self._switch: asyncio.Task[None] | None = None
        self._showing_life: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> tuple[SocketAddress, ...]:
        """Where it listens, in the order of the listeners."""
        return tuple(self._sockets.address_of(listen) for listen in self.config.listen)

    @property
    def sessions(self) -> int:
        """How many clients there are, as of the last second."""
        return sum(_sessions(worker) for worker in self._workers())

    async def start(self) -> None:
        """Bind the sockets, give up privileges, and start the workers.

        Raises CannotListen, CannotLog, NoSuchAccount, OSError and WorkerFailed; nothing is left
        then.
        """
        config = self.config
        try:
            async with self._switching:  # whoever asks for a reload meanwhile waits
                self._sockets.bind(config.listen)
                config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
                give_to(config.state, config.user, config.group)
                become(config.user, config.group)
                set_up(config.log, quiet=self._quiet)  # root would follow a link in its place
                await self._control.open()
                await self._put_to_work(config, self._text)
        except BaseException:
            await self._close()
            raise
        for address in self._sockets.unclaimed:
            log.warning("systemd has bound %s, which is the address of no listener", address)
        self._systemd.tell("READY=1", self._described())
        if self._systemd.watchdog:
            self._showing_life = asyncio.create_task(self._show_life())

    async def reload(self) -> tuple[str, ...]:
        """Let workers with the configuration as it is now take over; complaints if they cannot.

        Nobody is cut off: the old ones stay until their clients have gone, `drain` seconds at most.
        """
        if self._next_reload is None:
            self._next_reload = asyncio.create_task(self._reload())
        return await asyncio.shield(self._next_reload)

    async def stop(self, grace: float) -> None:
        """End; messages under way have `grace` seconds."""
        self._is_stopping = True
        self._systemd.tell("STOPPING=1")
        if self._switch is not None:
            self._switch.cancel()
            await asyncio.wait((self._switch,))
        await self._pages.close()
        self._sockets.close()
        for task in self._retiring.values():
            task.cancel()
        await asyncio.gather(*(generation.stop(grace) for generation in self._generations()))
        await self._close()

    # -- Generations ------------------------------------------------------------------------------

    def _generations(self) -> list[Generation]:
        return [*([self._generation] if self._generation else []), *self._retiring]

    def _new_generation(self, config: Config, text: str) -> Generation:
        sockets = self._sockets.bind(config.listen)
        recruiting = self._recruiting
        return Generation(
            config.workers or len(os.sched_getaffinity(0)),
            lambda: recruiting.new_worker(text, sockets),
            recruiting.gone,
        )

    async def _reload(self) -> tuple[str, ...]:
        async with self._switching:
            self._next_reload = None  # who asks from now on wants what is written from now on
            self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            complaints = await self._attempt()
            self._systemd.tell("READY=1", self._described())
        for complaint in complaints:
            log.error("%s", complaint)
        if complaints:
            log.error("not reloaded: everything goes on as it was")
        else:
            self._reloads += 1
            log.info("reloaded: new workers have taken over")
        return complaints

    async def _attempt(self) -> tuple[str, ...]:
        """Switch over, or leave everything as it was and say why."""
        if self._is_stopping:
            return (STOPPING,)
        self._switch = asyncio.create_task(self._switch_over())
        await asyncio.wait((self._switch,))
        if self._switch.cancelled():
            return (STOPPING,)
        try:
            self._switch.result()
        except (ConfigError, WorkerFailed) as error:
            return error.complaints
        except CannotListen as error:
            return (f"cannot listen on {error.listen.address}: {error.strerror}",)
        except OSError as error:
            return (str(error),)
        return ()

    async def _switch_over(self) -> None:
        text = config_text(self._path)
        config = parse_config(text, path=self._path, with_plugins=False)
        try:
            await self._put_to_work(config, text)
        finally:
            self._sockets.keep_only(self.config.listen)
        try:
            set_up(config.log, quiet=self._quiet)
        except CannotLog as error:  # though the workers could
            log.error("%s: the supervisor goes on with its former log", error)

    async def _put_to_work(self, config: Config, text: str) -> None:
        """Have workers take clients in; former ones are to go then."""
        new = self._new_generation(config, text)
        async with self._pages.moving(config.metrics.address):
            await new.start()
            self._take_on(config, new)

    def _take_on(self, config: Config, new: Generation) -> None:
        former, old = self.config, self._generation
        self.config, self._generation = config, new
        if old is not None:
            self._retiring[old] = asyncio.create_task(self._retire(old, former))
        for option in ("user", "group", "state"):
            if getattr(config, option) != getattr(former, option):
                log.warning("%r has changed: that takes effect at the next start", option)

    async def _retire(self, old: Generation, config: Config) -> None:
        await old.retire(config.drain, grace=config.grace)
        del self._retiring[old]

    async def _close(self) -> None:
        if self._showing_life is not None:
            self._showing_life.cancel()
        await self._pages.close()
        self._control.close()
        self._sockets.close()
        self._recruiting.close()

    # -- What is told -----------------------------------------------------------------------------

    async def _show_life(self) -> None:
        """Tell systemd that there is still somebody, in time."""
        while True:
            self._systemd.tell("WATCHDOG=1")
            await asyncio.sleep(self._systemd.watchdog / 2)

    def _described(self) -> str:
        return f"STATUS=Listening on {', '.join(map(str, self.addresses))}"

    def _is_ready(self) -> bool:
        """Whether somebody takes clients in."""
        workers = self._generation.workers if self._generation else []
        return any(worker.is_ready for worker in workers)

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
            "workers": [
                {
                    "pid": worker.pid,
                    "started": worker.started,
                    "state": worker.state,
                    "sessions": _sessions(worker),
                    "taken": worker.last_beat.get("taken", 0),
                }
                for worker in self._workers()
            ],
        }

    def _workers(self) -> Iterator[WorkerProcess]:
        for generation in self._generations():
            yield from generation.workers


def _sessions(worker: WorkerProcess) -> int:
    return int(worker.last_beat.get("sessions", 0))
