"""Authentication-Results: the field that tells what was found out about a message (RFC 8601)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import count
from unicodedata import normalize

import idna

from gatepost.encoded_word import decode_words
from gatepost.headers import Headers
from gatepost.trail import Result

NAME = "Authentication-Results"

#: Results that one field tells of, those of them by one method, and properties of one result.
RESULT_LIMIT = 50
METHOD_LIMIT = 10
PROPERTY_LIMIT = 10
#: Characters of a value (no mailbox is longer), of a comment, and of a name.
VALUE_LIMIT = 254
COMMENT_LIMIT = 120
KEYWORD_LIMIT = 40
#: Characters of a line where it can be broken (RFC 5322, 2.1.1).
LINE = 78
#: Characters in which a foreign field must have said whose it is.
HEAD_LIMIT = 1000
#: Foreign fields that are read.  No honest message has so many, and one that is made to be hard to
#: read takes half a millisecond.
FIELD_LIMIT = 20

#: Words of RFC 8601, 2.7 for outcomes that are none.
_WORDS = {"error": "temperror", "skip": "none"}

_NO_KEYWORD = re.compile(r"[^0-9A-Za-z-]+")
_UNFIT = re.compile(r'[^\x20-\x7e]|[;()"\\]')
_ENCODED = re.compile(r"=+\?")
_PLAIN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]++"
# Without `?`: behind the `=` of the property, it could begin an encoded word.
_ATOM = r"[!#$%&'*+\-/0-9=A-Z^_`a-z{|}~]++"
_LABEL = r"[0-9A-Za-z]++(?:-++[0-9A-Za-z]++)*"
#: What needs no quotes (RFC 8601, 2.2): a token, a mailbox, a domain behind an `@`.
_BARE = re.compile(rf"{_PLAIN}|(?:{_ATOM}(?:\.{_ATOM})*)?@{_LABEL}(?:\.{_LABEL})*")

_PLAIN_HEAD = re.compile(r"[ \t\r\n]*+([0-9A-Za-z][0-9A-Za-z._-]*+)[ \t\r\n]*+;")
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
_NOISE = re.compile(r'["\\]|\r?\n[ \t]*+|[\0-\x08\x0b-\x1f\x7f-\x9f]')
_IN_NAME = re.compile(r"\w")


# -- The field that we write ----------------------------------------------------------------------


def authentication_results(authserv_id: str, results: Iterable[Result]) -> str:
    """The value of an Authentication-Results field, folded (RFC 8601, 2.2).

    Results without a `method` are none of its business; where no other is left, it says `none`.
    A result's text becomes a comment.  At most `METHOD_LIMIT` results by one method are told, and
    `RESULT_LIMIT` in all, so that many signatures cannot push out what was found besides.

    Values are foreign text, and some who read the field take it to pieces carelessly.  So what
    they could mistake for its structure is written as `?`: control characters, `;`, quotes,
    backslashes, parentheses, the beginning of an encoded word; and so is all but ASCII, because a
    field that is not must not travel without SMTPUTF8: give domains in A-labels.  What is too long
    is cut, and ends in dots.
    """
    told = [_told(result) for result in _first(results)]
    return ";\r\n\t".join([_value(authserv_id), *told]) if told else f"{_value(authserv_id)}; none"


def _first(results: Iterable[Result]) -> list[Result]:
    """Those results for which there is room."""
    counts: Counter[str] = Counter()
    chosen: list[Result] = []
    for result in results:
        if not result.method or len(chosen) >= RESULT_LIMIT:
            continue
        counts[result.method] += 1
        if counts[result.method] <= METHOD_LIMIT:
            chosen.append(result)
    return chosen


def _told(result: Result) -> str:
    word = result.word or _WORDS.get(result.outcome, result.outcome)
    pieces = [f"{_keyword(result.method)}={_keyword(word)}"]
    if result.text:
        pieces.append(f"({_fit(result.text, COMMENT_LIMIT)})")
    for name, value in result.properties[:PROPERTY_LIMIT]:
        kind, _, rest = name.rpartition(".")
        pieces.append(f"{_keyword(kind or 'policy')}.{_keyword(rest)}={_value(value)}")
    return _broken(pieces)


def _broken(pieces: Iterable[str]) -> str:
    """Pieces with blanks between them, on as many lines as that takes."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and len(f"\t{lines[-1]} {piece};") > LINE:
            lines.append(piece)
        else:
            lines[-1] = f"{lines[-1]} {piece}".lstrip()
    return "\r\n\t".join(lines)


def _keyword(text: str) -> str:
    """A name, which stands in a plugin's source, made a keyword (RFC 8601, 2.2)."""
    return _NO_KEYWORD.sub("-", text)[:KEYWORD_LIMIT].strip("-") or "unknown"


def _value(text: str) -> str:
    value = _fit(text, VALUE_LIMIT)
    return value if _BARE.fullmatch(value) else f'"{value}"'


def _fit(text: str, limit: int) -> str:
    """Foreign text without anything that could end what it stands in."""
    # A part of a domain can be another domain, which dots at the end cannot.
    text = text if len(text) <= limit else f"{text[: limit - 3]}..."
    return _ENCODED.sub("??", _UNFIT.sub("?", text))


# -- The fields that we do not believe ------------------------------------------------------------


def remove_claims(headers: Headers, authserv_id: str) -> int:
    """Remove fields that claim to be ours (RFC 8601, 5); returns how many there were.

    Where there are more than `FIELD_LIMIT` that could, the others are removed unread.
    """
    if NAME not in headers:
        return 0
    numbers = count(1)
    return headers.remove(
        NAME, lambda field: next(numbers) > FIELD_LIMIT or _field_claims(authserv_id, field)
    )


def claims(value: str | bytes, authserv_id: str) -> bool:
    """Whether anybody might take a field with this value for one of ours, however it is spelled.

    Letter case, quotes, comments, folds, a version and a dot at the end make no difference; nor do
    encoded words, look-alikes (Unicode's form NFKC), characters that nobody sees, U-labels and
    A-labels, and semicolons in front.  When in doubt, it claims.  A name that only ends like ours
    does not, and one behind the results of another does not.
    """
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    spellings, pattern = _ours(authserv_id)
    if plain := _PLAIN_HEAD.match(text):
        return plain[1].strip(".").lower() in spellings
    cut = len(text) > HEAD_LIMIT
    return any(_is_headed(reading, pattern, cut=cut) for reading in _readings(text[:HEAD_LIMIT]))


def _field_claims(authserv_id: str, field: bytes) -> bool:
    return claims(field[field.index(b":") + 1 :], authserv_id)


def _readings(text: str) -> Iterator[str]:
    """What readers may make of a value; a NUL stands for what some leave out, and others do not."""
    for spelled in {text, decode_words(text)}:
        plain = _normal(spelled)
        for reading in (plain, _without_comments(plain)):
            yield _without_unseen(_NOISE.sub("\0", reading))


def _is_headed(reading: str, pattern: re.Pattern[str], *, cut: bool) -> bool:
    """Whether our name may stand in front of the first `;` that anything stands in front of."""
    match = pattern.search(reading)
    if match is None and not cut:
        return False
    before = reading[: match.start()] if match else reading
    return not any(_IN_NAME.search(segment) for segment in before.split(";")[:-1])


def _without_comments(text: str) -> str:
    """The text with a NUL in the place of each comment (RFC 5322, 3.2.2)."""
    kept: list[str] = []
    depth = start = 0
    for mark in _COMMENT_MARK.finditer(text):
        if mark[0].endswith("(") and not depth:
            kept.append(text[start : mark.end() - 1])
            depth = 1
        elif mark[0] == "(":
            depth += 1
        elif mark[0] == ")" and depth:
            depth -= 1
            start = mark.end()
    if not depth:
        kept.append(text[start:])
    return "\0".join(kept)


def _without_unseen(text: str) -> str:
    if text.isascii():
        return text
    return "".join(letter if letter.isprintable() or letter == "\t" else "\0" for letter in text)


def _normal(text: str) -> str:
    return normalize("NFKC", text).casefold().replace("\u3002", ".")


@lru_cache(maxsize=16)
def _ours(authserv_id: str) -> tuple[frozenset[str], re.Pattern[str]]:
    """Our name in all its spellings, and where it stands, whatever is between its letters."""
    name = _normal(authserv_id).strip(". ")
    spellings = {name}
    for spelled in (idna.encode, idna.decode):
        with suppress(UnicodeError):  # a name need not be a domain
            other = spelled(name)
            spellings.add(other if isinstance(other, str) else other.decode("ascii"))
    found = "|".join(r"\0*+".join(map(_letter, spelling)) for spelling in sorted(spellings))
    return frozenset(spellings), re.compile(rf"(?<![\w-])(?<!\w\.)(?:{found})(?![\w-])(?!\.\w)")


def _letter(letter: str) -> str:
    """A letter of a name as a pattern; blanks may stand around a dot (RFC 5322, 4.4)."""
    if letter.isspace():
        return r"[\0\s]++"
    return r"[\0\s]*+\.[\0\s]*+" if letter == "." else re.escape(letter)
