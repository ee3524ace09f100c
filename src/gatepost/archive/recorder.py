"""Recorder: a plugin that listens, and hands what it has heard to a writer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gatepost.address import Address
from gatepost.archive.configurations import configuration_of
from gatepost.archive.drafts import EndedMessage, EndedSession, Facts, MessageUnderWay
from gatepost.archive.ring import Ring
from gatepost.archive.writer import Writer
from gatepost.hooks.placement import Placement
from gatepost.notes import Note
from gatepost.plugin import Plugin
from gatepost.reply import Reply
from gatepost.session import Recipient, Session, Transaction
from gatepost.site import Site


@dataclass(slots=True, eq=False)
class _Tale:
    """What is to be known of a session beside what it says itself."""

    name: str = ""  #: what the client called itself last, though it may have been refused
    messages: int = 0  #: that are over
    message: MessageUnderWay | None = None


_TALE: Note[_Tale | None] = Note(None)


class Recorder(Plugin):
    """Keep what was decided about each message and each session; it stands before all others.

    `path` is the file, `plugins` are those of the configuration.  What is older than `keep`
    seconds is let go, and the oldest when the file would have more than `size` octets.  In the
    event loop it is only noted what there was; a thread makes records of that, and writes them.
    """

    def __init__(
        self,
        path: Path,
        plugins: Iterable[tuple[Plugin, Placement]] = (),
        *,
        keep: float,
        size: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        ring = Ring(path, configuration_of(plugins), keep=keep, size=size, clock=clock)
        self._writer = Writer(ring)
        self._clock = clock

    @property
    def dropped(self) -> int:
        """How many records were lost so far."""
        return self._writer.dropped

    def startup(self, site: Site) -> None:
        self._writer.start()

    async def shutdown(self, site: Site) -> None:
        await asyncio.to_thread(self._writer.stop)

    def helo(self, session: Session, name: str) -> None:
        _tale(session).name = name

    def mail(self, transaction: Transaction, sender: Address) -> None:
        session = transaction.session
        _tale(session).message = MessageUnderWay(self._clock(), session.trail.dropped)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        session = transaction.session
        if (message := _tale(session).message) is not None:
            trail = session.trail
            message.recipients.append((recipient.address, len(trail) + trail.dropped))

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        if (message := _tale(transaction.session).message) is not None:
            message.size, message.reply = transaction.message.size, reply

    def reset(self, transaction: Transaction) -> None:
        session = transaction.session
        tale = _tale(session)
        heard, tale.message = tale.message, None
        if heard is None:
            return
        tale.messages += 1
        facts = Facts.of(session, tale.name)
        number, sender, dropped = transaction.number, transaction.sender, session.trail.dropped
        self._writer.put(EndedMessage(facts, number, sender, heard, self._clock(), dropped))

    def disconnect(self, session: Session) -> None:
        tale = _tale(session)
        facts = Facts.of(session, tale.name)
        self._writer.put(EndedSession(facts, session.started, self._clock(), tale.messages))


def _tale(session: Session) -> _Tale:
    tale = session.notes[_TALE]
    if tale is None:
        tale = session.notes[_TALE] = _Tale()
    return tale
