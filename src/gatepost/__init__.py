"""All that a plugin imports."""

from gatepost.address import Address
from gatepost.address_patterns import AddressPatterns
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
from gatepost.credentials import (
    Credentials,
    External,
    Password,
    PlainSecret,
    Proven,
    ScramKeys,
    Secret,
    Token,
)
from gatepost.derived import Derived
from gatepost.domain_list import DomainList
from gatepost.each import AnswerForEach, Each
from gatepost.entries import Entries
from gatepost.fetched import Fetched
from gatepost.hashed_password import HashedPassword
from gatepost.line_ends import with_lf
from gatepost.mailboxes import mailbox_list
from gatepost.message import Headers, Message
from gatepost.notes import Note
from gatepost.peer import Peer, Wire
from gatepost.plugin import Plugin, blocking
from gatepost.pool import Pool, PoolBusy
from gatepost.program import Ended, run_program
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.remembered import Remembered
from gatepost.reply import Reply
from gatepost.rules import Rule, Rules
from gatepost.saslprep import saslprep
from gatepost.session import Endpoint, Recipient, Session, Transaction
from gatepost.site import Site
from gatepost.sql_query import QueryFailed, SqlQuery
from gatepost.tls import Certificate, Tls
from gatepost.tls_client import client_context
from gatepost.token_rules import BadToken, TokenRules
from gatepost.trail import Decision, Result
from gatepost.verdict import Accept, Answer, Defer, Deny, Heard, Verdict
from gatepost.web_address import web_host

__all__ = [
    "Accept",
    "Address",
    "AddressPatterns",
    "Answer",
    "AnswerForEach",
    "BadToken",
    "Certificate",
    "Client",
    "Credentials",
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
    "External",
    "Fetched",
    "HashedPassword",
    "Headers",
    "Heard",
    "MailParameters",
    "Message",
    "NextHop",
    "NextHops",
    "Note",
    "Outcome",
    "Password",
    "Peer",
    "PlainSecret",
    "Plugin",
    "Pool",
    "PoolBusy",
    "Program",
    "Proven",
    "QueryFailed",
    "RcptParameters",
    "Recipient",
    "Remembered",
    "Reply",
    "Result",
    "Rule",
    "Rules",
    "ScramKeys",
    "Secret",
    "Session",
    "Site",
    "SqlQuery",
    "Timeouts",
    "Tls",
    "TlsPolicy",
    "Token",
    "TokenRules",
    "Transaction",
    "Verdict",
    "Wire",
    "blocking",
    "client_context",
    "mailbox_list",
    "passed_back",
    "run_program",
    "saslprep",
    "web_host",
    "with_lf",
]
