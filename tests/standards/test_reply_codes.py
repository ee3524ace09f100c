"""Reply codes by moment and situation, against RFC 5321, 4.3.2 and its extensions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from gatepost import (
    Accept,
    Address,
    Answer,
    AnswerForEach,
    Defer,
    Deny,
    Plugin,
    Recipient,
    Session,
    Transaction,
)
from gatepost.hooks.chain import Chain
from gatepost.hooks.placement import Placement
from gatepost.limits import Limits
from gatepost.server.conversation import Conversation
from gatepost.site import Site
from gatepost.testing import a_session

LIMITS = Limits(message_size=1000, messages=3, recipients=100, errors=5, received=2)


@dataclass
class Says(Plugin):
    """Gives one verdict on one hook, and takes everything else."""

    hook: str = ""
    verdict: Any = None

    def connect(self, session: Session) -> Answer:
        return self._answer("connect", None)

    def helo(self, session: Session, name: str) -> Answer:
        return self._answer("helo", None)

    def mail(self, transaction: Transaction, sender: Address) -> Answer:
        return self._answer("mail", None)

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return self._answer("rcpt", Accept())

    def data(self, transaction: Transaction) -> Answer:
        return self._answer("data", None)

    def message(self, transaction: Transaction) -> AnswerForEach:
        return self._answer("message", None)

    def queue(self, transaction: Transaction) -> AnswerForEach:
        return self._answer("queue", Accept())

    def _answer(self, hook: str, usual: Accept | None) -> Answer:
        if isinstance(self.verdict, BaseException) and hook == self.hook:
            raise self.verdict
        return self.verdict if hook == self.hook else usual


def replies(octets: bytes, hook: str = "", verdict: Any = None) -> tuple[list[str], bool]:
    """All replies to a client that sends this, and whether it is sent away."""

    async def talk() -> tuple[bytes, bool]:
        chain = Chain([(Says(hook, verdict), Placement("says"))])
        conversation = Conversation(a_session(), chain, Site("mx.example", limits=LIMITS))
        said = await conversation.respond()
        for line in octets.splitlines(keepends=True):
            conversation.receive_data(line)
            while conversation.more:
                said += await conversation.respond()
        return said, conversation.over

    said, over = asyncio.run(talk())
    return [line for line in said.decode().splitlines() if line[3] == " "], over


HELLO = b"EHLO client.example\r\n"
MAIL = HELLO + b"MAIL FROM:<anne@client.example>\r\n"
RCPT = MAIL + b"RCPT TO:<bob@example.org>\r\n"
DATA = RCPT + b"DATA\r\n"
DOT = DATA + b".\r\n"
LOOP = DATA + b"Received: x\r\n" * 2 + b"\r\n.\r\n"

# fmt: off
#: moment: what the client sends, on which hook a plugin says what; the last reply
ROWS: list[tuple[bytes, str, Any, str]] = [
    # connect
    (b"",                       "", None,                             "220 mx.example ESMTP"),
    (b"",                       "connect", Deny("No"),                "554 5.7.1 No"),
    (b"NOOP\r\n",               "connect", Deny("No"),                "503 5.5.1"),
    (b"QUIT\r\n",               "connect", Deny("No"),                "221 2.0.0"),
    (b"",                       "connect", Deny(code=521, disconnect=True), "521 5.7.1"),
    (b"",                       "connect", Defer(),                   "421 4.7.0"),
    (b"",                       "connect", Defer(status="4.3.2"),     "421 4.3.2"),
    (b"",                       "connect", KeyError(),                "421 4.3.0"),
    # helo
    (b"HELO client.example\r\n", "", None,                            "250 mx.example"),
    (HELLO,                     "", None,                             "250 HELP"),
    (b"EHLO\r\n",               "", None,                             "501 5.5.4"),
    (b"EHLO a b\r\n",           "", None,                             "501 5.5.4"),
    (b"EHLO [192.0.2.99]\r\n",  "", None,                             "250 HELP"),
    (HELLO,                     "helo", Deny("No"),                   "550 5.7.1 No"),
    # any
    (b"FROB\r\n",               "", None,                             "500 5.5.2"),
    (b"ETRN x\r\n",             "", None,                             "502 5.5.1"),
    (b"STARTTLS\r\n",           "", None,                             "503 5.5.1"),
    (b"AUTH PLAIN\r\n",         "", None,                             "503 5.5.1"),
    (HELLO + b"STARTTLS\r\n",   "", None,                             "502 5.5.1"),
    (HELLO + b"AUTH PLAIN\r\n", "", None,                             "502 5.5.1"),
    (HELLO + b"DATA\r\n",       "", None,                             "503 5.5.1"),
    (RCPT + b"DATA x\r\n",      "", None,                             "501 5.5.4"),
    (b"RSET x\r\n",             "", None,                             "501 5.5.4"),
    (b"QUIT x\r\n",             "", None,                             "501 5.5.4"),
    (b"NOOP " + b"x" * 3000 + b"\r\n", "", None,                      "500 5.5.2"),
    (b"NOOP " + b"x" * 3000 + b"\r\nNOOP\r\n", "", None,              "250 2.0.0"),
    (b"NOOP \xff\r\n",          "", None,                             "500 5.5.2"),
    (b"GET / HTTP/1.1\r\n",     "", None,                             "521 5.7.0"),
    (b"FROB\r\n" * 6,           "", None,                             "421 4.7.0"),
    (b"NOOP\r\n" * 101,         "", None,                             "421 4.7.0"),
    # mail
    (MAIL,                      "", None,                             "250 2.1.0"),
    (HELLO + b"MAIL FROM:anne\r\n", "", None,                         "501 5.1.7"),
    (HELLO + b"MAIL FROM:<a@x> SIZE=x\r\n", "", None,                 "501 5.5.4"),
    (HELLO + b"MAIL FROM:<a@x> BODY=9\r\n", "", None,                 "501 5.5.4"),
    (HELLO + b"MAIL FROM:<a@x> FROB\r\n", "", None,                   "555 5.5.4"),
    (HELLO + b"MAIL FROM:<a@x> SIZE=1001\r\n", "", None,              "552 5.3.4"),
    (HELLO + "MAIL FROM:<ü@x>\r\n".encode(), "", None,                "553 5.6.7"),
    (MAIL + b"MAIL FROM:<a@x>\r\n", "", None,                         "503 5.5.1"),
    (b"MAIL FROM:<a@x>\r\n",    "", None,                             "503 5.5.1"),
    (MAIL,                      "mail", Deny(),                       "550 5.7.1"),
    (MAIL,                      "mail", Deny(status="5.1.8"),         "550 5.1.8"),
    (MAIL,                      "mail", Deny(status="5.7.27"),        "550 5.7.27"),
    (MAIL,                      "mail", Deny(code=553),               "553 5.7.1"),
    (MAIL,                      "mail", Deny(code=530, status="5.7.0"), "530 5.7.0"),
    (MAIL,                      "mail", Defer(status="4.1.8"),        "451 4.1.8"),
    (MAIL,                      "mail", Defer(code=455, status="4.5.4"), "455 4.5.4"),
    (MAIL,                      "mail", Defer(code=452, status="4.3.1"), "452 4.3.1"),
    (MAIL,                      "mail", KeyError(),                   "451 4.3.0"),
    # rcpt
    (RCPT,                      "", None,                             "250 2.1.5"),
    (RCPT,                      "rcpt", None,                         "550 5.7.1 We do not relay"),
    (RCPT,                      "rcpt", Deny(status="5.1.1"),         "550 5.1.1"),
    (RCPT,                      "rcpt", Deny(code=556, status="5.1.10"), "556 5.1.10"),
    (RCPT,                      "rcpt", Deny(code=552, status="5.2.2"), "552 5.2.2"),
    (RCPT,                      "rcpt", Defer(code=452, status="4.2.2"), "452 4.2.2"),
    (RCPT,                      "rcpt", Defer(code=451, status="4.7.1"), "451 4.7.1"),
    (RCPT + b"RCPT TO:<bob@example.org>\r\n" * 100, "", None,         "452 4.5.3"),
    (MAIL + b"RCPT TO:<bob\r\n", "", None,                            "501 5.1.3"),
    (HELLO + b"RCPT TO:<bob@example.org>\r\n", "", None,              "503 5.5.1"),
    # data
    (DATA,                      "", None,                             "354 End"),
    (MAIL + b"DATA\r\n",        "", None,                             "503 5.5.1"),
    (DATA,                      "rcpt", None,                         "554 5.5.1 No valid"),
    (DATA,                      "data", Deny(),                       "554 5.7.1"),
    # data_post
    (DOT,                       "", None,                             "250 2.0.0 Queued as "),
    (DOT,                       "message", Deny(),                    "550 5.7.1"),
    (DOT,                       "message", Deny(code=554, status="5.6.0"), "554 5.6.0"),
    (DOT,                       "message", Deny(status="5.7.23"),     "550 5.7.23"),
    (DOT,                       "message", Defer(status="4.7.24"),    "451 4.7.24"),
    (DOT,                       "message", KeyError(),                "451 4.3.0"),
    (DOT,                       "queue", None,                        "451 4.3.0"),
    (DOT,                       "queue", KeyError(),                  "451 4.3.0"),
    (DATA + b"x" * 999 + b"\r\n.\r\n", "", None,                      "552 5.3.4"),
    (LOOP,                      "", None,                             "554 5.4.6"),
    # bdat
    (RCPT + b"BDAT 2 LAST\r\n\r\n", "", None,                         "250 2.0.0 Queued as "),
    (RCPT + b"BDAT 2\r\n\r\n",  "", None,                             "250 2.0.0 "),
    (RCPT + b"BDAT x\r\n",      "", None,                             "501 5.5.4"),
    (RCPT + b"BDAT 1002\r\n" + b"x" * 1000 + b"\r\n", "", None,       "552 5.3.4"),
    (RCPT + b"BDAT 2 LAST\r\n\r\n", "queue", KeyError(),              "451 4.3.0"),
    (HELLO + b"BDAT 2\r\n\r\n", "", None,                             "503 5.5.1"),
    (RCPT + b"BDAT 2\r\n\r\nDATA\r\n", "", None,                      "503 5.5.1"),
    (RCPT + b"BDAT 0 LAST\r\nBDAT 0 LAST\r\n", "", None,              "503 5.5.1"),
    # rset, noop, vrfy, expn, quit
    (b"RSET\r\n",               "", None,                             "250 2.0.0"),
    (b"NOOP\r\n",               "", None,                             "250 2.0.0"),
    (b"NOOP x\r\n",             "", None,                             "250 2.0.0"),
    (b"VRFY bob\r\n",           "", None,                             "252 2.5.0"),
    (b"EXPN staff\r\n",         "", None,                             "502 5.5.1"),
    (b"HELP\r\n",               "", None,                             "214 2.0.0"),
    (b"QUIT\r\n",               "", None,                             "221 2.0.0"),
]
# fmt: on

SENT_AWAY = {"221", "421", "521"}


@pytest.mark.parametrize(("octets", "hook", "verdict", "reply"), ROWS)
def test_replies(octets: bytes, hook: str, verdict: Any, reply: str) -> None:
    said, over = replies(octets, hook, verdict)
    assert said[-1].startswith(reply)
    assert over is (said[-1][:3] in SENT_AWAY or octets.endswith(b"BDAT x\r\n"))


def test_vrfy_tells_nothing_of_mailboxes() -> None:
    assert replies(b"VRFY bob\r\n") == replies(b"VRFY nobody\r\n")


def test_what_stands_behind_quit_is_not_read() -> None:
    said, over = replies(b"QUIT\r\nNOOP\r\n")
    assert (len(said), over) == (2, True)


def test_an_enhanced_status_goes_with_every_reply_but_three() -> None:
    """RFC 2034, 4: not with the greeting, the reply to EHLO and HELO; nor is there one for 354."""
    for octets, hook, verdict, _ in ROWS:
        said, _ = replies(octets, hook, verdict)
        for line in said:
            code, first = line.split(" ")[:2]
            assert (first[:2] == f"{code[0]}.") is not (
                code in ("220", "354") or line in ("250 mx.example", "250 HELP")
            ), line
