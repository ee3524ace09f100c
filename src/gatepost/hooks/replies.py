"""Which verdict earns which reply, as data: one row a hook, one column a verdict.

A plugin may choose its own words, code and status; what it leaves out is taken from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from gatepost.plugin import HOOKS
from gatepost.reply import Reply, printable
from gatepost.verdict import Accept, Defer, Deny, Verdict


class Row(NamedTuple):
    """What one hook's verdicts say to the client."""

    silence: Verdict  #: what it means that no plugin answered
    accept: str
    deny: str
    defer: str


# fmt: off
REPLIES: dict[str, Row] = {
    # hook          nobody spoke                 Accept                             Deny                                 Defer
    "connect": Row(Accept(),                    "220 {greeting}",                  "554 5.7.1 You are not welcome here", "421 4.7.0 Come back later"),
    "helo":    Row(Accept(),                    "250 {me}",                        "550 5.7.1 {name} is not welcome",    "450 4.7.1 Come back later"),
    "starttls": Row(Accept(),                   "220 2.0.0 Go ahead",              "554 5.7.1 No TLS for you",           "454 4.7.0 No TLS for now"),
    "auth":    Row(Deny(),                      "235 2.7.0 Authentication succeeded", "535 5.7.8 Authentication failed", "454 4.7.0 Authentication cannot be checked for now"),
    "mail":    Row(Accept(),                    "250 2.1.0 Sender ok",             "550 5.7.1 {sender} refused",         "451 4.7.1 {sender} refused for now"),
    "rcpt":    Row(Deny("We do not relay"),     "250 2.1.5 Recipient ok",          "550 5.7.1 {recipient} refused",      "450 4.2.1 {recipient} refused for now"),
    "data":    Row(Accept(),                    "354 End with a dot on a line",    "554 5.7.1 Message refused",          "451 4.7.1 Message refused for now"),
    "headers": Row(Accept(),                    "250 2.6.0 Headers look fine",     "550 5.7.1 Message refused",          "451 4.7.1 Message refused for now"),
    "message": Row(Accept(),                    "250 2.6.0 Message looks fine",    "550 5.7.1 Message refused",          "451 4.7.1 Message refused for now"),
    "queue":   Row(Defer("Nobody took the message"), "250 2.0.0 Queued as {id}",   "554 5.6.0 Message refused",          "451 4.3.0 Message not taken for now"),
    "rset":    Row(Accept(),                    "250 2.0.0 Ok",                    "550 5.7.1 Not here",                 "450 4.7.1 Not now"),
    "noop":    Row(Accept(),                    "250 2.0.0 Ok",                    "550 5.7.1 Not here",                 "450 4.7.1 Not now"),
    "vrfy":    Row(Accept(),                    "252 2.5.0 Send some mail, I will try my best", "550 5.7.1 Not here",    "450 4.7.1 Not now"),
    "expn":    Row(Deny("Not here", code=502, status="5.5.1"), "250 2.1.5 {text}", "550 5.7.1 Not here",                 "450 4.7.1 Not now"),
    "help":    Row(Accept(),                    "214 2.0.0 Commands: {commands}",            "550 5.7.1 No help",                  "450 4.7.1 Not now"),
    "quit":    Row(Accept(),                    "221 2.0.0 {me} says goodbye",     "221 2.0.0 {me} says goodbye",        "221 2.0.0 {me} says goodbye"),
    "unrecognized": Row(Deny(),                 "250 2.0.0 Ok",                    "500 5.5.2 Command not recognized",   "450 4.5.1 Not now"),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class Template:
    """A reply whose blanks are filled in later; one without blanks is a reply already."""

    code: int
    status: str
    text: str
    final: bool
    constant: Reply | None

    @classmethod
    def parse(cls, line: str) -> Template:
        """Read a template as it will stand on the wire: `550 5.7.1 {recipient} refused`."""
        reply = Reply.parse(line)
        return cls(
            reply.code, reply.status, reply.text, reply.final, None if "{" in line else reply
        )

    def fill(self, words: Mapping[str, object]) -> Reply:
        """The reply with the words in its blanks; they may be foreign text."""
        text = self.text.format_map(words)
        return Reply(self.code, self.status, printable(text), self.final)


_TEMPLATES: dict[str, dict[type[Verdict], Template]] = {
    hook: {
        Accept: Template.parse(row.accept),
        Deny: Template.parse(row.deny),
        Defer: Template.parse(row.defer),
    }
    for hook, row in REPLIES.items()
}
#: The recipients of an SMTP message fared differently, and it can be told one thing only.
MIXED = Reply(451, "4.3.0", "Not all recipients could be served")

#: The hooks on which plugins decide.
DECISIONS = tuple(name for name, manner in HOOKS.items() if manner == "decide")


#: The hooks on which it refuses that nobody spoke.
SILENCE_REFUSES = frozenset(
    hook for hook, row in REPLIES.items() if not isinstance(row.silence, Accept)
)


def reply_to(hook: str, verdict: Verdict | None, words: Mapping[str, object]) -> Reply:
    """The reply that a verdict on a hook earns; None stands for silence."""
    if verdict is None:
        verdict = REPLIES[hook].silence
    template = _TEMPLATES[hook][type(verdict)]
    standard = template.constant or template.fill(words)
    if isinstance(verdict, Accept):
        return replace(standard, text=printable(verdict.text)) if verdict.text else standard
    return _worded(standard, verdict)


def _worded(standard: Reply, verdict: Deny | Defer) -> Reply:
    if standard.positive:  # QUIT cannot be refused
        return standard
    code = verdict.code or standard.code
    if standard.code == 421:  # a client at the door is deferred in one way only (RFC 5321, 4.3.2)
        code = 421
    return Reply(
        code,
        verdict.status or standard.status,
        printable(verdict.text) or standard.text,
        final=verdict.disconnect or code == 421,
    )


def combined(replies: Collection[Reply]) -> Reply:
    """One reply for several copies of a message: a second copy is better than a lost one."""
    classes = {reply.code // 100 for reply in replies}
    if len(classes) == 1:
        return next(iter(replies))
    return next((reply for reply in replies if reply.code // 100 == 4), MIXED)
