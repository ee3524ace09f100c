"""Authentication-Results: what is written can be read back, and nobody else writes ours."""

from __future__ import annotations

import re
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.authentication_results import (
    FIELD_LIMIT,
    METHOD_LIMIT,
    PROPERTY_LIMIT,
    RESULT_LIMIT,
    VALUE_LIMIT,
    authentication_results,
    claims,
    remove_claims,
)
from gatepost.encoded_word import decode_words
from gatepost.headers import Headers
from gatepost.trail import Outcome, Result

OURS = "mx.example"


# -- A reader that knows RFC 8601, 2.2, and nothing else ------------------------------------------

_FWS = re.compile(r"(?:(?:[ \t]*\r\n)?[ \t]+)?")
_COMMENT_TEXT = re.compile(r"[!-'*-\[\]-~ \t]|\\[!-~ \t]|\r\n[ \t]")
_KEYWORD = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]")
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_QUOTED = re.compile(r'"((?:[ \t!#-\[\]-~]|\\[!-~ \t])*)"')
_MAILBOX = re.compile(
    r"(?:[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~]+(?:\.[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~]+)*)?"
    r"@[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?(?:\.[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?)*"
)

Read: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass
class Reader:
    """Reads a field from left to right, or fails."""

    text: str
    place: int = 0
    comments: list[str] = field(default_factory=list)

    def read(self) -> tuple[str, list[Read]]:
        """The authserv-id, and the results."""
        self.blanks()
        server = self.value()
        results: list[Read] = []
        self.blanks()
        while self.takes(";"):
            self.blanks()
            if not results and self.text[self.place :] == "none":
                return server, []
            results.append(self.result())
        assert self.place == len(self.text), self.text[self.place :]
        assert results
        return server, results

    def result(self) -> Read:
        method = self.match(_KEYWORD)
        self.blanks()
        assert self.takes("=")
        self.blanks()
        word = self.match(_KEYWORD)
        properties: list[tuple[str, str]] = []
        while self.blanks() and self.text[self.place : self.place + 1] not in ("", ";"):
            kind = self.match(_KEYWORD)
            assert self.takes(".")
            name = self.match(_KEYWORD)
            assert self.takes("=")
            properties.append((f"{kind}.{name}", self.value()))
        return method, word, tuple(properties)

    def value(self) -> str:
        longest = max((_TOKEN, _MAILBOX), key=self.length)
        if self.length(longest):
            return self.match(longest)
        return re.sub(r"\\(.)", r"\1", self.match(_QUOTED)[1:-1])

    def blanks(self) -> bool:
        """Pass over blanks, folds and comments; whether there were any."""
        start = self.place
        self.match(_FWS)
        while self.takes("("):
            begun = self.place
            while not self.takes(")"):
                self.match(_COMMENT_TEXT)
            self.comments.append(self.text[begun : self.place - 1])
            self.match(_FWS)
        return self.place > start

    def takes(self, letter: str) -> bool:
        taken = self.text.startswith(letter, self.place)
        self.place += taken
        return taken

    def length(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.place)
        return len(match[0]) if match else 0

    def match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.place)
        assert match is not None, f"{pattern.pattern} is not {self.text[self.place :]!r}"
        self.place = match.end()
        return match[0]


def read(value: str) -> tuple[str, list[Read]]:
    return Reader(value).read()


# -- What is written ------------------------------------------------------------------------------


def test_a_field() -> None:
    results = [
        Result("authentication", "pass", "SCRAM-SHA-256", "auth", "", (("smtp.auth", "anne"),)),
        Result("karma", "fail", "no method, so none of its business"),
        Result(
            "spf",
            "fail",
            "192.0.2.1 may not",
            "spf",
            "softfail",
            (("smtp.mailfrom", "anne@client.example"), ("smtp.helo", "client.example")),
        ),
        Result("iprev", "pass", "", "iprev", "", (("policy.iprev", "2001:db8::1"),)),
        Result("dkim", "error", "", "dkim", "", (("header.i", "@client.example"),)),
        Result("arc", "skip", "", "arc"),
    ]
    assert authentication_results(OURS, results) == (
        "mx.example;"
        "\r\n\tauth=pass (SCRAM-SHA-256) smtp.auth=anne;"
        "\r\n\tspf=softfail (192.0.2.1 may not) smtp.mailfrom=anne@client.example"
        "\r\n\tsmtp.helo=client.example;"
        '\r\n\tiprev=pass policy.iprev="2001:db8::1";'
        "\r\n\tdkim=temperror header.i=@client.example;"
        "\r\n\tarc=none"
    )


@pytest.mark.parametrize("results", [[], [Result("karma", "pass", "text")]])
def test_nothing_was_found_out(results: list[Result]) -> None:
    assert authentication_results(OURS, results) == "mx.example; none"


def written(value: str) -> str:
    """How a value of a property is written."""
    field = authentication_results(OURS, [Result("x", "pass", "", "x", "", (("smtp.x", value),))])
    return field.removeprefix("mx.example;\r\n\tx=pass").lstrip().removeprefix("smtp.x=")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("anne", "anne"),
        ("anne@client.example", "anne@client.example"),
        ("SRS0=ab/c=9z=a.example=anne@b.example", "SRS0=ab/c=9z=a.example=anne@b.example"),
        ("@client.example", "@client.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", '"2001:db8::1"'),
        ("", '""'),
        ("two words", '"two words"'),
        ("a..b@c.example", '"a..b@c.example"'),
        ("anne@-.example", '"anne@-.example"'),
        ("anne@", '"anne@"'),
        ("a=b", '"a=b"'),
        # What could end a value or the field, or begin something in it, is not there any more.
        ("x; dmarc=pass", '"x? dmarc=pass"'),
        ('x" ; dmarc=pass', '"x? ? dmarc=pass"'),
        ("x\\", '"x?"'),
        ("x (y)", '"x ?y?"'),
        ("x\r\nFrom: y", '"x??From: y"'),
        ("x\r\n dmarc=pass", '"x?? dmarc=pass"'),
        ("x\ny\rz\0\x7f\x1b[1m", '"x?y?z???[1m"'),
        ("jörg@bücher.example", '"j?rg@b?cher.example"'),
        ("\u2028\ud800\U0001f600", '"???"'),
        ("=?utf-8?q?=3Bdmarc=3Dpass?=@a.example", '"??utf-8?q?=3Bdmarc=3Dpass?=@a.example"'),
        ("==?utf-8?q?=3B?=", '"??utf-8?q?=3B?="'),
        ("=;utf-8;q;=3B;=", '"??utf-8?q?=3B?="'),
        ("?utf-8?q?=3Bdmarc=3Dpass?=@a.example", '"?utf-8?q?=3Bdmarc=3Dpass?=@a.example"'),
    ],
)
def test_values(value: str, text: str) -> None:
    assert written(value) == text


def test_a_long_value_is_cut_so_that_it_names_nobody_else() -> None:
    fits = "a" * (VALUE_LIMIT - 8) + ".example"
    assert written(fits) == fits
    cut = written(fits + ".evil.example")
    assert cut == fits[: VALUE_LIMIT - 3] + "..."


def test_names_are_made_keywords() -> None:
    result = Result("x", "pass", "", "my check/1;", "well\r\n", (("a b.c=", "v"), ("mood", "w")))
    field = authentication_results(OURS, [result])
    assert read(field) == (OURS, [("my-check-1", "well", (("a-b.c", "v"), ("policy.mood", "w")))])
    empty = authentication_results(OURS, [Result("x", "pass", "", "--", "-", ((".", "v"),))])
    assert read(empty) == (OURS, [("unknown", "unknown", (("policy.unknown", "v"),))])


def test_there_is_an_end_to_it_and_many_signatures_leave_room_for_the_rest() -> None:
    flood = [Result("dkim", "fail", "x" * 5000, "dkim")] * 1000
    flood.append(Result("dmarc", "fail", "", "dmarc", "", (("header.from", "a"),) * 50))
    flood += [Result("x", "pass", "", f"x{number}") for number in range(200)]
    _, results = read(authentication_results(OURS, flood))
    methods = [method for method, _, _ in results]
    assert methods[: METHOD_LIMIT + 1] == ["dkim"] * METHOD_LIMIT + ["dmarc"]
    assert len(results) == RESULT_LIMIT
    assert len(results[METHOD_LIMIT][2]) == PROPERTY_LIMIT


KEYWORDS = st.text("abXY09", min_size=1, max_size=9)
#: Values of every kind: harmless, hostile, and of octets that have no business there.
FOREIGN = st.one_of(
    st.text('ab.@-=?;"\\() \t\r\nß\0', max_size=30),
    st.text(max_size=30),
    st.text("ab", min_size=VALUE_LIMIT - 1, max_size=VALUE_LIMIT + 2),
    st.builds("{}@{}.example".format, KEYWORDS, KEYWORDS),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(["pass", "fail", "neutral", "error", "skip"])
PROPERTIES = st.lists(st.tuples(st.builds("{}.{}".format, KEYWORDS, KEYWORDS), FOREIGN), max_size=3)
RESULTS = st.builds(
    Result,
    st.just("plugin"),
    OUTCOMES,
    FOREIGN,
    st.just("") | KEYWORDS,
    st.just("") | KEYWORDS,
    PROPERTIES.map(tuple),
)


def as_told(value: str) -> str:
    """A value as the field tells it, by the docstring's words."""
    if len(value) > VALUE_LIMIT:
        value = value[: VALUE_LIMIT - 3] + "..."
    told = "".join(
        "?" if letter in ';"\\()' or not " " <= letter <= "~" else letter for letter in value
    )
    return re.sub(r"=+\?", "??", told)


@given(st.lists(RESULTS, max_size=3))
def test_any_results_make_a_field_that_reads_back(results: list[Result]) -> None:
    value = authentication_results(OURS, results)
    words = {"error": "temperror", "skip": "none"}
    assert read(value) == (
        OURS,
        [
            (
                result.method,
                result.word or words.get(result.outcome, result.outcome),
                tuple((name, as_told(value)) for name, value in result.properties),
            )
            for result in results
            if result.method
        ],
    )
    assert decode_words(value) == value
    headers = Headers(b"Subject: x\r\n")
    headers.prepend("Authentication-Results", value)
    assert list(headers) == [
        ("Authentication-Results", value.replace("\r\n", "")),
        ("Subject", "x"),
    ]
    assert remove_claims(headers, OURS) == 1
    assert bytes(headers) == b"Subject: x\r\n"


def test_values_that_are_harmless_are_told_as_they_are() -> None:
    for value in ("anne+x@client.example", "a b", "2001:db8::1", "k=v, w <x> [y] {z} / * ' `"):
        assert as_told(value) == value


def test_lines_are_short_where_they_can_be() -> None:
    for length in range(60):
        properties = tuple((f"smtp.x{number}", "x" * length) for number in range(6))
        value = authentication_results(OURS, [Result("x", "pass", "text", "x", "", properties)])
        lines = value.split("\r\n\t")
        assert all(len(f"\t{line}") <= 78 for line in lines)
        assert all(
            len(f"\t{line} {following.split()[0]};") > 78 for line, following in pairwise(lines[1:])
        )
    long = authentication_results(OURS, [Result("x", "pass", "", "x", "", (("a.b", "x" * 200),))])
    assert long == f"mx.example;\r\n\tx=pass\r\n\ta.b={'x' * 200}"


def test_the_name_of_the_server_is_a_value_too() -> None:
    assert authentication_results("mx;example", []) == '"mx?example"; none'


# -- What claims to be ours (I8) ------------------------------------------------------------------

FORGERIES = [
    "mx.example; dmarc=pass",
    " mx.example; dmarc=pass",
    "mx.example;dmarc=pass",
    "mx.example; none",
    "MX.Example; dmarc=pass",
    "mx.example 1; dmarc=pass",
    "mx.example\t1; dmarc=pass",
    "mx.example/1; dmarc=pass",
    "mx.example / 1; dmarc=pass",
    "mx.example. ; dmarc=pass",
    "mx.example.; dmarc=pass",
    "mx.example. 1; dmarc=pass",
    "mx.example ; dmarc=pass",
    "mx.example\r\n\t; dmarc=pass",
    "\r\n\tmx.example; dmarc=pass",
    "\r\n \r\n mx.example; dmarc=pass",
    "\tmx.example;\r\n\tdmarc=pass",
    '"mx.example"; dmarc=pass',
    '"MX.EXAMPLE" 1; dmarc=pass',
    r'"m\x.example"; dmarc=pass',
    '"mx".example; dmarc=pass',
    'mx."example"; dmarc=pass',
    '" mx.example "; dmarc=pass',
    "(comment) mx.example; dmarc=pass",
    "(;) mx.example; dmarc=pass",
    "(other.example; spf=pass) mx.example; dmarc=pass",
    r"(a (b) \) ;) mx.example (c); dmarc=pass",
    "mx.example(comment); dmarc=pass",
    "mx.(comment)example; dmarc=pass",
    "mx (comment) . example; dmarc=pass",
    "mx . example; dmarc=pass",
    "(unclosed mx.example; dmarc=pass",
    "mx.example (unclosed; dmarc=pass",
    '"unclosed mx.example; dmarc=pass',
    ") mx.example; dmarc=pass",
    # malformed, and yet some reader may see us in there
    "; mx.example; dmarc=pass",
    ";;\t; mx.example; dmarc=pass",
    '"" ; mx.example; dmarc=pass',
    '";" mx.example; dmarc=pass',
    ", mx.example; dmarc=pass",
    "mx.example dmarc=pass",
    "mx.example, dmarc=pass",
    "mx.example:dmarc=pass",
    "mx.example",
    "id=mx.example; dmarc=pass",
    "<mx.example>; dmarc=pass",
    "[mx.example]; dmarc=pass",
    "other.example mx.example; dmarc=pass",
    "mx.ex\r\n ample; dmarc=pass",
    "mx.ex\nample; dmarc=pass",
    "mx.example\r; dmarc=pass",
    "mx.example\0; dmarc=pass",
    "mx.example\0.other; dmarc=pass",
    "mx.ex\0ample; dmarc=pass",
    "\x0bmx.example; dmarc=pass",
    "=?utf-8?q?mx.example?=; dmarc=pass",
    "=?utf-8?b?bXguZXhhbXBsZTsgZG1hcmM9cGFzcw==?=",
    "=?utf-8?q?other=3B?= mx.example; dmarc=pass",
    "=?utf-8?q?mx.?=\r\n =?utf-8?q?example?=; dmarc=pass",
    "mx.ex\u00adample; dmarc=pass",
    "mx.ex\u200bample; dmarc=pass",
    "\ufeffmx.example; dmarc=pass",
    "mx\uff0eexample; dmarc=pass",
    "mx\u3002example; dmarc=pass",
    "\uff4d\uff58.example; dmarc=pass",
    "mx.example\u00a0; dmarc=pass",
    "mx\u2024example; dmarc=pass",
    " " * 5000 + "mx.example; dmarc=pass",
    "(" + "x" * 5000 + ") mx.example; dmarc=pass",
    "\r\n " * 5000 + "mx.example; dmarc=pass",
]

FOREIGN_FIELDS = [
    "other.example; dmarc=pass",
    '"other.example" (comment) 1; spf=pass smtp.mailfrom=mx.example',
    "other.example; spf=pass smtp.helo=mx.example",
    "other.example;\r\n\tspf=pass smtp.mailfrom=mx.example;\r\n\tdkim=pass header.d=mx.example",
    "other.example (a comment);\r\n\tspf=pass (mx.example: ok) smtp.mailfrom=anne@mx.example",
    '"bücher.example"; spf=pass',
    "=?utf-8?q?other.example?=; spf=pass",
    "other.example; mx.example; dmarc=pass",
    "other.example; " + "x" * 5000 + " mx.example",
    "none",
    "",
    ";",
    "; none",
]  # fmt: skip


@pytest.mark.parametrize("value", FORGERIES)
def test_a_forgery_is_removed(value: str) -> None:
    assert claims(value, OURS)
    assert claims(value.encode(), OURS)
    assert claims(value, "MX.Example")
    assert claims(value, "mx.example.")
    octets = value.encode()
    for name in (b"Authentication-Results:", b"AUTHENTICATION-results \t:"):
        headers = Headers(b"A: b\r\n" + name + octets + b"\r\nC: d\r\n")
        assert remove_claims(headers, OURS) == 1
        assert bytes(headers) == b"A: b\r\nC: d\r\n"


NOT_OUR_NAMES = [
    "other.example",
    "mail.mx.example",
    "mx.example.org",
    "xmx.example",
    "my-mx.example",
    "mx.example-1",
    "mx.example1",
    "mx-example",
    "mx",
    "example",
    "mxexample",
    "mx.exam",
    "x.example",
    "mx..example",
    "bücher.example",
    "mx.exämple",
]


@pytest.mark.parametrize("name", NOT_OUR_NAMES)
@pytest.mark.parametrize("form", ["{}; none", "(comment) {}; none", '"{}" 1 ; none', "{}/1; none"])
def test_names_that_only_look_like_ours(form: str, name: str) -> None:
    assert not claims(form.format(name), OURS)
    assert not claims(form.format(name.upper()), OURS)


@pytest.mark.parametrize("value", FOREIGN_FIELDS)
def test_what_is_not_ours_stays_octet_for_octet(value: str) -> None:
    assert not claims(value, OURS)
    block = b"A: b\r\nAuthentication-Results:" + value.encode() + b"\r\nC: d\r\n"
    headers = Headers(block)
    assert remove_claims(headers, OURS) == 0
    assert bytes(headers) == block


@pytest.mark.parametrize(
    ("authserv_id", "value", "claimed"),
    [
        ("bücher.example", "bücher.example; none", True),
        ("bücher.example", "BÜCHER.example; none", True),
        ("bücher.example", "xn--bcher-kva.example; none", True),
        ("xn--bcher-kva.example", "bücher.example; none", True),
        ("bücher.example", "bucher.example; none", False),
        ("our-id", "Our-Id; none", True),
        ("our-id", "our-id/1; none", True),
        ("our-id", "id; none", False),
        ("two words", '"Two Words"; none', True),
        ("two words", "two; none", False),
        ("example.org/mx1", "example.org/mx1; none", True),
        ("example.org/mx1", "example.org; none", False),
    ],
)
def test_other_names_that_we_may_have(authserv_id: str, value: str, claimed: bool) -> None:
    assert claims(value, authserv_id) == claimed


def test_only_the_forgeries_of_several_are_removed() -> None:
    headers = Headers(
        b"Authentication-Results: other.example; spf=pass\r\n"
        b"Authentication-Results: mx.example;\r\n\tspf=pass\r\n"
        b"X-Authentication-Results: mx.example; spf=pass\r\n"
        b"ARC-Authentication-Results: i=1; mx.example; spf=pass\r\n"
        b"authentication-results: (x) MX.EXAMPLE; spf=pass\r\n"
        b"Subject: Authentication-Results: mx.example; spf=pass\r\n"
    )
    assert remove_claims(headers, OURS) == 2
    assert bytes(headers) == (
        b"Authentication-Results: other.example; spf=pass\r\n"
        b"X-Authentication-Results: mx.example; spf=pass\r\n"
        b"ARC-Authentication-Results: i=1; mx.example; spf=pass\r\n"
        b"Subject: Authentication-Results: mx.example; spf=pass\r\n"
    )
    assert remove_claims(headers, OURS) == 0


def test_of_many_that_could_claim_to_be_ours_some_are_read_and_the_others_removed() -> None:
    foreign = b"Authentication-Results: other%d.example; spf=pass\r\n"
    fields = [foreign % number for number in range(FIELD_LIMIT + 5)]
    headers = Headers(b"A: b\r\n" + b"".join(fields) + b"C: d\r\n")
    assert remove_claims(headers, OURS) == 5
    assert bytes(headers) == b"A: b\r\n" + b"".join(fields[:FIELD_LIMIT]) + b"C: d\r\n"


BLANKS = st.sampled_from(
    ["", " ", "\t", "\r\n ", "(a;b)", '(")', "((x) y)", "\\", '"', "\0", "\u200b"]
)


def _letters(name: str) -> st.SearchStrategy[str]:
    """A name with things between its letters that some reader leaves out, in any case."""
    spelled = [st.sampled_from([letter, letter.upper(), f"\\{letter}"]) for letter in name]
    return st.tuples(*spelled).map("".join)


@given(
    st.lists(BLANKS).map("".join),
    _letters(OURS),
    BLANKS,
    st.sampled_from([";", " 1;", "/1 ;", ".;", ""]),
)
def test_whatever_stands_around_it(before: str, name: str, after: str, end: str) -> None:
    assert claims(f"{before}{name}{after}{end} dmarc=pass", OURS)


@given(st.text() | st.binary(), st.text(min_size=1).filter(str.strip))
def test_nothing_is_raised(value: str | bytes, authserv_id: str) -> None:
    claims(value, authserv_id)


@given(st.from_regex(r"\A[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){1,3}\Z"))
def test_names_claim_themselves_and_no_other(name: str) -> None:
    assert claims(f"{name}; none", name)
    assert claims(f'(c) "{name.upper()}" 1; none', name)
    assert not claims(f'(c) "x{name}" 1; none', name)
    assert not claims(f"x{name}; none", name)


def seconds(work: Callable[[], object]) -> float:
    """What it takes, at best of some times."""
    return min(timeit.repeat(work, number=20, repeat=20))


def test_a_header_without_such_a_field_costs_next_to_nothing() -> None:
    block = b"".join(b"X-Field-%d: some words of a usual length\r\n" % n for n in range(50))
    searched = seconds(lambda: remove_claims(Headers(block), OURS))  # two microseconds each
    taken_apart = seconds(lambda: len(Headers(block)))
    assert searched < taken_apart / 3


@pytest.mark.parametrize(
    "value",
    [
        b"(" * 1_000_000,
        b"(x)" * 300_000,
        b";" * 1_000_000,
        b" " * 1_000_000,
        b"\r\n " * 300_000,
        b". " * 500_000,
        b"=?utf-8?q?" * 100_000,
        b"=?utf-8?q?a?= " * 70_000,
        b"\\" * 1_000_000,
        b'"x" (y) ;\r\nAuthentication-Results: ' * 25_000,
    ],
)
def test_hostile_fields_take_linear_time(value: bytes) -> None:
    begun = time.process_time()
    remove_claims(Headers(b"Authentication-Results: " + value + b"\r\n"), OURS)
    assert time.process_time() - begun < 10  # the last one takes a second
