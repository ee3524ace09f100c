"""The page of hooks: each with its signature, its manner, and what every verdict earns."""

from __future__ import annotations

from gatepost.hooks.replies import REPLIES, reply_to
from gatepost.plugin import HOOKS, Manner
from gatepost.reference.markdown import code, fenced, page, table
from gatepost.reference.source import Documented, documented
from gatepost.verdict import Accept, Defer, Deny, Verdict

_INTRODUCTION = """\
A hook is a moment of a mail's arrival on which plugins may speak: a method of `Plugin`.  A plugin
overrides those that it cares about, plain or `async`.  Hooks of one listener are asked in the order
of the [[plugin]] tables; there are no priorities.

There are three manners.  What a hook returns tells which one it is.
"""

_MANNERS: dict[Manner, tuple[str, str]] = {
    "decide": (
        "Decide",
        "The first verdict settles it: `Accept`, `Deny` or `Defer`.  `None` means no opinion, and "
        "asks the next plugin.  The tables say what the client hears; a verdict may bring its own "
        "words, code and status.  An `Accept` on `headers` or `message` is not told to the client: "
        "the next hook decides.  A plugin that breaks, or takes longer than its `timeout`, counts "
        'as `Defer`, unless its table says `on_error = "ignore"`.',
    ),
    "listen": (
        "Listen",
        "Nobody can stop it.  A plugin that breaks is logged, and the next one still hears of it.",
    ),
    "rewrite": (
        "Rewrite",
        "Each plugin in turn gets the value and returns it, changed or not.  A plugin that breaks "
        "makes the server answer with an internal error for now, because nobody knows what it "
        "would have made of the value.",
    ),
}


class _Blanks(dict[str, object]):
    """Words for a reply that leave its blanks as they are."""

    def __missing__(self, blank: str) -> str:
        return f"{{{blank}}}"


def hooks_page() -> str:
    """The whole page."""
    plugin = documented("gatepost.plugin")["Plugin"]
    methods = {method.name: method for method in plugin.members}
    parts: list[str] = [_INTRODUCTION]
    for manner, (title, words) in _MANNERS.items():
        names = [name for name in HOOKS if HOOKS[name] == manner]
        parts += [f"## {title}", words, *(_hook(methods[name]) for name in names)]
    return page("Hooks", *parts)


def wording(hook: str, verdict: Verdict | None) -> str:
    """What a verdict says on the wire, its blanks as they stand in the table."""
    return str(reply_to(hook, verdict, _Blanks()))


def _hook(method: Documented) -> str:
    signature = fenced("python", f"def {method.code.replace('(', '(self, ', 1)}")
    parts = [f"### {code(method.name)}", signature, method.text]
    if method.name in REPLIES:
        parts.append(_verdicts(method.name))
    return "\n\n".join(parts)


def _verdicts(hook: str) -> str:
    silence = REPLIES[hook].silence
    rows: dict[str, Verdict | None] = {
        f"nobody speaks: {code(type(silence).__name__)}": None,
        code("Accept()"): Accept(),
        code("Deny()"): Deny(),
        code("Defer()"): Defer(),
    }
    return table(
        ("verdict", "reply"), [(name, code(wording(hook, one))) for name, one in rows.items()]
    )
