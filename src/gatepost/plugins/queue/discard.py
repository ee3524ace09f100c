"""Mail that nobody wants to keep."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost import Accept, Plugin, Transaction


@dataclass
class Discard(Plugin):
    """Accept every message and forget it: for tests, measurements and addresses that only sink.

    The client is told that the message was taken, and then it is gone: put `listeners` in its
    table, or stand it behind a plugin that keeps what matters, lest real mail comes here.

        [[plugin]]
        use = "domains"
        domains = ["example.org"]
        [[plugin]]
        use = "discard"

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 2.1.0 ...
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.5 ...
        C: DATA
        S: 354 ...
        C: Subject: Hello
        C:
        C: Nobody will read this.
        C: .
        S: 250 2.0.0 Queued as ...
    """

    def queue(self, transaction: Transaction) -> Accept:
        return Accept()
