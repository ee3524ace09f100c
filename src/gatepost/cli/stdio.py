"""`gatepost stdio`: one conversation on standard input and output."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import sys
from contextlib import suppress
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import NoReturn

import click

from gatepost.app import Gate
from gatepost.cli.complaint import startup_complaint
from gatepost.cli.configuration import config_option, listener_named, listener_option
from gatepost.cli.log_lines import log_through, log_to
from gatepost.config import Config, ConfigError, load_config
from gatepost.reply import Reply
from gatepost.server.stdio import serve_stdio

log = logging.getLogger(__name__)

NOT_READY = Reply(421, "4.3.0", "The server is not ready", final=True)
SYSLOG = "/dev/log"


@click.command("stdio")
@listener_option
@config_option
def command(listener_name: str | None, config_file: Path) -> None:
    """Hold one conversation on standard input and output.

    For inetd, for tcpserver, and for a person at a terminal, whose line ends are made CRLF.  The
    client's address is that of the socket, or TCPREMOTEIP in the environment.
    """
    _log_beside_the_client()
    try:
        config = load_config(config_file)
        listen = listener_named(config, listener_name)
    except ConfigError as error:
        _turn_away(*error.complaints)
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


def _log_beside_the_client() -> None:
    """Log to standard error; where that is the client's socket too, as inetd has it, to syslog."""
    if not _is_the_client(2):
        log_to(sys.stderr, logging.INFO)
    elif os.path.exists(SYSLOG):
        log_through(SysLogHandler(SYSLOG, SysLogHandler.LOG_MAIL), logging.INFO)
    else:
        log_through(logging.NullHandler(), logging.CRITICAL)


def _is_the_client(descriptor: int) -> bool:
    status, client = os.fstat(descriptor), os.fstat(1)
    return stat.S_ISSOCK(status.st_mode) and os.path.samestat(status, client)
