"""Encoded words: what they say, what is none, and that all text survives them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.encoded_word import decode_words, encode_words


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        # The examples of RFC 2047, 8.
        ("=?ISO-8859-1?Q?a?=", "a"),
        ("=?ISO-8859-1?Q?a?= b", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a_b?=", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
        ("=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=", "םולש ןב ילטפנ"),
        ("=?utf-8*de?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),  # RFC 2231, 5
        # What senders do beside the standard.
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),  # a character in two halves
        ("=?utf-8?b?w7w?=", "ü"),  # without padding
        ("=?utf-8?q?a b?=", "a b"),
        ("x=?utf-8?q?y?=z", "xyz"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?utf-8?q?=FF?=", "\ufffd"),
        # What is none stays.
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?x-unknown?q?a?=", "=?x-unknown?q?a?="),
        ("=?iso-8859-99?q?a?=", "=?iso-8859-99?q?a?="),
        ("=?idna?q?a?=", "=?idna?q?a?="),
        ("=?unicode_escape?q?=5Cx41?=", "=?unicode_escape?q?=5Cx41?="),
        ("=?hex?q?41?=", "=?hex?q?41?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("=?utf-8?q?a?= =?x?q?b?= =?utf-8?q?c?=", "a =?x?q?b?= c"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_words_are_decoded(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


@given(st.text())
def test_any_text_survives_its_encoding(text: str) -> None:
    text = text.encode("utf-8", "replace").decode().replace("=?", "").replace("\r", "")
    encoded = encode_words(text)
    assert encoded.isascii()
    assert decode_words(encoded.replace("\r\n", "")) == text


@given(st.text(st.characters(min_codepoint=0x100, exclude_categories=["Cs"]), min_size=1))
def test_no_word_is_longer_than_the_standard_has_it(text: str) -> None:
    words = encode_words(text).split("\r\n ")
    assert all(len(word) <= 75 for word in words)
    assert "".join(decode_words(word) for word in words) == text  # each is whole by itself


@given(
    st.lists(st.sampled_from(["=?", "?=", "utf-8", "?q?", "?b?", "=C3", "ü", " ", "A", "=", "\0"]))
)
def test_nothing_raises(pieces: list[str]) -> None:
    decode_words("".join(pieces))
