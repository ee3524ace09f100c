"""Envelope: who sends a message to whom, as MAIL and RCPT say it to a server with its extensions.

What the server cannot take is refused before anything is sent: a message is never changed to fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gatepost.address import Address
from gatepost.protocol.parameters import MailParameters, RcptParameters
from gatepost.protocol.stuffing import Survey, header_is_ascii
from gatepost.reply import Reply

NOTHING_ASKED: Final = MailParameters()

STRAY: Final = Reply(554, "5.6.0", "The message has a bare CR or LF and cannot be passed on")
BINARY: Final = Reply(554, "5.6.3", "The next hop does not take binary messages")
EIGHT_BIT: Final = Reply(554, "5.6.3", "The next hop does not take 8-bit messages")
UTF8: Final = Reply(553, "5.6.7", "The next hop does not take internationalized mail")
TOO_BIG: Final = Reply(552, "5.3.4", "The message is too big for the next hop")
TLS_LACKS: Final = Reply(550, "5.7.30", "The next hop cannot promise TLS all the way (REQUIRETLS)")

#: The parameter's order is the order on the wire (RFC 3461, 4.1 has no preference).
_NOTIFY_ORDER: Final = ("NEVER", "SUCCESS", "FAILURE", "DELAY")
_TO_ESCAPE = re.compile(r"[^!-*,-<>-~]")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends a message to whom, and what was asked for it on the way here."""

    sender: Address
    recipients: tuple[Address, ...]
    mail: MailParameters = NOTHING_ASKED
    rcpt: tuple[RcptParameters, ...] = ()  #: one for each recipient; empty: nothing was asked for

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("a message without a recipient")
        if self.rcpt and len(self.rcpt) != len(self.recipients):
            raise ValueError("parameters for each recipient, or for none")

    @property
    def binary(self) -> bool:
        """Whether the message may hold any octets, and lines mean nothing (RFC 3030, 3)."""
        return self.mail.body == "BINARYMIME"

    @property
    def ascii_only(self) -> bool:
        """Whether no address holds other characters than ASCII."""
        return all(
            address.local.isascii() and address.domain.isascii()
            for address in (self.sender, *self.recipients)
        )

    @property
    def needs_utf8(self) -> bool:
        """Whether an address cannot be written in ASCII at all (RFC 6531, 3.2)."""
        return not all(address.local.isascii() for address in (self.sender, *self.recipients))


class Wording:
    """One envelope in the words of one server: those extensions are used that it offers."""

    __slots__ = ("_capabilities", "_envelope", "_secure", "_survey", "_utf8")

    def __init__(
        self,
        envelope: Envelope,
        survey: Survey,
        *,
        capabilities: Mapping[str, str],
        secure: bool,
    ) -> None:
        self._envelope = envelope
        self._survey = survey
        self._capabilities = capabilities
        self._secure = secure
        self._utf8 = "SMTPUTF8" in capabilities and (
            envelope.mail.smtputf8 or not envelope.ascii_only
        )

    def objection(self, content: Iterable[bytes]) -> Reply | None:
        """Why the server cannot take the message; None when there is no reason.

        `content` is looked into only to learn whether an old server could take it all the same.
        """
        envelope, offered = self._envelope, self._capabilities
        if envelope.binary:
            if "BINARYMIME" not in offered or "CHUNKING" not in offered:
                return BINARY
        elif self._survey.stray:
            return STRAY
        elif self._survey.eight_bit and "8BITMIME" not in offered:
            return EIGHT_BIT
        if "SMTPUTF8" not in offered and self._needs_utf8(content):
            return UTF8
        if envelope.mail.requiretls and not (self._secure and "REQUIRETLS" in offered):
            return TLS_LACKS
        limit = offered.get("SIZE", "")
        if limit.isdecimal() and limit.isascii() and 0 < int(limit[:20]) < self._survey.size:
            return TOO_BIG
        return None

    def mail(self) -> str:
        """What stands behind MAIL."""
        envelope, offered = self._envelope, self._capabilities
        words = [f"FROM:{self._path(envelope.sender)}"]
        if "SIZE" in offered:
            words.append(f"SIZE={self._survey.size}")
        if envelope.binary:
            words.append("BODY=BINARYMIME")
        elif self._survey.eight_bit:
            words.append("BODY=8BITMIME")
        if self._utf8:
            words.append("SMTPUTF8")
        if envelope.mail.requiretls:
            words.append("REQUIRETLS")
        if envelope.mail.mt_priority is not None and "MT-PRIORITY" in offered:
            words.append(f"MT-PRIORITY={envelope.mail.mt_priority}")
        if "DSN" in offered:
            words += _mail_notification(envelope.mail)
        return " ".join(words)

    def rcpt(self, index: int) -> str:
        """What stands behind RCPT for the recipient of that index."""
        path = f"TO:{self._path(self._envelope.recipients[index])}"
        if not self._envelope.rcpt or "DSN" not in self._capabilities:
            return path
        return " ".join((path, *self._rcpt_notification(self._envelope.rcpt[index])))

    def _needs_utf8(self, content: Iterable[bytes]) -> bool:
        if self._envelope.needs_utf8:
            return True
        asked = self._envelope.mail.smtputf8 and self._survey.eight_bit
        return asked and not header_is_ascii(content)

    def _path(self, address: Address) -> str:
        if self._utf8 or address.domain.isascii():
            return str(address)
        return str(Address(address.local, address.ascii_domain))

    def _rcpt_notification(self, parameters: RcptParameters) -> list[str]:
        words = []
        if parameters.notify:
            words.append(f"NOTIFY={','.join(n for n in _NOTIFY_ORDER if n in parameters.notify)}")
        original = parameters.orcpt
        if original is not None and (self._utf8 or original.address.isascii()):
            as_sent = original.type.lower() == "utf-8"
            spelled = original.address if as_sent else xtext(original.address)
            words.append(f"ORCPT={original.type};{spelled}")
        return words


def xtext(text: str) -> str:
    """ASCII text with what has no place in a parameter as `+HH` (RFC 3461, 4)."""
    return _TO_ESCAPE.sub(lambda match: f"+{ord(match[0]):02X}", text)


def _mail_notification(parameters: MailParameters) -> list[str]:
    words = []
    if parameters.ret:
        words.append(f"RET={parameters.ret}")
    if parameters.envid:
        words.append(f"ENVID={xtext(parameters.envid)}")
    return words
