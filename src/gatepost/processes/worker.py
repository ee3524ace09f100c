"""Worker: a process that takes clients in, and does what its supervisor tells it."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import socket
import sys
from pathlib import Path

from gatepost.app import GRACE, Gate
from gatepost.config import Config, ConfigError, parse_config
from gatepost.event_loop import event_loop
from gatepost.log.set_up import set_up
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import OPEN_CONNECTIONS
from gatepost.processes.channel import Channel
from gatepost.processes.observers import observers
from gatepost.processes.orders import Orders
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
    channel.tell("ready")
    beating = asyncio.create_task(_beat(channel, gate, figures))
    try:
        await _obey(channel, gate)
    finally:
        beating.cancel()
        await channel.close()
    return 0


def _gate(config: Config, orders: Orders, figures: Figures) -> Gate:
    gate = Gate.from_config(
        config,
        observers=observers(config, figures),
        tally=Tally(mmap.mmap(orders.tally, 0), orders.region),
        seed=bytes.fromhex(orders.seed),
    )
    figures.watch(OPEN_CONNECTIONS, lambda: len(gate.connections))
    return gate


async def _fail(channel: Channel, *complaints: str) -> int:
    channel.tell("failed", complaints=complaints)
    await channel.close()
    return 1


async def _beat(channel: Channel, gate: Gate, figures: Figures) -> None:
    while True:
        channel.tell(
            "beat",
            sessions=len(gate.connections),
            taken=gate.connections.taken,
            figures=figures.snapshot(),
        )
        await asyncio.sleep(BEAT)


async def _obey(channel: Channel, gate: Gate) -> None:
    """Do what the supervisor says, until it says stop, or is gone."""
    retiring: asyncio.Task[None] | None = None
    while True:
        hearing = asyncio.create_task(channel.hear())
        await asyncio.wait(
            {hearing} | ({retiring} if retiring else set()), return_when=asyncio.FIRST_COMPLETED
        )
        if not hearing.done():  # all clients have gone by themselves, or their time is over
            hearing.cancel()
            await gate.stop()
            return
        told = hearing.result()
        if told is not None and told["say"] == "retire":
            retiring = retiring or asyncio.create_task(gate.retire(told["seconds"]))
            continue
        if retiring is not None:
            retiring.cancel()
        await gate.stop(GRACE if told is None else told["grace"])
        return


if __name__ == "__main__":
    main()
