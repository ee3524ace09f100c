"""What is said about each flaw of a line, or of a message, by its octets."""

from __future__ import annotations

from dataclasses import replace

from gatepost.protocol.commands import LONG_AUTH, LONG_LINE, NOT_MAIL, STRAY_LINE_END
from gatepost.protocol.lines import Flaw
from gatepost.reply import Reply

LINE_FLAWS = {
    Flaw.LONG_LINE: LONG_LINE,
    Flaw.STRAY_LINE_END: STRAY_LINE_END,
    Flaw.TLS_HELLO: NOT_MAIL,
    Flaw.LONG_PREAMBLE: replace(LONG_LINE, final=True),
    Flaw.LONG_AUTH: LONG_AUTH,
}
TEXT_FLAWS = {
    Flaw.LONG_LINE: Reply(
        554, "5.6.0", "The message has a line that is too long", limit="text_line"
    ),
    # What stands behind such a message may be a second one, smuggled in: it is never parsed.
    Flaw.STRAY_LINE_END: Reply(
        550, "5.5.2", "The message has a bare CR or LF; lines end with CR LF", final=True
    ),
}
