"""The rival: aiosmtpd on uvloop, taking mail for one domain and throwing it away."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiosmtpd.smtp import SMTP, Envelope, Session


class Discard:
    async def handle_RCPT(  # the name that aiosmtpd looks for
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not address.endswith("@example.org"):
            return "550 5.7.1 We do not relay"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "250 2.0.0 Queued"


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(
        lambda: SMTP(Discard(), hostname="mx.example", enable_SMTPUTF8=True, loop=loop),
        "127.0.0.1",
        port,
        backlog=1024,
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
