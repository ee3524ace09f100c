"""Levels of single plugins: one says more than the server around it, or less."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from gatepost.app import Gate
from gatepost.config import parse_config
from gatepost.log.set_up import log_nothing, set_up

CONFIGURATION = """
hostname = "mx.example"
plugin_directories = ["."]
[[listen]]
name = "mx"
address = "127.0.0.1:0"
[log]
target = "./log"
{log}
[[plugin]]
use = "domains"
domains = ["example.org"]
[[plugin]]
use = "box"
"""
#: A plugin that says something itself, too, and fails on VRFY.
BOX = """
import logging
from gatepost import Accept, Plugin, Session, Transaction

log = logging.getLogger(__name__)

class Box(Plugin):
    def vrfy(self, session: Session, text: str) -> None:
        raise RuntimeError("no book")

    def queue(self, transaction: Transaction) -> Accept:
        log.debug("%s: %d octets", transaction.id, transaction.message.size)
        log.info("%s: kept", transaction.id)
        return Accept()
"""
SESSION = (
    b"EHLO client.example\r\nVRFY bob\r\nMAIL FROM:<anne@client.example>\r\n"
    b"RCPT TO:<bob@example.org>\r\nRCPT TO:<eve@elsewhere.example>\r\nDATA\r\n.\r\nQUIT\r\n"
)

CONNECTED = "ID connected from CLIENT to mx"
FAILED = "error: ID box failed on vrfy: RuntimeError: no book"
VRFY = "ID vrfy: box defers: Internal error"
DOMAINS = "ID.1 rcpt: domains accepts (<bob@example.org>)"
NOBODY = "ID.1 rcpt: nobody denies: We do not relay (<eve@elsewhere.example>)"
OCTETS, KEPT = "ID.1: N octets", "ID.1: kept"
BOX_ACCEPTS = "ID.1 queue: box accepts"
MESSAGE = (
    "ID.1 <anne@client.example> -> <bob@example.org>, N octets from CLIENT (client.example) in T: "
    "250 2.0.0 Queued as ID.1 (box on queue)"
)
GONE = "ID CLIENT (client.example) gone after T and 1 message, 1 taken, N octets"


def logged(directory: Path, log: str) -> list[str]:
    """What a session leaves in the log that is so configured."""
    (directory / "box.py").write_text(BOX)
    path = directory / "gatepost.toml"
    config = parse_config(CONFIGURATION.format(log=log), path=path)
    set_up(config.log, quiet=False)

    async def converse() -> None:
        async with Gate.from_config(config) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(SESSION)
            await reader.read()
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(converse(), 10))
    log_nothing()
    text = (directory / "log").read_text()
    for pattern, word in (
        (r"(?m)^\S+ ", ""),
        (r"\b[0-9a-z]{12}\b", "ID"),
        (r"127\.0\.0\.1:\d+", "CLIENT"),
        (r"\d+ octets", "N octets"),
        (r"\d+\.\d\d s", "T"),
        (r"(?m) \(/.*\)$", ""),
    ):
        text = re.sub(pattern, word, text)
    return text.splitlines()


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        ("", [CONNECTED, FAILED, VRFY, DOMAINS, NOBODY, KEPT, BOX_ACCEPTS, MESSAGE, GONE]),
        ('level = "error"', [FAILED]),
        ('level = "warning"\nlevels = { domains = "info" }', [FAILED, DOMAINS]),
        ('level = "warning"\nlevels = { box = "info" }', [FAILED, VRFY, KEPT, BOX_ACCEPTS]),
        (
            'level = "warning"\nlevels = { box = "debug" }',
            [FAILED, VRFY, OCTETS, KEPT, BOX_ACCEPTS],
        ),
        (
            'levels = { domains = "warning" }',
            [CONNECTED, FAILED, VRFY, NOBODY, KEPT, BOX_ACCEPTS, MESSAGE, GONE],
        ),
        (
            'levels = { box = "error", domains = "warning", "gatepost.connection" = "warning" }',
            [FAILED, NOBODY, MESSAGE, GONE],
        ),
        ('level = "warning"\nlevels = { "gatepost.message" = "info" }', [FAILED, MESSAGE]),
        ('level = "warning"\nlevels = { "gatepost.session" = "info" }', [FAILED, GONE]),
        (
            'level = "warning"\nlevels = { "gatepost.plugin" = "info", domains = "error" }',
            [FAILED, VRFY, NOBODY, BOX_ACCEPTS],
        ),
        ('levels = { "gatepost.hooks.failures" = "error", gatepost = "error" }', [FAILED]),
    ],
)
def test_each_plugin_says_as_much_as_it_is_asked_for(
    log: str, lines: list[str], tmp_path: Path
) -> None:
    assert logged(tmp_path, log) == lines
