"""The page of replies: what the server says, and who decides it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module

from gatepost.hooks.replies import REPLIES
from gatepost.reference.hooks import wording
from gatepost.reference.markdown import code, page, table
from gatepost.reply import Reply
from gatepost.verdict import Accept, Defer, Deny

_INTRODUCTION = """\
One row a hook, one column a verdict: this is the table in `gatepost/hooks/replies.py`.  What stands
in braces is filled in.  A plugin may choose its own words, code and status; what it leaves out is
taken from here.  A `Deny` always earns a 5xx code and a `Defer` a 4xx code; QUIT alone cannot be
refused.  The connection ends after 221 and 421, and after a verdict with `disconnect = true`.
"""

_OWN = """\
## Replies that no plugin decides

These are given by the server itself, for lines that break the grammar and limits that are reached.
The last column names the limit in the table `[limits]`: under that name it stands on the trail, and
in the figures.  Who does not end a handshake in time is told nothing.  [States](states.md)
has those for commands that are not in turn.
"""

#: The modules that give replies of their own, in the order in which a client meets them.
_GIVERS = (
    "server.connections",
    "protocol.commands",
    "protocol.flaws",
    "server.patience",
    "server.authentication",
    "server.conversation",
    "server.reception",
    "server.connection",
)


def replies_page() -> str:
    """The whole page."""
    rows = [
        (
            code(hook),
            f"{type(row.silence).__name__}: {code(wording(hook, None))}",
            *(code(wording(hook, verdict)) for verdict in (Accept(), Deny(), Defer())),
        )
        for hook, row in REPLIES.items()
    ]
    head = ("hook", "nobody spoke", "`Accept()`", "`Deny()`", "`Defer()`")
    own = table(("name", "reply", "then", "limit"), _own_replies())
    return page("Replies", _INTRODUCTION, table(head, rows), _OWN, own)


def _own_replies() -> list[tuple[str, str, str, str]]:
    """Every reply that stands as a constant in one of the modules, or in a table there, once."""
    found: dict[tuple[str, str], tuple[str, str, str, str]] = {}
    for giver in _GIVERS:
        for name, reply in _constants(vars(import_module(f"gatepost.{giver}"))):
            then = "the connection ends" if reply.final else ""
            limit = code(reply.limit) if reply.limit else ""
            row = (name.replace("_", " ").lower(), code(str(reply)), then, limit)
            found.setdefault((str(reply), reply.limit), row)
    return list(found.values())


def _constants(names: Mapping[str, object]) -> Iterator[tuple[str, Reply]]:
    for name, value in names.items():
        if isinstance(value, Reply) and name.isupper():
            yield name, value
        elif isinstance(value, dict) and name.isupper():
            for key, reply in value.items():
                if isinstance(reply, Reply):
                    yield key.name if isinstance(key, Enum) else str(key), reply
