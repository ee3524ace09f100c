"""The page of extensions: commands, parameters and EHLO keywords, and who turns each on."""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.limits import Limits
from gatepost.protocol.commands import LMTP_VERBS, SMTP_VERBS
from gatepost.protocol.extensions import EXTENSIONS, core_capabilities, keywords
from gatepost.protocol.parameters import MAIL_PARAMETERS, RCPT_PARAMETERS, Parameter
from gatepost.reference.markdown import code, page, table
from gatepost.reference.source import documented

_KEYWORDS = """\
What the server offers in its EHLO reply it honours, and what it cannot honour it does not offer.
The rewriting hook `capabilities` can take a keyword away, and what is taken away is not honoured
either.
"""

_COMMANDS = """\
## Commands

A command that needs an extension is answered with 502 where that extension is not offered.
"""

_PARAMETERS = """\
## Parameters

A parameter that promises something is refused with 555 where the extension that it needs is not
offered, and so is one that is not in this table.  Those that need nothing are harmless to carry:
they are parsed, kept for plugins and never trusted.
"""


def extensions_page() -> str:
    """The whole page."""
    return page(
        "Commands and extensions",
        _KEYWORDS,
        table(("keyword", "source", "turned on by", "offered by the server itself"), _extensions()),
        _COMMANDS,
        table(("command", "in", "needs"), _commands()),
        _PARAMETERS,
        _parameters("MAIL", "MailParameters", MAIL_PARAMETERS),
        _parameters("RCPT", "RcptParameters", RCPT_PARAMETERS),
    )


def _extensions() -> list[tuple[str, str, str, str]]:
    limits = Limits()
    lines = core_capabilities(
        message_size=limits.message_size, recipients=limits.recipients, messages=limits.messages
    )
    offered = dict(zip((next(iter(keywords((line,)))) for line in lines), lines, strict=True))
    return [
        (code(one.keyword), one.rfc, one.turned_on_by, code(offered.get(one.keyword, "")))
        for one in EXTENSIONS
    ]


def _commands() -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, verb in (SMTP_VERBS | LMTP_VERBS).items():
        spoken = [
            word for word, verbs in (("SMTP", SMTP_VERBS), ("LMTP", LMTP_VERBS)) if name in verbs
        ]
        rows.append((code(verb.usage), " and ".join(spoken), code(verb.needs)))
    return rows


def _parameters(verb: str, kind: str, rows: Mapping[str, Parameter]) -> str:
    fields = documented("gatepost.protocol.parameters")[kind].members
    meanings = {field.name: field.text for field in fields}
    lines = [
        (code(word), code(f"{kind}.{row.field}"), code(row.needs), meanings[row.field])
        for word, row in rows.items()
    ]
    return f"### {verb}\n\n" + table(("parameter", "value", "needs", "meaning"), lines)
