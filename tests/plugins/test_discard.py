"""The plugin discard: mail that is accepted and forgotten."""

from __future__ import annotations

from pathlib import Path

from gatepost import Accept, Entries
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.queue.discard import Discard
from gatepost.plugins.rcpt.domains import Domains
from gatepost.testing import LETTER, LMTP, a_transaction, converse, run


def test_every_message_is_accepted() -> None:
    transaction = a_transaction(recipients=("bob@example.org",), message=LETTER)
    assert Discard().queue(transaction) == Accept()


def test_it_is_loaded_by_its_name(tmp_path: Path) -> None:
    loaded = load({"use": "discard"}, directory=tmp_path, directories=[])
    assert isinstance(loaded, Loaded)
    assert loaded.plugin == Discard()


def test_every_recipient_of_lmtp_hears_of_it() -> None:
    script = """
        S: 220 ...
        C: LHLO client.example
        S: 250 ...
        C: MAIL FROM:<anne@client.example>
        C: RCPT TO:<bob@example.org>
        C: RCPT TO:<carol@example.org>
        C: DATA
        S: 250 2.1.0 ...
        S: 250 2.1.5 ...
        S: 250 2.1.5 ...
        S: 354 ...
        C: Subject: Hello
        C: .
        S: 250 2.0.0 Queued as ...
        S: 250 2.0.0 Queued as ...
    """
    run(converse([Domains(Entries(["example.org"])), Discard()], script, listen=LMTP))
