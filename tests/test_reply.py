"""Replies: what goes over the wire, and what can never get there (RFC 5321, 4.2; RFC 3463)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.reply import LINE_LIMIT, Reply, printable


@pytest.mark.parametrize(
    ("reply", "octets"),
    [
        (Reply(250), b"250 \r\n"),
        (Reply(250, "2.0.0"), b"250 2.0.0 \r\n"),
        (Reply(250, "", "Ok"), b"250 Ok\r\n"),
        (Reply(550, "5.1.1", "No such user"), b"550 5.1.1 No such user\r\n"),
        (Reply(250, "", "a\nb\nc"), b"250-a\r\n250-b\r\n250 c\r\n"),
        (Reply(550, "5.7.1", "a\n\nc"), b"550-5.7.1 a\r\n550-5.7.1 \r\n550 5.7.1 c\r\n"),
        (Reply(250, "", "für"), b"250 f?r\r\n"),
        (Reply(354, "2.0.0", "Go on"), b"354 2.0.0 Go on\r\n"),
    ],
)
def test_octets(reply: Reply, octets: bytes) -> None:
    assert bytes(reply) == octets
    assert reply.encode() == octets


def test_octets_of_smtputf8() -> None:
    assert Reply(250, "", "für").encode(utf8=True) == "250 für\r\n".encode()


def test_long_texts_become_several_lines() -> None:
    assert bytes(Reply(550, "5.7.1", "x" * 500)) == b"550 5.7.1 " + b"x" * 500 + b"\r\n"
    assert bytes(Reply(550, "5.7.1", "x" * 501)) == (
        b"550-5.7.1 " + b"x" * 500 + b"\r\n550 5.7.1 x\r\n"
    )
    assert Reply(250, "", "ü" * 300).encode(utf8=True).decode() == (
        f"250-{'ü' * 253}\r\n250 {'ü' * 47}\r\n"
    )
    assert Reply(250, "", "a" + "ü" * 300).encode(utf8=True).decode() == (
        f"250-a{'ü' * 252}\r\n250 {'ü' * 48}\r\n"
    )


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("250", Reply(250)),
        ("250 Ok", Reply(250, "", "Ok")),
        ("550 5.1.1 No such user", Reply(550, "5.1.1", "No such user")),
        ("550 5.1.1", Reply(550, "5.1.1")),
        ("550 5.1 No", Reply(550, "", "5.1 No")),
        ("221 2.0.0 Bye", Reply(221, "2.0.0", "Bye", final=True)),
        ("421 4.3.2 Going down", Reply(421, "4.3.2", "Going down", final=True)),
    ],
)
def test_replies_can_be_written_as_people_do(line: str, reply: Reply) -> None:
    assert Reply.parse(line) == reply
    assert str(reply) == line


@pytest.mark.parametrize(
    "line", ["", "25", "2500", "hello", "150 Ok", "650 Ok", "250-Ok", " 250 Ok"]
)
def test_what_is_no_reply(line: str) -> None:
    with pytest.raises(ValueError, match=r"reply"):
        Reply.parse(line)


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (199, "", ""),
        (600, "", ""),
        (25, "", ""),
        (250, "5.1.1", ""),
        (550, "2.0.0", ""),
        (550, "4.0.0", ""),
        (450, "5.0.0", ""),
        (550, "5.1", ""),
        (550, "5.1.1 ", ""),
        (550, "5.1.1000", ""),
        (550, "", "a\rb"),
        (550, "", "a\r\nb"),
        (550, "", "a\0b"),
        (550, "", "a\tb"),
        (550, "", "a\x1bb"),
        (550, "", "a\x7fb"),
        (550, "", "a\x85b"),
        (550, "", "a\u2028b"),
        (550, "", "a\ud800b"),
    ],
)
def test_what_a_reply_cannot_hold(code: int, status: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"reply code|status|control"):
        Reply(code, status, text)


def test_which_replies_say_yes() -> None:
    assert [Reply(code).positive for code in (220, 250, 354, 399, 400, 421, 550)] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip


def test_replies_are_values() -> None:
    assert Reply(250, "2.0.0", "Ok") == Reply(250, "2.0.0", "Ok")
    assert Reply(250) != Reply(250, final=True)
    bytes(Reply(250))  # to have spoken makes no difference
    assert len({Reply(250), Reply(250), Reply(251)}) == 2


@pytest.mark.parametrize(
    ("text", "made_fit"),
    [
        ("plain", "plain"),
        ("für dich", "für dich"),
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a\0b\tc\x1bd\x7f", "a b c d "),
        ("a\u2028b\u2029c\x85d\ud800", "a b c d "),
        ("no\xa0break", "no\xa0break"),
    ],
)
def test_foreign_text_is_made_fit(text: str, made_fit: str) -> None:
    assert printable(text) == made_fit
    assert Reply(250, "", made_fit).text == made_fit


def test_what_earned_a_reply_makes_no_other_of_it() -> None:
    plain, limited = Reply(452, "4.5.3", "Later"), Reply(452, "4.5.3", "Later", limit="recipients")
    assert plain == limited
    assert hash(plain) == hash(limited)
    assert repr(plain) == repr(limited)
    assert bytes(plain) == bytes(limited)
    assert replace(limited, final=True).limit == "recipients"


codes = st.integers(200, 599)


@given(code=codes, has_status=st.booleans(), text=st.text(max_size=1500), utf8=st.booleans())
@settings(deadline=None, max_examples=200)
def test_every_reply_is_well_formed(code: int, has_status: bool, text: str, utf8: bool) -> None:
    status = f"{max(2, code // 100) if code >= 400 else 2}.7.1" if has_status else ""
    octets = Reply(code, status, printable(text)).encode(utf8=utf8)
    lines = octets.split(b"\r\n")
    assert lines.pop() == b""
    prefix = b"%d[- ]%s" % (code, f"{status} ".replace(".", r"\.").encode() if status else b"")
    assert all(re.match(prefix, line) and len(line) <= LINE_LIMIT - 2 for line in lines)
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]
    assert not re.search(rb"[\x00-\x1f\x7f]", b"".join(lines))
    octets.decode("utf-8" if utf8 else "ascii")


@given(text=st.text(alphabet="aü€😀 ", max_size=1500))
@settings(deadline=None, max_examples=100)
def test_nothing_of_a_long_text_is_lost(text: str) -> None:
    lines = Reply(250, "", text).encode(utf8=True).decode().split("\r\n")[:-1]
    assert "".join(line[4:] for line in lines) == text
