"""An example of a plugin: copy it, and make it yours."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost import Deny, Plugin, Recipient, Transaction


@dataclass
class NoSales(Plugin):
    """Refuse mail for a department that we do not have.

    What follows is a dialogue: `pytest --gatepost-docstrings plugins` holds it, and complains
    where the server (S:) does not say to the client (C:) what is written here.

        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        S: 250 ...
        C: RCPT TO:<sales@example.org>
        S: 550 5.7.1 Nobody reads sales here
    """

    department: str = "sales"  #: the part of the address before the @

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Deny | None:
        if recipient.address.local.lower() != self.department:
            return None  # no opinion: the next plugin is asked
        return Deny(f"Nobody reads {self.department} here")
