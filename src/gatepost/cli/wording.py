"""Wording: what is recorded of a session, its plugins and their findings, in a few words each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from gatepost.archive.conclusions import conclusion_of
from gatepost.archive.configurations import PlacedPlugin
from gatepost.archive.records import Record, RecordedDecision, RecordedResult
from gatepost.trail import LIMITS, PROTOCOL

#: What a decision on a hook is about, and when it is made; on others it is about the client, at
#: the command of that name.
MOMENTS = {
    "connect": ("the client", "when it connected"),
    "mail": ("the sender", "at MAIL"),
    "rcpt": ("the recipient", "at RCPT"),
    "data": ("the message", "at DATA"),
    "headers": ("the message", "after its header"),
    "message": ("the message", "after DATA"),
    "queue": ("the message", "after DATA"),
    "unrecognized": ("the client", "for a word that is no command"),
}
#: Names of one list that are told.
NAMED = 5

#: What it means that a client has run into a limit.
LIMIT_SENTENCES = {
    "message_size": "The message was bigger than {} octets",
    "header_size": "The header of the message was bigger than {} octets",
    "header_lines": "The header of the message had more than {} lines",
    "text_line": "A line of the message was longer than {} octets",
    "received": "The message had {} Received fields, as one has that goes round in circles",
    "recipients": "The message was to go to more than {} recipients",
    "line": "The client said a line of more than {} octets",
    "errors": "The client was sent away, for more than {} of its commands were refused",
    "auth_failures": "The client was sent away, for it failed to authenticate {} times",
    "auth_failures_per_address": "The client was sent away, for {} authentications had failed "
    "from its address",
    "idle_commands": "The client was sent away, for it said more than {} times NOOP and the like",
    "messages": "The client was sent away, for it began more than {} messages",
    "connections": "The client was turned away, for there were {} connections",
    "connections_per_address": "The client was turned away, for its address had {} connections",
    "connection_rate": "The client was turned away, for it came more than {} times a minute",
    "command_timeout": "The client was sent away, for it said nothing for {} s",
    "data_timeout": "The client was sent away, for its message made no headway for {} s",
    "handshake_timeout": "The client was hung up on, for its handshake took more than {} s",
    "session_timeout": "The client was sent away, for it had been there for {} s",
}

_VERBS = {"accept": "accepted", "deny": "denied", "defer": "deferred"}


def moment(decision: RecordedDecision) -> str:
    """When it was made: `at RCPT`."""
    return MOMENTS.get(decision.hook, ("", f"at {decision.hook.upper()}"))[1]


def subject(decision: RecordedDecision, record: Record) -> str:
    """What it was about: `the recipient <bob@example.org>`."""
    what = MOMENTS.get(decision.hook, ("the client", ""))[0]
    if decision.recipient is None:
        return what
    return f"{what} <{record.recipients[decision.recipient]}>"


def verb(decision: RecordedDecision) -> str:
    """What the plugin did: `denied`; `would have denied` where it had no effect."""
    done = _VERBS[decision.verdict]
    return f"would have {done}" if decision.mode == "report" else done


def plugin_name(name: str, plugin: PlacedPlugin | None) -> str:
    """A plugin with the options that its table gave: `` `domains` (domains = [...])``."""
    if plugin is None:
        return f"`{name}`"
    options = [f"{key} = {text}" for key, text in (plugin.options | plugin.placement).items()]
    use = [f'use = "{plugin.use}"'] if plugin.use != plugin.name else []
    return f"`{name}` ({', '.join([*use, *options])})" if use or options else f"`{name}`"


def client(record: Record) -> str:
    """Who it was: `client.example [192.0.2.1], TLSv1.3, user anne`."""
    host = f"[{record.client}]" if record.client else "on a Unix socket"
    parts = [f"{record.hello} {host}" if record.hello else host]
    if record.client_name and record.client_name.lower() != record.hello.lower():
        parts.append(f"in DNS {record.client_name}")
    if record.tls:
        parts.append(record.tls.partition(" ")[0])
    if record.user:
        parts.append(f"user {record.user}")
    return ", ".join(parts)


def finding(result: RecordedResult) -> str:
    """A result as a sentence."""
    if result.plugin == LIMITS and result.word and result.text in LIMIT_SENTENCES:
        return f"{LIMIT_SENTENCES[result.text].format(result.word)} (limit `{result.text}`)."
    if result.plugin == PROTOCOL:
        return sentence(f"A command broke the rules of SMTP, or was not in turn: {result.text}")
    text = f": {result.text}" if result.text else ""
    if result.method:
        properties = "".join(f" {name}={value}" for name, value in result.properties)
        text += f" ({result.method}={result.word or result.outcome}{properties})"
    return f"`{result.plugin}` found {result.outcome}{text}."


def listed(names: Sequence[str], count: int | None = None) -> str:
    """`a`, `a and b`, `a, b and 3 more`; `count` is how many there are, if those are not all."""
    shown = list(names[:NAMED])
    left = (len(names) if count is None else count) - len(shown)
    if left > 0:
        return f"{', '.join(shown)} and {left} more" if shown else f"{left}"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def paths(addresses: Iterable[str]) -> list[str]:
    """Addresses in angle brackets."""
    return [f"<{address}>" for address in addresses]


def local_time(seconds: float) -> str:
    """A moment as the clock on the wall has it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def sentence(text: str) -> str:
    """A text with a full stop, its lines made one."""
    text = " ".join(text.split("\n"))
    return text if text.endswith((".", "!", "?")) else f"{text}."


def outcome(record: Record) -> str:
    """What became of it, on one line: `550 5.7.1 We do not relay (domains)`."""
    conclusion = conclusion_of(record)
    what = " ".join(conclusion.reply.split("\n")) or conclusion.word
    if conclusion.decision:
        return f"{what} ({conclusion.decision.plugin})"
    return f"{what} (limit {conclusion.limit})" if conclusion.limit else what
