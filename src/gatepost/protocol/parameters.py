"""The parameters of MAIL and RCPT, as typed values (RFC 5321, 4.1.2 and the extensions' RFCs)."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast

from gatepost.protocol.xtext import decode_xtext

Body: TypeAlias = Literal["", "7BIT", "8BITMIME", "BINARYMIME"]
Return: TypeAlias = Literal["", "FULL", "HDRS"]
Notify: TypeAlias = Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"]

#: Characters of an ENVID, decoded (RFC 3461, 4.4).
ENVID_LIMIT: Final = 100
#: Characters of an ORCPT, as sent (RFC 3461, 4.2).
ORCPT_LIMIT: Final = 500


class InvalidParameter(ValueError):
    """A parameter that earns a refusal; its words can stand in the reply."""

    def __init__(self, message: str, *, code: int = 501, status: str = "5.5.4") -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """By when a message shall be delivered, and what to do when it is late (RFC 2852, 4)."""

    seconds: int  #: from now on; zero or negative: the moment has passed
    mode: Literal["N", "R"]  #: N: notify the sender of the delay; R: return the message
    trace: bool = False  #: the sender wants a notice of every relay on the way


@dataclass(frozen=True, slots=True)
class OriginalRecipient:
    """The recipient as the sender wrote it, for notifications (RFC 3461, 4.2)."""

    type: str  #: `rfc822`, `utf-8` or another kind of address, case as sent
    address: str  #: decoded from xtext; for `utf-8` as sent, with its `\x{...}` (RFC 6533, 3)


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What a client says behind MAIL FROM about the whole message; all of it is only a claim."""

    size: int | None = None  #: octets that the message will have (RFC 1870, 5)
    body: Body = ""  #: the kind of octets to come (RFC 6152; RFC 3030); empty: not said
    smtputf8: bool = False  #: addresses or header may hold UTF-8 (RFC 6531, 3.4)
    auth: str | None = None  #: the submitter's mailbox; empty: `<>`, unknown (RFC 4954, 5)
    ret: Return = ""  #: how much of the message a failure notice returns (RFC 3461, 4.3)
    envid: str = ""  #: the sender's own name for this envelope, decoded (RFC 3461, 4.4)
    requiretls: bool = False  #: deliver over verified TLS or not at all (RFC 8689, 2)
    mt_priority: int | None = None  #: -9 to 9, the more the sooner (RFC 6710, 4)
    hold_for: int | None = None  #: seconds to keep the message back (RFC 4865, 3)
    hold_until: datetime | None = None  #: the moment to keep it back until (RFC 4865, 3)
    by: DeliverBy | None = None  #: when it has to arrive (RFC 2852, 4)


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """What a client says behind RCPT TO about one recipient; all of it is only a claim."""

    notify: frozenset[Notify] = frozenset()  #: when to send a notice (RFC 3461, 4.1)
    orcpt: OriginalRecipient | None = None  #: the recipient before any forwarding


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the tables: where a parameter's value goes and what must be offered for it."""

    field: str  #: of MailParameters or RcptParameters
    read: Callable[[str], object] | None  #: from text to value; ValueError: bad; None: takes none
    needs: str = ""  #: the EHLO keyword that promises it; empty: taken from everybody
    status: str = "5.5.4"  #: of a refusal because of the value


_WORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+\-/?^_`{|}~]+")
_UNITEXT = re.compile(r"(?:[!-*,-<>-\[\]-~]|\\x\{[0-9A-F]{2,6}\})+")
_CODE_POINT = re.compile(r"\\x\{([0-9A-F]+)\}")
_SIZE = re.compile(r"[0-9]{1,20}")
_PRIORITY = re.compile(r"-?[1-9]|0")
_SECONDS = re.compile(r"[1-9][0-9]{0,8}")
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)", re.IGNORECASE)


def parse_mail_parameters(text: str, offered: Container[str]) -> MailParameters:
    """Read what follows the path of MAIL, its leading blank included.

    `offered` holds the keywords of the EHLO reply.  Raises InvalidParameter.
    """
    if not text:
        return _NO_MAIL_PARAMETERS
    values = _values(text, MAIL_PARAMETERS, offered)
    if "hold_for" in values and "hold_until" in values:
        raise InvalidParameter("HOLDFOR and HOLDUNTIL exclude each other")
    return MailParameters(**values)


def parse_rcpt_parameters(text: str, offered: Container[str]) -> RcptParameters:
    """Read what follows the path of RCPT, its leading blank included.

    `offered` holds the keywords of the EHLO reply.  Raises InvalidParameter.
    """
    if not text:
        return _NO_RCPT_PARAMETERS
    return RcptParameters(**_values(text, RCPT_PARAMETERS, offered))


def _values(text: str, table: Mapping[str, Parameter], offered: Container[str]) -> dict[str, Any]:
    """The values of all parameters by field; InvalidParameter for the first that is wrong."""
    if text[0] != " ":
        raise InvalidParameter("A blank belongs between the path and its parameters")
    values: dict[str, Any] = {}
    for word in text.split(" "):
        if word:
            keyword, parameter, value = _find(word, table, offered)
            if parameter.field in values:
                raise InvalidParameter(f"{keyword} is given twice", status=parameter.status)
            values[parameter.field] = _read(keyword, parameter, value)
    return values


def _find(
    word: str, table: Mapping[str, Parameter], offered: Container[str]
) -> tuple[str, Parameter, str | None]:
    """The keyword, the row and the value (None: there is none) of one word."""
    match = _WORD.fullmatch(word)
    if match is None:
        raise InvalidParameter("Malformed parameter")
    keyword = match[1].upper()
    parameter = table.get(word.upper()) or table.get(keyword)
    if parameter is None:
        raise InvalidParameter(f"Parameter {keyword:.40} is not known here", code=555)
    if parameter.needs and parameter.needs not in offered:
        raise InvalidParameter(f"{word.upper()} needs {parameter.needs}, not offered", code=555)
    return keyword, parameter, match[2]


def _read(keyword: str, parameter: Parameter, value: str | None) -> object:
    if parameter.read is None:
        if value is not None:
            raise InvalidParameter(f"{keyword} takes no value", status=parameter.status)
        return True
    if value is None:
        raise InvalidParameter(f"{keyword} needs a value", status=parameter.status)
    try:
        return parameter.read(value)
    except ValueError:
        raise InvalidParameter(f"Bad value of {keyword}", status=parameter.status) from None


def _matched(pattern: re.Pattern[str], value: str) -> re.Match[str]:
    match = pattern.fullmatch(value)
    if match is None:
        raise ValueError(value)
    return match


def _one_of(*choices: str) -> Callable[[str], str]:
    """A reader for a value that is one of these words, in any case."""

    def read(value: str) -> str:
        if value.upper() not in choices:
            raise ValueError(value)
        return value.upper()

    return read


def _read_size(value: str) -> int:
    return int(_matched(_SIZE, value)[0])


def _read_auth(value: str) -> str:
    """Decode the submitter's mailbox; its syntax is left alone, for nobody trusts it."""
    decoded = decode_xtext(value)
    return "" if decoded == "<>" else decoded


def _read_envid(value: str) -> str:
    decoded = decode_xtext(value)
    if len(decoded) > ENVID_LIMIT:
        raise ValueError(value)
    return decoded


def _read_priority(value: str) -> int:
    return int(_matched(_PRIORITY, value)[0])


def _read_hold_for(value: str) -> int:
    return int(_matched(_SECONDS, value)[0])


def _read_hold_until(value: str) -> datetime:
    return datetime.fromisoformat(_matched(_DATE_TIME, value)[0].upper())


def _read_by(value: str) -> DeliverBy:
    match = _matched(_BY, value)
    seconds, mode = int(match[1]), cast(Literal["N", "R"], match[2].upper())
    if mode == "R" and seconds <= 0:
        raise ValueError(value)
    return DeliverBy(seconds, mode, trace=bool(match[3]))


_read_notice = _one_of("SUCCESS", "FAILURE", "DELAY")


def _read_notify(value: str) -> frozenset[str]:
    if value.upper() == "NEVER":
        return frozenset({"NEVER"})
    notices = [_read_notice(word) for word in value.split(",")]
    if len(set(notices)) < len(notices):
        raise ValueError(value)
    return frozenset(notices)


def _read_orcpt(value: str) -> OriginalRecipient:
    kind, _, address = value.partition(";")
    if len(value) > ORCPT_LIMIT or not address:
        raise ValueError(value)
    _matched(_ADDRESS_TYPE, kind)
    if kind.lower() == "utf-8":
        return OriginalRecipient(kind, _checked_unitext(address))
    return OriginalRecipient(kind, decode_xtext(address))


def _checked_unitext(text: str) -> str:
    """The text itself, if what its `\\x{...}` stand for is printable."""
    _matched(_UNITEXT, text)
    if not all(chr(int(point, 16)).isprintable() for point in _CODE_POINT.findall(text)):
        raise ValueError(text)
    return text


# A whole word goes before its keyword: BODY=BINARYMIME is a promise, the other values are none.
# fmt: off
MAIL_PARAMETERS: Final[Mapping[str, Parameter]] = {
    "SIZE":            Parameter("size", _read_size),
    "BODY":            Parameter("body", _one_of("7BIT", "8BITMIME")),
    "BODY=BINARYMIME": Parameter("body", _one_of("BINARYMIME"), "BINARYMIME"),
    "SMTPUTF8":        Parameter("smtputf8", None, "SMTPUTF8"),
    "AUTH":            Parameter("auth", _read_auth),
    "RET":             Parameter("ret", _one_of("FULL", "HDRS")),
    "ENVID":           Parameter("envid", _read_envid),
    "REQUIRETLS":      Parameter("requiretls", None, "REQUIRETLS"),
    "MT-PRIORITY":     Parameter("mt_priority", _read_priority, "MT-PRIORITY", "5.5.2"),
    "HOLDFOR":         Parameter("hold_for", _read_hold_for, "FUTURERELEASE"),
    "HOLDUNTIL":       Parameter("hold_until", _read_hold_until, "FUTURERELEASE"),
    "BY":              Parameter("by", _read_by, "DELIVERBY"),
}

RCPT_PARAMETERS: Final[Mapping[str, Parameter]] = {
    "NOTIFY": Parameter("notify", _read_notify),
    "ORCPT":  Parameter("orcpt", _read_orcpt),
}
# fmt: on

_NO_MAIL_PARAMETERS: Final = MailParameters()
_NO_RCPT_PARAMETERS: Final = RcptParameters()
