"""A plugin that is in the mood that the sender names, for a server that is started by a test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gatepost import Accept, Plugin, Recipient, Session, Transaction


async def hangs() -> None:
    await asyncio.sleep(3600)


async def goes_on() -> None:
    for _ in range(2):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


async def cancels() -> None:
    raise asyncio.CancelledError


def raises() -> None:
    raise ConnectionError("the database is gone")


def exits() -> None:
    sys.exit("the database is gone")


def recurses() -> Any:
    return recurses()


def talks() -> str:
    return "250 Ok"


MOODS: dict[str, Callable[[], Any]] = {
    mood.__name__: mood for mood in (hangs, goes_on, cancels, raises, exits, recurses, talks)
}


class Moods(Plugin):
    """Answer as the mood is, and be talkative when asked for help."""

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Any:
        mood = MOODS.get(transaction.sender.local)
        return mood() if mood else None

    def help(self, session: Session, text: str) -> Accept:
        return Accept((70 * "words " + "\n") * 40)
