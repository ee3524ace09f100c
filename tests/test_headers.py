"""The header block: what is found in it, and that nothing else changes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.headers import Headers

BLOCK = (
    b"Received: from a\r\n\tby b\r\n"
    b"subject : =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?b?IGFuIGFsbGU=?=\r\n"
    b"no field at all\r\n"
    b"RECEIVED:from c\r\n"
    b"X-Empty:\r\n"
    b"X-Raw: caf\xc3\xa9 \xff\r\n"
)

NAMES = st.sampled_from(["A", "a", "Subject", "X-Long-Name"])
#: What may be written: printable, with a blank between words and none at the ends.
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200).map(
    lambda text: text.strip().replace("=?", "= ?")
)
LINES = st.sampled_from(
    [
        b"A: b\r\n",
        b"a:c\r\n",
        b"Subject : hi\r\n\tho\r\n",
        b"nonsense\r\n",
        b": x\r\n",
        b"B: \xff\r\n \r\n",
    ]
)
BLOCKS = st.lists(LINES, max_size=8).map(b"".join)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Received", ["from a\tby b", "from c"]),
        ("Subject", ["Grüße an alle"]),
        ("x-empty", [""]),
        ("X-Raw", ["café \ufffd"]),
        ("no field at all", []),
        ("Absent", []),
        ("", []),
        ("Recei", []),
        ("eceived", []),
    ],
)
def test_values_are_found_in_any_case(name: str, values: list[str]) -> None:
    headers = Headers(BLOCK)
    for spelled in (name, name.upper(), name.lower()):
        assert headers.count(spelled) == len(values)
        assert (spelled in headers) == bool(values)
        assert headers.get_all(spelled) == values
        assert headers.get(spelled) == (values[0] if values else None)


def test_names_are_listed_as_they_are_spelled() -> None:
    headers = Headers(BLOCK)
    assert [name for name, _ in headers] == ["Received", "subject", "RECEIVED", "X-Empty", "X-Raw"]
    assert len(headers) == 5
    assert headers.size == len(BLOCK)


def test_raw_fields_are_the_bytes_that_came() -> None:
    assert Headers(BLOCK).raw("received") == [
        b"Received: from a\r\n\tby b\r\n",
        b"RECEIVED:from c\r\n",
    ]
    assert Headers(b"A: b").raw("a") == [b"A: b"]


# The header-address confusion of A19: each spelling is found, none is invented.
@pytest.mark.parametrize(
    ("block", "values"),
    [
        (b"From : <a@good>\r\n", ["<a@good>"]),
        (b"From\t \t:<a@good>\r\n", ["<a@good>"]),
        (b"From:\r\n <a@good>\r\n", ["<a@good>"]),
        (b"From: <a@good>\r\n \r\n\t<b@evil>\r\n", ["<a@good> \t<b@evil>"]),
        (b"From: <a@good>\r\nfrom: <b@evil>\r\n", ["<a@good>", "<b@evil>"]),
        (b"From: \x00<a@good>\r\n", ["<a@good>"]),
        (b"From: a\nFrom: <b@evil>\r\n", ["a From: <b@evil>"]),
        (b"From: a\rFrom: <b@evil>\r\n", ["a From: <b@evil>"]),
        (b"From: =?utf-8?q?a=0D=0AFrom:_=3Cb@evil=3E?=\r\n", ["a  From: <b@evil>"]),
        (b"X: y\r\n From: <a@evil>\r\n", []),
        (b"X-From: <a@evil>\r\n", []),
        (b"From\x00: <a@evil>\r\n", []),
        (b"From \xc2\xa0: <a@evil>\r\n", []),
    ],
)
def test_what_counts_as_a_field(block: bytes, values: list[str]) -> None:
    headers = Headers(block)
    assert headers.get_all("From") == values
    assert headers.count("From") == len(values)
    assert bytes(headers) == block


def test_changes_touch_only_the_field_they_name() -> None:
    headers = Headers(BLOCK)
    headers.prepend("X-Top", "1")
    headers.add("X-End", "2")
    assert bytes(headers) == b"X-Top: 1\r\n" + BLOCK + b"X-End: 2\r\n"
    headers.replace("received", "from d")
    first, second = b"Received: from a\r\n\tby b\r\n", b"RECEIVED:from c\r\n"
    changed = BLOCK.replace(first, b"received: from d\r\n").replace(second, b"")
    assert bytes(headers) == b"X-Top: 1\r\n" + changed + b"X-End: 2\r\n"
    assert headers.remove("RECEIVED") == 1
    assert headers.remove("RECEIVED") == 0
    assert headers.remove("X-Top") == headers.remove("X-End") == 1
    assert bytes(headers) == BLOCK.replace(first, b"").replace(second, b"")


def test_some_of_the_fields_of_a_name_are_removed() -> None:
    headers = Headers(BLOCK)
    seen: list[bytes] = []

    def from_c(octets: bytes) -> bool:
        seen.append(octets)
        return b"from c" in octets

    assert headers.remove("received", from_c) == 1
    assert seen == [b"Received: from a\r\n\tby b\r\n", b"RECEIVED:from c\r\n"]
    assert bytes(headers) == BLOCK.replace(b"RECEIVED:from c\r\n", b"")
    assert headers.remove("received", from_c) == 0
    assert headers.remove("Absent", from_c) == 0
    assert headers.get_all("Received") == ["from a\tby b"]


def test_replacing_what_is_absent_adds_it() -> None:
    headers = Headers(b"A: b\r\n")
    headers.replace("C", "d")
    assert bytes(headers) == b"A: b\r\nC: d\r\n"


def test_a_line_that_was_cut_off_is_finished_first() -> None:
    headers = Headers(b"A: b\r\nC: d")
    assert not headers.finished
    assert headers.get("c") == "d"
    headers.add("E", "f")
    assert bytes(headers) == b"A: b\r\nC: d\r\nE: f\r\n"
    assert headers.raw("c") == [b"C: d\r\n"]


CHANGES: dict[str, Callable[[Headers, str, str], object]] = {
    "add": Headers.add,
    "prepend": Headers.prepend,
    "replace": Headers.replace,
    "remove": lambda headers, name, value: headers.remove(name),
    "get": lambda headers, name, value: headers.get(name),
}


@given(BLOCKS, st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), NAMES, VALUES)))
def test_what_was_parsed_and_what_is_written_agree(
    block: bytes, changes: list[tuple[str, str, str]]
) -> None:
    headers = Headers(block)
    for change, name, value in changes:
        CHANGES[change](headers, name, value)
        fresh = Headers(bytes(headers))
        assert list(fresh) == list(headers)
        assert len(fresh) == len(headers)
        assert fresh.count(name) == headers.count(name) == len(headers.raw(name))


@given(NAMES, VALUES, st.booleans())
def test_what_is_written_is_read(name: str, value: str, utf8: bool) -> None:
    headers = Headers()
    headers.add(name, value, utf8=utf8)
    assert headers.get(name) == value
    assert len(headers) == 1
    assert utf8 or bytes(headers).isascii()
    assert all(line.strip() for line in bytes(headers).split(b"\r\n")[:-1])


@given(st.binary())
def test_whatever_is_read_can_be_written_again(octets: bytes) -> None:
    headers = Headers(b"A: " + octets)
    for _, value in headers:
        assert value == value.strip(" \t")
        headers.replace("A", value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "ä", "a\n", "\x7f", "a\tb"])
def test_no_name_but_a_field_name(name: str) -> None:
    headers = Headers()
    for change in ("add", "prepend", "replace"):
        with pytest.raises(ValueError, match="no field name"):
            CHANGES[change](headers, name, "x")
    assert bytes(headers) == b""


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nBcc: b",
        "a\nb",
        "a\rb",
        "a\r\n",
        "a\r\n ",
        "a\r\n \r\n b",
        "a\n b",
        "a\r b",
        "a\0",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\ud800",
        "a\r\n\r\nb",
        "ä\r\nBcc: b",
        "ä\r\n",
        "ä\r\n\t",
        "a\x0bb",
    ],
)
@pytest.mark.parametrize("utf8", [False, True])
def test_nothing_can_be_smuggled_into_a_value(value: str, utf8: bool) -> None:
    headers = Headers(b"A: b\r\n")
    for change in (headers.add, headers.prepend, headers.replace):
        with pytest.raises(ValueError, match="control character"):
            change("A", value, utf8=utf8)
    assert bytes(headers) == b"A: b\r\n"


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("plain text", b"plain text"),
        ("", b""),
        ("folded\r\n\tby hand", b"folded\r\n\tby hand"),
        ("[SPAM] Grüße an Jörg", b"[SPAM] =?utf-8?b?R3LDvMOfZQ==?= an =?utf-8?b?SsO2cmc=?="),
        ('"Jörg M. Böse" <j@a.example>', b"=?utf-8?b?IkrDtnJnIE0uIELDtnNlIg==?= <j@a.example>"),
        ("=?utf-8?q?=C3=A4?= is kept", b"=?utf-8?q?=C3=A4?= is kept"),
    ],
)
def test_how_values_are_written(value: str, octets: bytes) -> None:
    headers = Headers()
    headers.add("A", value)
    assert bytes(headers) == b"A: " + octets + b"\r\n"


def test_utf8_is_written_where_it_may_travel() -> None:
    headers = Headers()
    headers.add("Subject", "Grüße", utf8=True)
    headers.prepend("Received", "from a by b for <jörg@ü.example>; now")
    assert bytes(headers) == (
        "Received: from a by b for <jörg@ü.example>; now\r\nSubject: Grüße\r\n".encode()
    )


@pytest.mark.parametrize(
    "value",
    [
        "word " * 2000 + "end",
        "x" * 1500 + " y",
        "y " + "x" * 1500,
        "a" + " " * 3000 + "b",
        "a\r\n\t" + " " * 50 + "word " * 500 + "end",
        "\t".join(["ü" * 30] * 200),
    ],
)
def test_a_long_line_is_folded_at_its_blanks(value: str) -> None:
    headers = Headers()
    headers.add("X-List", value, utf8=True)
    lines = bytes(headers).split(b"\r\n")
    assert lines.pop() == b""
    assert all(line.strip() for line in lines)
    assert headers.get("x-list") == value.replace("\r\n", "")
    longest = max(len(word) for word in value.encode().split(b" "))
    assert max(len(line) for line in lines) <= max(998, longest + 902) or "   " in value


def test_the_block_may_change_while_it_is_read() -> None:
    headers = Headers(b"A: 1\r\nB: 2\r\nC: 3\r\n")
    for name, value in headers:
        headers.add(f"X-{name}", value)
        headers.remove(name)
    assert bytes(headers) == b"X-A: 1\r\nX-B: 2\r\nX-C: 3\r\n"


@pytest.mark.parametrize(
    "block",
    [
        b"".join(b"Received: from %d\r\n" % number for number in range(100_000)),
        b"Received: " + b"x" * 10_000_000 + b"\r\n",
        b"Received:" + b"\r\n x" * 2_500_000 + b"\r\n",
        b"Received: " + b"=?a?q?" * 1_000_000 + b"\r\n",
        b"Received: " + b"=?utf-8?q?a?= " * 200_000 + b"\r\n",
        b"Received: " + b"=?utf-8?b?" + b"YWJj" * 1_000_000 + b"?=\r\n",
        b"Received: " + b"\x00\xff" * 500_000 + b"\r\n",
        b"x" * 5_000_000 + b"\r\nReceived: a\r\n" + b" \t" * 2_000_000 + b"\r\n",
        b"\r\n" * 500_000,
        b"Received" + b" " * 5_000_000 + b"\r\n",
    ],
    ids=[
        "fields",
        "long",
        "folds",
        "open words",
        "words",
        "base64",
        "octets",
        "name",
        "lines",
        "blanks",
    ],
)
def test_hostile_blocks_take_linear_time(block: bytes) -> None:
    begun = time.process_time()
    headers = Headers(block)
    assert headers.count("Received") == len(headers.get_all("received"))
    headers.prepend("X", headers.get("Received") or "none")
    headers.remove("Received")
    headers.get("Received")
    assert time.process_time() - begun < 20  # a second or two; hours where it is quadratic


def test_the_representation_is_short() -> None:
    assert len(repr(Headers(BLOCK * 1000))) < 1000
