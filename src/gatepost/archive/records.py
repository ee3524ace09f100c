"""Records: what is kept of one message, or of one session as a whole."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from gatepost.trail import Decision, Mode, Result
from gatepost.verdict import Accept, Defer, Deny, Verdict

#: Characters of one text that are kept.
TEXT_LIMIT = 500

#: What a plugin decided, in one word.
VerdictName: TypeAlias = Literal["accept", "deny", "defer"]

_NAMES: dict[type[Verdict], VerdictName] = {Accept: "accept", Deny: "deny", Defer: "defer"}


class RecordedDecision(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A `Decision`, and the recipient that it was about."""

    plugin: str
    hook: str
    verdict: VerdictName
    text: str = ""
    code: int | None = None
    status: str = ""
    disconnect: bool = False
    mode: Mode = "enforce"
    message: int = 0  #: the number of the message that it is about; 0: about the session
    seconds: float = 0.0
    recipient: int | None = None  #: its place among the recipients of the record

    @property
    def refuses(self) -> bool:
        """Whether it was a refusal that took effect at once."""
        return self.verdict != "accept" and self.mode == "enforce"

    def as_verdict(self) -> Verdict:
        """The verdict as the plugin gave it."""
        if self.verdict == "accept":
            return Accept(self.text)
        kind = Deny if self.verdict == "deny" else Defer
        return kind(self.text, self.code, self.status, self.disconnect)


class RecordedResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A `Result`."""

    plugin: str
    outcome: str
    text: str = ""
    method: str = ""
    word: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    message: int = 0  #: the number of the message that it is about; 0: about the session


class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, kw_only=True):
    """One message with all that was decided about it; or a session, without its messages.

    A record stands for itself: that of a message repeats what was known of the session by then.
    """

    session: str  #: its id
    message: int = 0  #: which of its messages; 0: the session as a whole
    started: float  #: seconds since 1970
    seconds: float  #: how long it took
    listener: str = ""
    client: str = ""  #: the IP address; empty for a Unix socket
    client_name: str = ""
    verb: str = ""
    hello: str = ""
    tls: str = ""  #: version and cipher; empty: in clear
    user: str = ""
    mechanism: str = ""
    relaying: bool = False
    allowed: str = ""
    messages: int = 0  #: of a session: how many of its messages have records of their own
    sender: str = ""  #: without angle brackets
    recipients: tuple[str, ...] = ()  #: those that were proposed, without angle brackets
    more_recipients: int = 0  #: proposed, but not kept
    size: int = 0  #: octets of the message; 0: none of it is known
    reply: str = ""  #: what the end of the message was answered; empty: it never came
    decisions: tuple[RecordedDecision, ...] = ()
    results: tuple[RecordedResult, ...] = ()
    omitted: int = 0  #: decisions and results that were not kept

    @property
    def id(self) -> str:
        """The session's id, and behind a dot the number of the message."""
        return f"{self.session}.{self.message}" if self.message else self.session

    @property
    def exemptions(self) -> set[str]:
        """Whom plugins could take the client for that do not judge everybody (`unless`)."""
        holds = {
            "relay": self.relaying,
            "allowed": self.allowed != "",
            "authenticated": self.user != "",
        }
        return {name for name, does in holds.items() if does}

    @property
    def entries(self) -> list[RecordedDecision | RecordedResult]:
        """The decisions, then the results."""
        return [*self.decisions, *self.results]

    @property
    def tells(self) -> bool:
        """Whether it tells more than that the session has ended, whose messages stand elsewhere."""
        return not self.messages or any(one.refuses for one in self.decisions)


def recorded_decision(decision: Decision, recipient: int | None) -> RecordedDecision:
    """A decision as it is kept."""
    verdict = decision.verdict
    code: int | None = None
    status, disconnect = "", False
    if not isinstance(verdict, Accept):
        code, status, disconnect = verdict.code, verdict.status, verdict.disconnect
    return RecordedDecision(
        decision.plugin,
        decision.hook,
        _NAMES[type(verdict)],
        kept(verdict.text),
        code,
        status,
        disconnect,
        decision.mode,
        decision.message,
        round(decision.seconds, 6),
        recipient,
    )


def recorded_result(result: Result) -> RecordedResult:
    """A result as it is kept; nobody has checked what the plugin put into it."""
    try:
        properties = tuple((kept(name), kept(value)) for name, value in result.properties)
    except (TypeError, ValueError):
        properties = ()
    return RecordedResult(
        kept(result.plugin),
        kept(result.outcome),
        kept(result.text),
        kept(result.method),
        kept(result.word),
        properties,
        result.message,
    )


def kept(text: object) -> str:
    """A text as it is kept: not too long, and without halves of characters."""
    text = str(text)
    if len(text) > TEXT_LIMIT:
        text = f"{text[: TEXT_LIMIT - 3]}..."
    if text.isascii():
        return text
    # What cannot be encoded cannot be written, and would take the other records along.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
