"""`gatepost stdio`: one conversation on standard input and output."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from gatepost.app import Gate
from gatepost.cli.complaint import startup_complaint
from gatepost.cli.configuration import config_option, listener_named, listener_option
from gatepost.config import Config, ConfigError, load_config
from gatepost.config.log import LogSettings
from gatepost.log.set_up import CannotLog, log_nothing, set_up
from gatepost.reply import Reply
from gatepost.server.stdio import serve_stdio

log = logging.getLogger(__name__)

NOT_READY = Reply(421, "4.3.0", "The server is not ready", final=True)


@click.command("stdio")
@listener_option
@config_option
def command(listener_name: str | None, config_file: Path) -> None:
    """Hold one conversation on standard input and output.

    For inetd, for tcpserver, and for a person at a terminal, whose line ends are made CRLF.  The
    client's address is that of the socket, or TCPREMOTEIP in the environment.
    """
    has_errors = not _is_the_client(2)  # inetd has the client's socket for errors, too
    if not has_errors:
        _send_errors_nowhere()
    _set_up_log(LogSettings(), has_errors=has_errors)
    try:
        config = load_config(config_file)
        listen = listener_named(config, listener_name)
        _set_up_log(config.log, has_errors=has_errors)
    except ConfigError as error:
        _turn_away(*error.complaints)
    except CannotLog as error:
        _turn_away(str(error))
    # Not uvloop, which would make the descriptors non-blocking, also for those who share them.
    asyncio.run(_hold(config, listen.name))


async def _hold(config: Config, name: str) -> None:
    gate = Gate.from_config(config)
    listener = next(one for one in gate.listeners if one.listen.name == name)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, gate.connections.drain)
    try:
        await gate.chain.start(gate.site)
    except Exception as error:  # a plugin's `startup` may raise whatever it likes
        _turn_away(startup_complaint(error))
    try:
        await serve_stdio(listener, os.environ)
    finally:
        await gate.chain.tell("shutdown", gate.site)


def _turn_away(*complaints: str) -> NoReturn:
    """Log what is wrong; the client only hears that it may come again."""
    for complaint in complaints:
        log.error("%s", complaint)
    with suppress(OSError):
        os.write(1, bytes(NOT_READY))
    sys.exit(1)


def _set_up_log(settings: LogSettings, *, has_errors: bool) -> None:
    """Log as the settings say; where there is no standard error, to syslog instead."""
    if settings.target != "stderr" or has_errors:
        set_up(settings, quiet=False)
        return
    try:
        set_up(replace(settings, target="syslog"), quiet=False)
    except CannotLog:
        log_nothing()


def _send_errors_nowhere() -> None:
    """Let nothing that is said on standard error, by whomever, be taken for a reply."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _is_the_client(descriptor: int) -> bool:
    status, client = os.fstat(descriptor), os.fstat(1)
    return stat.S_ISSOCK(status.st_mode) and os.path.samestat(status, client)
