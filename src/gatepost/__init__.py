"""All that a plugin imports."""

from gatepost.address import Address
from gatepost.client import (
    Client,
    Destination,
    NextHop,
    NextHops,
    Outcome,
    Program,
    Timeouts,
    TlsPolicy,
    passed_back,
)
from gatepost.derived import Derived
from gatepost.domain_list import DomainList
from gatepost.each import AnswerForEach, Each
from gatepost.entries import Entries
from gatepost.line_ends import with_lf
from gatepost.message import Headers, Message
from gatepost.notes import Note
from gatepost.plugin import Plugin, blocking
from gatepost.program import Ended, run_program
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.reply import Reply
from gatepost.rules import Rule, Rules
from gatepost.session import Endpoint, Recipient, Session, Transaction
from gatepost.site import Site
from gatepost.trail import Decision, Result
from gatepost.verdict import Accept, Answer, Defer, Deny, Heard, Verdict

__all__ = [
    "Accept",
    "Address",
    "Answer",
    "AnswerForEach",
    "Client",
    "Decision",
    "Defer",
    "Deny",
    "Derived",
    "Destination",
    "DomainList",
    "Each",
    "Ended",
    "Endpoint",
    "Entries",
    "Headers",
    "Heard",
    "MailParameters",
    "Message",
    "NextHop",
    "NextHops",
    "Note",
    "Outcome",
    "Plugin",
    "Program",
    "RcptParameters",
    "Recipient",
    "Reply",
    "Result",
    "Rule",
    "Rules",
    "Session",
    "Site",
    "Timeouts",
    "TlsPolicy",
    "Transaction",
    "Verdict",
    "blocking",
    "passed_back",
    "run_program",
    "with_lf",
]
