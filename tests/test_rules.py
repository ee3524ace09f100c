"""Rules: what a line matches, what it says, and that the first one counts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Address, Defer, Deny, Entries, Rule, Rules, Verdict


def rules(*lines: str, subjects: int = 1) -> Rules:
    return Rules(Entries(lines), option="rules", subjects=subjects)


def found(line: str, address: str) -> bool:
    return rules(line).find(Address.of(address)) is not None


@pytest.mark.parametrize(
    ("pattern", "matched", "spared"),
    [
        (
            "bob@example.org",
            ["bob@example.org", "Bob@EXAMPLE.org", '"bob"@example.org'],
            ["bobby@example.org", "bob@a.example.org", "<>"],
        ),
        ("<Bob@example.org>", ["bob@example.org"], ["bob@example.com"]),
        ("BOB@example.org", ["bob@example.org"], ["bo@example.org"]),
        ("JÜRGEN@example.org", ["jürgen@example.org"], ["jurgen@example.org"]),
        ('"a b"@example.org', ['"A b"@example.org'], ["a@example.org"]),
        (r'"a\" b"@example.org', [r'"a\" b"@example.org'], ['"a b"@example.org']),
        ('<"a b"@example.org>', ['"a b"@example.org'], ["a@example.org"]),
        ("/a/b@example.org", ["/a/b@example.org"], ["a@example.org"]),
        ('""@example.org', ['""@example.org'], ["bob@example.org"]),
        ("bob@[192.0.2.1]", ["bob@[192.0.2.1]"], ["bob@[192.0.2.2]"]),
        (
            "@example.org",
            ["bob@example.org", "x@Example.Org", '""@example.org'],
            ["bob@a.example.org", "<>", "<Postmaster>"],
        ),
        ("@münchen.example", ["b@xn--mnchen-3ya.example"], ["b@munchen.example"]),
        (
            ".example.org",
            ["bob@a.example.org", "bob@b.a.example.org"],
            ["bob@example.org", "bob@xexample.org"],
        ),
        ("@.example.org", ["bob@a.example.org"], ["bob@example.org"]),
        ("@[192.0.2.1]", ["bob@[192.0.2.1]"], ["bob@[192.0.2.2]"]),
        (
            "postmaster@",
            ["postmaster@a.example", "PostMaster@b.example", "<Postmaster>"],
            ["postmasters@a.example", "<>"],
        ),
        ('"a b"@', ['"a b"@example.org'], ["a@example.org"]),
        ("Postmaster", ["<postMaster>"], ["postmaster@example.org"]),
        ("<>", ["<>"], ["bob@example.org", "<Postmaster>", '""@example.org']),
        (
            r"/^bob[0-9]+@/",
            ["bob7@example.org", "BOB42@x.example"],
            ["bob@example.org", "abob7@example.org"],
        ),
        (r"/\.example$/", ["bob@x.EXAMPLE"], ["bob@x.example.org"]),
        (
            r"/@xn--mnchen-3ya\./",
            ["b@münchen.example", "b@xn--mnchen-3ya.example"],
            ["b@munchen.example"],
        ),
        (r'/^"a b"@/', ['"a b"@example.org'], ["a@example.org"]),
        (r"/^a\/b/", ["a/b@example.org"], ["a@example.org"]),
        ("/^postmaster$/", ["<Postmaster>"], ["postmaster@example.org"]),
        ("/.*/", ["bob@example.org", "<Postmaster>"], ["<>"]),
        ("/^$/", [], ["<>", "bob@example.org"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, matched: list[str], spared: list[str]) -> None:
    line = f"{pattern} deny"
    assert [one for one in matched if not found(line, one)] == []
    assert [one for one in spared if found(line, one)] == []


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("accept", Accept()),
        ("accept Bob will be glad", Accept("Bob will be glad")),
        ("deny", Deny()),
        ("deny No such user", Deny("No such user")),
        ("deny 550", Deny(code=550)),
        ("deny 5.1.1", Deny(status="5.1.1")),
        ("deny 5.1.1 No such user", Deny("No such user", status="5.1.1")),
        ("deny 553 Not you", Deny("Not you", 553)),
        ("deny  550\t5.1.1  No  user ", Deny("No  user", 550, "5.1.1")),
        ("deny 5xx is what you get", Deny("5xx is what you get")),
        ("defer", Defer()),
        ("defer 451 4.7.1 Later 5 times", Defer("Later 5 times", 451, "4.7.1")),
        ("none", None),
    ],
)
def test_what_stands_behind_a_pattern(answer: str, verdict: Verdict | None) -> None:
    line = f"@example.org {answer}"
    rule = rules(line).find(Address.of("bob@example.org"))
    assert rule is not None
    assert (rule.verdict, rule.text) == (verdict, line)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no verdict behind it: accept, deny, defer or none"),
        ("bob@example.org", "no verdict behind it: accept, deny, defer or none"),
        (
            "bob@example.org DENY",
            "'DENY' is no verdict: write accept, deny, defer or none",
        ),
        ("bob@example.org 550 No", "'550' is no verdict: write accept, deny, defer or none"),
        ("bob@example.org deny 450 No", "code 450 is no 5xx code"),
        ("bob@example.org deny 4.1.1 No", "status '4.1.1' is not of the form 5.x.x"),
        ("bob@example.org defer 550 No", "code 550 is no 4xx code"),
        (
            "bob@example.org deny 5.1.1 550 No",
            "'550' is no reply code or enhanced status here",
        ),
        ("bob@example.org deny 999 No", "'999' is no reply code or enhanced status here"),
        ("bob@example.org deny 5.1 No", "'5.1' is no reply code or enhanced status here"),
        ("bob@example.org accept 250 Yes", "'accept' takes no code or status"),
        ("bob@example.org accept 2.1.5", "'accept' takes no code or status"),
        ("bob@example.org none because", "'none' takes no text"),
        (
            "example.org deny",
            "'example.org' is no address (The domain is missing); "
            "for a domain write '@example.org', for a local part 'bob@'",
        ),
        ("@*.example.org deny", "for everything below a domain write '.example.org'"),
        ("@ deny", "no domain"),
        ("@exa_mple.org deny", "The domain is malformed"),
        (
            "b b@ deny",
            "'b' is no address (The domain is missing); "
            "for a domain write '@example.org', for a local part 'bob@'",
        ),
        ("b..b@ deny", "The local part needs quotes"),
        (
            "/(/ deny",
            "'(' is no regular expression (missing ), unterminated subpattern at position 0)",
        ),
        (
            "/a{99999999999999999999}/ deny",
            "'a{99999999999999999999}' is no regular expression "
            "(the repetition number is too large)",
        ),
    ],
)
def test_what_is_no_rule(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"option 'rules': {line!r}: {why}") + "$"):
        rules(line)


def test_the_first_rule_that_matches_counts() -> None:
    listed = rules(
        "bob@example.org accept",
        "@example.org none",
        "bob@example.org deny",
        "/^carol@/ deny 550",
        "carol@a.example defer",
        ".a.example accept",
        "carol@ deny 551",
    )
    verdicts = {
        "bob@example.org": Accept(),
        "anne@example.org": None,
        "carol@a.example": Deny(code=550),
        "bob@b.a.example": Accept(),
    }
    for address, verdict in verdicts.items():
        rule = listed.find(Address.of(address))
        assert rule is not None
        assert rule.verdict == verdict
    assert listed.find(Address.of("bob@elsewhere.example")) is None


patterns = st.sampled_from(
    ["a@x.y", "b@x.y", "@x.y", ".y", "@.x.y", "a@", "b@", "/^a/", "/x/", "@y", "<>", "/b@.*y$/"]
)
addresses = st.builds(
    Address, st.sampled_from("ab"), st.sampled_from(["y", "x.y", "z.x.y"])
) | st.just(Address("", ""))


@given(st.lists(patterns), addresses)
def test_a_rule_is_found_as_if_they_were_tried_one_by_one(
    written: list[str], address: Address
) -> None:
    lines = [f"{pattern} deny No. {number}" for number, pattern in enumerate(written)]
    one_by_one = [rule for line in lines if (rule := rules(line).find(address))]
    assert rules(*lines).find(address) == next(iter(one_by_one), None)


@given(st.lists(st.tuples(patterns, patterns)), addresses, addresses)
def test_so_is_a_rule_on_two_addresses(
    written: list[tuple[str, str]], one: Address, other: Address
) -> None:
    lines = [f"{a} {b} deny No. {number}" for number, (a, b) in enumerate(written)]
    one_by_one = [
        line
        for line, (a, b) in zip(lines, written, strict=True)
        if rules(f"{a} deny").find(one) and rules(f"{b} deny").find(other)
    ]
    rule = rules(*lines, subjects=2).find(one, other)
    assert (rule.text if rule else None) == next(iter(one_by_one), None)


@given(st.text())
def test_a_line_is_a_rule_or_a_value_error(line: str) -> None:
    try:
        listed = rules(line)
    except ValueError:
        return
    listed.find(Address.of("bob@example.org"))


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("bob@example.org", True),
        ("@example.org", True),
        (".example.org", True),
        ("Postmaster", True),
        ("bob@", False),
        ("/@example.org$/", False),
    ],
)
def test_whether_a_rule_names_domains(pattern: str, named: bool) -> None:
    seen: list[Rule] = []
    Rules(Entries([f"{pattern} accept"]), option="rules", check=seen.append)
    assert [rule.names_domains for rule in seen] == [named]


def test_a_check_refuses_rules_with_its_own_words() -> None:
    def no_accept(rule: Rule) -> None:
        if rule.outcome == "pass":
            raise ValueError("nobody is accepted here")

    with pytest.raises(ValueError, match=r"^option 'rules': 'b@ accept': nobody is accepted here$"):
        Rules(Entries(["a@ deny", "b@ accept"]), option="rules", check=no_accept)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("accept", "pass"), ("deny", "fail"), ("defer", "fail"), ("none", "neutral")],
)
def test_what_a_rule_comes_to(answer: str, outcome: str) -> None:
    rule = rules(f"bob@ {answer}").find(Address.of("bob@example.org"))
    assert rule is not None
    assert rule.outcome == outcome
