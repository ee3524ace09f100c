"""A plugin with no opinion on any hook: what being asked costs."""

from __future__ import annotations

from gatepost import (
    Address,
    Decision,
    Plugin,
    Recipient,
    Reply,
    Session,
    Site,
    Transaction,
)


class NoOpinion(Plugin):
    """Speaks on every hook, and never decides or changes anything."""

    def connect(self, session: Session) -> None:
        return None

    def helo(self, session: Session, name: str) -> None:
        return None

    def mail(self, transaction: Transaction, sender: Address) -> None:
        return None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> None:
        return None

    def data(self, transaction: Transaction) -> None:
        return None

    def headers(self, transaction: Transaction) -> None:
        return None

    def message(self, transaction: Transaction) -> None:
        return None

    def queue(self, transaction: Transaction) -> None:
        return None

    def rset(self, session: Session, text: str) -> None:
        return None

    def noop(self, session: Session, text: str) -> None:
        return None

    def vrfy(self, session: Session, text: str) -> None:
        return None

    def expn(self, session: Session, text: str) -> None:
        return None

    def help(self, session: Session, text: str) -> None:
        return None

    def quit(self, session: Session, text: str) -> None:
        return None

    def unrecognized(self, session: Session, verb: str, text: str) -> None:
        return None

    def startup(self, site: Site) -> None:
        return None

    def shutdown(self, site: Site) -> None:
        return None

    def decided(self, session: Session, decision: Decision) -> None:
        return None

    def queued(self, transaction: Transaction, reply: Reply) -> None:
        return None

    def reset(self, transaction: Transaction) -> None:
        return None

    def disconnect(self, session: Session) -> None:
        return None

    def greeting(self, session: Session, text: str) -> str:
        return text

    def capabilities(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return offered

    def argument(self, session: Session, verb: str, text: str) -> str:
        return text

    def received(self, transaction: Transaction, field: str) -> str:
        return field

    def route(self, transaction: Transaction, recipient: Recipient) -> tuple[Recipient, ...]:
        return (recipient,)

    def setting(self, name: str, value: int, address: Address | None) -> int:
        return value
