"""Worker: a process that takes clients in, and does what its supervisor tells it."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import socket
import sys
from pathlib import Path

from gatepost.app import Gate
from gatepost.config import Config, ConfigError, parse_config
from gatepost.event_loop import event_loop
from gatepost.log.set_up import set_up
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import OPEN_CONNECTIONS
from gatepost.processes.channel import Channel
from gatepost.processes.observation import observation
from gatepost.processes.observers import observers
from gatepost.processes.orders import Orders
from gatepost.processes.service import Service
from gatepost.server.tally import Tally

#: Seconds between two signs of life.
BEAT = 1.0


def main() -> None:
    """Run the worker whose orders stand in the environment."""
    orders = Orders.from_environment(os.environ)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor hears it, and tells us
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    text, path = orders.configuration()
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        sys.exit(runner.run(_work(orders, text, path)))


async def _work(orders: Orders, text: str, path: Path) -> int:
    channel = await Channel.over(socket.socket(fileno=orders.channel))
    try:
        config = parse_config(text, path=path)
        set_up(config.log, quiet=orders.quiet)
        figures = Figures()
        gate = _gate(config, orders, figures)
        sockets = [socket.socket(fileno=descriptor) for descriptor in orders.sockets]
        await gate.start(sockets)
    except ConfigError as error:
        return await _fail(channel, *error.complaints)
    except Exception as error:  # a plugin's `startup` may raise whatever it likes
        who = ", ".join(getattr(error, "__notes__", ())) or "a worker cannot start"
        return await _fail(channel, f"{who}: {type(error).__name__}: {error}")
    service = Service(gate)
    # Who ends all processes of a service at once, or this one alone, is not to cut anybody off.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.stop, config.grace)
    channel.tell("ready")
    tasks = (
        asyncio.create_task(_beat(channel, gate, figures)),
        asyncio.create_task(_obey(channel, service, config.grace)),
    )
    await service.over.wait()
    for task in tasks:
        task.cancel()
    _tell_how_it_is(channel, gate, figures)  # what has been counted since the last beat
    await channel.close()
    return 0


def _gate(config: Config, orders: Orders, figures: Figures) -> Gate:
    memory = mmap.mmap(orders.tally, 0)
    os.close(orders.tally)  # the memory has a copy of its own
    plugins = observers(config, figures)
    gate = Gate.from_config(
        config,
        observers=plugins,
        tally=Tally(memory, orders.region),
        seed=bytes.fromhex(orders.seed),
        observe=observation(plugins, figures),
    )
    figures.watch(OPEN_CONNECTIONS, lambda: len(gate.connections))
    return gate


async def _fail(channel: Channel, *complaints: str) -> int:
    channel.tell("failed", complaints=complaints)
    await channel.close()
    return 1


async def _beat(channel: Channel, gate: Gate, figures: Figures) -> None:
    """Give signs of life; while the supervisor takes none, there are no more of them."""
    while True:
        _tell_how_it_is(channel, gate, figures)
        await channel.flush()
        await asyncio.sleep(BEAT)


def _tell_how_it_is(channel: Channel, gate: Gate, figures: Figures) -> None:
    connections = gate.connections
    channel.tell(
        "beat",
        sessions=len(connections),
        taken=connections.taken,
        figures=figures.snapshot(),
    )


async def _obey(channel: Channel, service: Service, grace: float) -> None:
    """Do what the supervisor says; where it is gone, nobody else is left to say stop."""
    while (told := await channel.hear()) is not None:
        match told:
            case {"say": "retire", "seconds": seconds, "grace": its_grace}:
                service.retire(seconds, grace=its_grace)
            case {"say": "stop", "grace": its_grace}:
                service.stop(its_grace)
    service.stop(grace)


if __name__ == "__main__":
    main()
