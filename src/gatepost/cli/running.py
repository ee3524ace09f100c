"""The server that runs with a configuration: how a command asks it something."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatepost.cli.complaint import complain
from gatepost.config.reader import state_directory
from gatepost.processes.control import NobodyThere, ask


def ask_running(config_file: Path, say: str) -> dict[str, Any]:
    """What the server answers; where there is no answer, the command ends with a complaint.

    The configuration need not be sound, or nobody could be asked to go on with a better one.
    """
    try:
        answer = asyncio.run(ask(state_directory(config_file), say))
    except NobodyThere as error:
        complain(str(error), *_doubts(config_file))
    if answer["say"] == "unknown":
        complain(f"the server that runs is of another version, and knows no {say!r}")
    return answer


def _doubts(config_file: Path) -> Iterator[str]:
    """Why the server may be somewhere else: the configuration cannot tell where it is."""
    try:
        tomllib.loads(config_file.read_text("utf-8-sig"))
    except OSError as error:
        yield f"{config_file}: cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        yield f"{config_file}: {error}"
