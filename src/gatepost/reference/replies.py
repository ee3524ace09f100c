"""The page of replies: what the server says, and who decides it."""

from __future__ import annotations

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
[States](states.md) has those for commands that are not in turn.
"""

#: The modules that give replies of their own, in the order in which a client meets them.
_GIVERS = (
    "server.connections",
    "protocol.commands",
    "server.patience",
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
    own = table(("name", "reply", "then"), _own_replies())
    return page("Replies", _INTRODUCTION, table(head, rows), _OWN, own)


def _own_replies() -> list[tuple[str, str, str]]:
    """Every reply that stands as a constant in one of the modules, once."""
    found: dict[str, tuple[str, str, str]] = {}
    for giver in _GIVERS:
        for name, value in vars(import_module(f"gatepost.{giver}")).items():
            if isinstance(value, Reply) and name.isupper():
                then = "the connection ends" if value.final else ""
                words = name.replace("_", " ").lower()
                found.setdefault(str(value), (words, code(str(value)), then))
    return list(found.values())
