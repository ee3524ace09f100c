"""`gatepost serve`: take mail until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from pathlib import Path

import click

from gatepost.app import GRACE, Gate
from gatepost.cli.complaint import complain, startup_complaint
from gatepost.cli.configuration import config_option, load_or_complain
from gatepost.cli.event_loop import event_loop
from gatepost.cli.log_lines import log_to
from gatepost.cli.open_files import allow_connections
from gatepost.cli.signals import Ending, unless
from gatepost.cli.welcome import welcome
from gatepost.config import Config
from gatepost.server.listener import CannotListen

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

    SIGINT (Ctrl-C) and SIGTERM let messages under way be finished; a second one does not.
    """
    # Before the server is made: where nobody reads of connections, it need not tell of them.
    log_to(sys.stderr, logging.WARNING if quiet else logging.INFO)
    config = load_or_complain(config_file)
    allow_connections(config.limits.connections)
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        runner.run(_serve(config))


async def _serve(config: Config) -> None:
    gate = Gate.from_config(config)
    ending = Ending()
    try:
        started = await unless(ending.asked, gate.start())
    except CannotListen as error:
        complain(_cannot_listen(error))
    except Exception as error:  # a plugin's `startup` may raise whatever it likes
        complain(startup_complaint(error))
    if not started:
        return
    welcome(config, gate.addresses)
    await ending.asked.wait()
    if len(gate.connections):
        click.echo(
            f"Messages under way have {GRACE:.0f} seconds; a second signal ends them at once"
        )
    if not await unless(ending.insisted, gate.stop()):
        await gate.stop(grace=0)
    click.echo("Stopped")


def _cannot_listen(error: CannotListen) -> str:
    listen = error.listen
    remedy = _REMEDIES.get(error.errno or 0, error.strerror)
    return f"cannot listen on {listen.address} (listener {listen.name!r}): {remedy}"
