"""What a bearer token must say of itself: standards.md I5, and RFC 8725."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import BadToken, TokenRules

NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {
    "iss": "https://id.example",
    "aud": "mail",
    "exp": NOW + 300,
    "email": "anne@example.org",
}
RULES = TokenRules(("mail",), "https://id.example")


def user_of(rules: TokenRules = RULES, *, named: str = "", **claims: Any) -> str:
    """The user of a token that is good but for some claims; None takes one away."""
    told = {name: value for name, value in (GOOD | claims).items() if value is not None}
    return rules.user_of(told, named=named, now=NOW)


def test_a_good_token_names_its_user() -> None:
    assert user_of() == "anne@example.org"


# fmt: off
BAD: list[tuple[dict[str, Any], str]] = [
    ({"exp": NOW - 31},                        "expired"),
    ({"exp": NOW - 30},                        "expired"),
    ({"exp": None},                            "expired"),
    ({"exp": str(NOW + 300)},                  "expired"),
    ({"exp": math.nan},                        "expired"),
    ({"exp": True},                            "expired"),
    ({"exp": [NOW + 300]},                     "expired"),
    ({"nbf": NOW + 31},                        "not valid yet"),
    ({"nbf": "tomorrow"},                      "not valid yet"),
    ({"nbf": math.nan},                        "not valid yet"),
    ({"iss": None},                            "somebody else issued"),
    ({"iss": "https://id.example/"},           "somebody else issued"),
    ({"iss": "https://evil.example"},          "somebody else issued"),
    ({"iss": ["https://id.example"]},          "somebody else issued"),
    ({"aud": None},                            "for somebody else"),
    ({"aud": "calendar"},                      "for somebody else"),
    ({"aud": "mail calendar"},                 "for somebody else"),
    ({"aud": ["calendar", "mailbox"]},         "for somebody else"),
    ({"aud": []},                              "for somebody else"),
    ({"aud": {"mail": 1}},                     "for somebody else"),
    ({"aud": [["mail"]]},                      "for somebody else"),
    ({"email": None},                          "names no user"),
    ({"email": ""},                            "names no user"),
    ({"email": ["anne@example.org"]},          "names no user"),
    ({"email": "anne\r\n@example.org"},        "names no user"),
    ({"email": "anne\x01@example.org"},        "names no user"),
    ({"email": "\u00ad"},                      "names no user"),
    ({"email": "a\ufffe"},                     "names no user"),
    ({"email": "x" * 321},                     "names no user"),
    ({"email_verified": False},                "not verified"),
    ({"email_verified": "false"},              "not verified"),
    ({"email_verified": 0},                    "not verified"),
]
# fmt: on


@pytest.mark.parametrize(("claims", "words"), BAD)
def test_what_a_token_must_not_say(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(BadToken, match=words):
        user_of(**claims)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - 29},
        {"exp": 10**400},
        {"exp": math.inf},
        {"nbf": NOW + 30},
        {"nbf": 0},
        {"aud": ["calendar", "mail"]},
        {"aud": [7, "mail"]},
        {"email_verified": True},
        {"email_verified": "true"},
        {"scope": "anything"},
    ],
)
def test_what_a_token_may_say(claims: dict[str, Any]) -> None:
    assert user_of(**claims) == "anne@example.org"


def test_one_of_several_audiences_will_do() -> None:
    assert user_of(TokenRules(("mail", "smtp"), ""), aud="smtp", iss=None)


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"scope": "openid mail.send offline"}, True),
        ({"scope": "openid mail.sender"}, False),
        ({"scope": ["openid", "mail.send offline"]}, True),
        ({"scp": "mail.send offline"}, True),
        ({"scp": ["offline", "mail.send"]}, True),
        ({"scope": "mail.send"}, False),
        ({"scope": "", "scp": "mail.send offline"}, False),
        ({"scope": {"mail.send": 1, "offline": 1}}, False),
        ({}, False),
    ],
)
def test_the_scope_must_hold_every_word(claims: dict[str, Any], good: bool) -> None:
    rules = TokenRules(("mail",), "https://id.example", scope="mail.send offline")
    if good:
        assert user_of(rules, **claims)
    else:
        with pytest.raises(BadToken, match="scope"):
            user_of(rules, **claims)


def test_another_claim_may_be_the_name() -> None:
    rules = TokenRules(("mail",), "https://id.example", user_claim="preferred_username")
    assert user_of(rules, preferred_username="anne", email_verified=False) == "anne"
    with pytest.raises(BadToken, match="names no user"):
        user_of(rules)


@pytest.mark.parametrize(
    ("named", "email"),
    [
        ("anne@example.org", "anne@example.org"),
        ("ANNE@Example.ORG", "Anne@example.org"),
        ("Straße@example.org", "STRASSE@example.org"),
        ("bo\u0308b@example.org", "b\u00f6b@example.org"),
        ("", "whoever@example.org"),
    ],
)
def test_the_client_may_name_the_same_user(named: str, email: str) -> None:
    assert user_of(named=named, email=email) == email


@pytest.mark.parametrize(
    "named",
    ["bob@example.org", "anne", "anne@example.org ", "anne@example.org\x01", " ",
     "anne@example.org.evil",
     "a\ufffenne@example.org"],
)  # fmt: skip
def test_the_client_must_not_name_another(named: str) -> None:
    with pytest.raises(BadToken, match="named"):
        user_of(named=named)


def test_the_name_has_the_form_of_saslprep() -> None:
    assert user_of(email="bo\u0308b@example.org") == "b\u00f6b@example.org"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "nbf", "scope", "scp", "email_verified"]), JSON))
def test_whatever_a_token_says_it_is_good_or_bad(claims: dict[str, Any]) -> None:
    rules = TokenRules(("mail",), "https://id.example", scope="mail")
    told = json.loads(json.dumps(GOOD | {"scope": "mail"} | claims))
    try:
        user = rules.user_of(told, named="anne@example.org", now=NOW)
    except BadToken:
        return
    assert user.casefold() == "anne@example.org"
    assert told["iss"] == "https://id.example"
    assert told["exp"] > NOW - 30
