"""SASLprep: one form for user names and passwords that look the same (RFC 4013)."""

from __future__ import annotations

import stringprep
from unicodedata import normalize, ucd_3_2_0

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared form of a stored or shown string.

    Raises ValueError for one that holds prohibited characters, or mixes directions of writing
    (RFC 3454, 6).  Characters that Unicode did not know in 2002 pass as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(_mapped(letter) for letter in text)
    prepared = normalize("NFKC", mapped)
    if any(prohibits(letter) for letter in prepared for prohibits in _PROHIBITED):
        raise ValueError("it holds a character that is prohibited")
    _check_direction(prepared)
    return prepared


def _mapped(letter: str) -> str:
    if stringprep.in_table_c12(letter):
        return " "
    return "" if stringprep.in_table_b1(letter) else letter


def _check_direction(text: str) -> None:
    if not any(ucd_3_2_0.bidirectional(letter) in ("R", "AL") for letter in text):
        return
    mixed = any(stringprep.in_table_d2(letter) for letter in text)
    if mixed or not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("it mixes directions of writing")
