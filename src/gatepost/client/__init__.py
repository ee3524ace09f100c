"""Sending mail: a client for SMTP and LMTP over asyncio."""

from gatepost.client.destination import Destination, NextHop, Program
from gatepost.client.next_hops import NextHops
from gatepost.client.passing_back import passed_back
from gatepost.client.sending import Client
from gatepost.client.timeouts import Timeouts
from gatepost.protocol.opening import TlsPolicy
from gatepost.protocol.stages import Stage
from gatepost.protocol.transfer import Outcome

__all__ = [
    "Client",
    "Destination",
    "NextHop",
    "NextHops",
    "Outcome",
    "Program",
    "Stage",
    "Timeouts",
    "TlsPolicy",
    "passed_back",
]
