"""`gatepost serve`: take mail until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
from pathlib import Path

import click

from gatepost.cli.complaint import complain
from gatepost.cli.configuration import config_option
from gatepost.cli.open_files import allow_connections
from gatepost.cli.signals import Ending, unless
from gatepost.cli.welcome import welcome
from gatepost.config import Config, ConfigError, config_text, parse_config
from gatepost.log.set_up import CannotLog, log_to
from gatepost.processes.privileges import NoSuchAccount
from gatepost.processes.supervisor import Supervisor
from gatepost.processes.worker_process import WorkerFailed
from gatepost.server.listener import CannotListen

log = logging.getLogger(__name__)

_REMEDIES = {
    errno.EADDRINUSE: "another program listens there; stop it, or write another address",
    errno.EACCES: "permission denied; ports below 1024 and directories of others are for root, "
    "or for a program that has CAP_NET_BIND_SERVICE: give it that, or write another address",
    errno.EADDRNOTAVAIL: "this machine has no such address; `ip address` lists those that it has",
    errno.EAFNOSUPPORT: "this machine does not speak that version of IP; write another address",
    errno.EEXIST: "a file of that name is there, which is no socket; write another path",
    errno.ENOENT: "there is no such directory; make it, or write another path",
    errno.ENOTDIR: "what leads there is no directory; write another path",
}


@click.command("serve")
@config_option
@click.option("-q", "--quiet", is_flag=True, help="Log warnings and errors only.")
def command(config_file: Path, quiet: bool) -> None:
    """Take mail until a signal ends it.

    SIGINT (Ctrl-C) and SIGTERM let messages under way be finished; a second one does not.  SIGHUP
    is `gatepost reload`.
    """
    log_to(sys.stderr, logging.WARNING if quiet else logging.INFO)
    try:
        text = config_text(config_file)
        config = parse_config(text, path=config_file)
    except ConfigError as error:
        complain(*error.complaints)
    allow_connections(config.limits.connections)
    asyncio.run(_serve(config_file, text, config, quiet=quiet))


async def _serve(path: Path, text: str, config: Config, *, quiet: bool) -> None:
    ending = Ending()
    try:
        supervisor = Supervisor(path, text, config, quiet=quiet)
        _reload_on_hangup(supervisor)
        started = await unless(ending.asked, supervisor.start())
    except CannotListen as error:
        complain(_cannot_listen(error))
    except WorkerFailed as error:
        complain(*error.complaints)
    except CannotLog as error:
        complain(str(error))
    except (NoSuchAccount, OSError) as error:
        complain(f"the server cannot start: {error}")
    if not started:
        return
    if os.getuid() == 0:
        log.warning("it runs as root: name somebody else as `user`")
    welcome(config, supervisor.addresses)
    await _first(ending.asked, supervisor.asked_to_end)
    grace = supervisor.config.grace
    if supervisor.sessions:
        click.echo(f"Messages under way have {grace:g} seconds; a second signal ends them at once")
    if not await unless(ending.insisted, supervisor.stop(grace)):
        await supervisor.stop(grace=0)
    click.echo("Stopped")


def _reload_on_hangup(supervisor: Supervisor) -> None:
    tasks: set[asyncio.Task[object]] = set()

    def reload() -> None:
        task: asyncio.Task[object] = asyncio.create_task(supervisor.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


async def _first(*events: asyncio.Event) -> None:
    """Wait for the first of several events."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _cannot_listen(error: CannotListen) -> str:
    listen = error.listen
    remedy = _REMEDIES.get(error.errno or 0, error.strerror)
    return f"cannot listen on {listen.address} (listener {listen.name!r}): {remedy}"
