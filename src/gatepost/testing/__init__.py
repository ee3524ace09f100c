"""For authors of plugins: dialogues to hold, and sessions and messages to hold them over.

pytest runs `*.smtp` files by itself, and dialogues in docstrings when it is told to; see
`gatepost.testing.pytest_plugin`.
"""

from gatepost.testing.clock import run
from gatepost.testing.dialogue import DialogueFailure, converse
from gatepost.testing.docstrings import dialogues
from gatepost.testing.samples import (
    A_TLS,
    LETTER,
    LMTP,
    MX,
    a_recipient,
    a_session,
    a_transaction,
)

__all__ = [
    "A_TLS",
    "LETTER",
    "LMTP",
    "MX",
    "DialogueFailure",
    "a_recipient",
    "a_session",
    "a_transaction",
    "converse",
    "dialogues",
    "run",
]
