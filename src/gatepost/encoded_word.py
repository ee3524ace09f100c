"""Encoded words: how a header that is ASCII carries other letters (RFC 2047)."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp, b2a_base64
from codecs import lookup
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

#: Octets of text in one encoded word, so that it and a short field name fit into 76 characters.
WORD_OCTETS = 39

_ENCODED_WORD = re.compile(r"=\?([!->@-~]{1,60})\?([BbQq])\?([^?]*+)\?=")
#: Blanks, then a word; a quoted string stays one word, or its two halves would lose each other.
_PIECE = re.compile(r'([ \t\r\n]*+)((?:"[^"]*+"|[^ \t\r\n])*)')
# Only what mail uses: an unknown name costs Python's codec search an import and is remembered
# for ever, and some codecs (idna, punycode, unicode_escape) are no charsets or not linear.
_CHARSET = re.compile(
    r"us-ascii|utf-?[78]|iso-?8859-\d{1,2}(?:-[ei])?|(?:windows-|cp)\d{3,4}|koi8-[rtu]"
    r"|gb2312|gbk|gb18030|hz-gb-2312|big5(?:-hkscs)?|shift[_-]jis|euc-(?:jp|kr)"
    r"|iso-2022-(?:jp(?:-\d|-ext)?|kr)|ks_c_5601-1987|tis-620|macintosh",
    re.IGNORECASE,
)


@dataclass(slots=True)
class _Run:
    """Neighbouring encoded words of one charset, which may share a character (RFC 2047, 5)."""

    before: str  #: the text in front of them
    charset: str
    octets: bytes | bytearray


def decode_words(text: str) -> str:
    """The text with its encoded words decoded; what cannot be decoded stays as it is."""
    if "=?" not in text:
        return text
    runs: list[_Run] = []
    end = 0
    for word in _ENCODED_WORD.finditer(text):
        run = _decoded(word, text[end : word.start()])
        if run is None:
            continue
        end = word.end()
        if runs and not run.before.strip(" \t"):
            run.before = ""
            if run.charset == runs[-1].charset:
                runs[-1].octets += run.octets
                continue
        run.octets = bytearray(run.octets)
        runs.append(run)
    decoded = (run.before + run.octets.decode(run.charset, "replace") for run in runs)
    return "".join(decoded) + text[end:]


def encode_words(text: str) -> str:
    """The text in ASCII: each run of words that need it becomes encoded words, one a line."""
    groups = groupby(_PIECE.findall(text), key=lambda piece: piece[1].isascii())
    return "".join(
        _joined(pieces) if plain else _encoded(_joined(pieces)) for plain, pieces in groups
    )


def _decoded(word: re.Match[str], before: str) -> _Run | None:
    charset = word[1].partition("*")[0].lower()  # RFC 2231, 5: a language may follow
    if not _CHARSET.fullmatch(charset):
        return None
    octets = word[3].encode("utf-8", "replace")
    try:
        lookup(charset)
        octets = a2b_qp(octets, header=True) if word[2] in "Qq" else a2b_base64(octets + b"===")
    except (Error, LookupError):
        return None
    return _Run(before, charset, octets)


def _joined(pieces: Iterator[tuple[str, str]]) -> str:
    return "".join(blanks + word for blanks, word in pieces)


def _encoded(text: str) -> str:
    words = text.lstrip(" \t\r\n")
    blanks = text[: len(text) - len(words)]
    octets = words.replace("\r\n", "").encode()
    return blanks + "\r\n ".join(
        f"=?utf-8?b?{b2a_base64(piece, newline=False).decode('ascii')}?=" for piece in _cut(octets)
    )


def _cut(octets: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(octets):
        end = start + WORD_OCTETS
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # never cut a UTF-8 sequence
            end -= 1
        yield octets[start:end]
        start = end
