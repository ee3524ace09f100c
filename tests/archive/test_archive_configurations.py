"""What is told of plugins and their options, and what is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gatepost import Address, Entries, Plugin, Session
from gatepost.archive.configurations import configuration_of, spelled
from gatepost.hooks.placement import Placement


@dataclass(frozen=True)
class Rule:
    what: str
    weight: int = 1
    key: str = field(default="", repr=False)


@dataclass
class Checks(Plugin):
    zones: Entries | Iterable[str]
    wait: float = 5.0
    path: Path | None = None
    url: str = field(default="", repr=False)
    rules: tuple[Rule, ...] = ()
    own: int = field(init=False, default=7)

    def __post_init__(self) -> None:
        self.zones = Entries.of(self.zones)

    def connect(self, session: Session) -> None:
        return None

    def disconnect(self, session: Session) -> None:
        return None


def told(plugin: Plugin, **placement: object) -> dict[str, str]:
    (placed,) = configuration_of([(plugin, Placement("checks", **placement))])  # type: ignore[arg-type]  # keys of the table
    return placed.options


def test_options_that_say_other_than_their_defaults_are_told() -> None:
    assert told(Checks(zones=["a.example"], wait=5.0)) == {"zones": '["a.example"]'}
    assert told(Checks(zones=[], wait=2)) == {"zones": "[]", "wait": "2"}


def test_secrets_are_not_told() -> None:
    plugin = Checks(zones=[], url="https://secret.example", rules=(Rule("x", key="secret"),))
    assert "secret" not in str(configuration_of([(plugin, Placement("checks"))]))
    assert told(plugin)["rules"] == '[{ what = "x" }]'


def test_a_plugin_without_options_has_none() -> None:
    assert told(Plugin()) == {}


def test_the_place_is_told_beside_the_options() -> None:
    placement = Placement(
        "checks", "strict", mode="later", unless=("relay",), listeners=("mx",), on_error="ignore"
    )
    (placed,) = configuration_of([(Checks(zones=[]), placement)])
    assert (placed.name, placed.use) == ("strict", "checks")
    assert placed.placement == {
        "mode": '"later"',
        "unless": '["relay"]',
        "listeners": '["mx"]',
        "on_error": '"ignore"',
    }
    assert placed.hooks == ("connect",)
    assert (placed.unless, placed.listeners, placed.may_fail) == (("relay",), ("mx",), True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3"),
        (2.5, "2.5"),
        (None, "unset"),
        ('a "b"', r'"a \"b\""'),
        (Path("/var/mail"), '"/var/mail"'),
        (re.compile("^a+$"), '"^a+$"'),
        (Address.of("<bob@example.org>"), '"bob@example.org"'),
        (("a", 1), '["a", 1]'),
        ({"b", "a"}, '["a", "b"]'),
        ({"host": "a", "port": 1}, '{ host = "a", port = 1 }'),
        ({}, "{}"),
        (Rule("a", 2), '{ what = "a", weight = 2 }'),
        ("bücher", '"bücher"'),
        ("postgres://anne:secret@db.example/mail", '"postgres://***@db.example/mail"'),
        ("a@b //c@d/e@f", '"a@b //***@d/e@f"'),
    ],
)
def test_a_value_is_told_as_toml_spells_it(value: object, text: str) -> None:
    assert spelled(value) == text


def test_of_what_is_long_the_beginning_is_told() -> None:
    numbers = [str(number) for number in range(1000)]
    assert spelled(Entries(numbers)) == '["0", "1", "2", "3", "4", and 995 more]'
    assert spelled(tuple(numbers)) == spelled(Entries(numbers))
    assert spelled(set(numbers)).endswith("and 995 more]")
    assert spelled(dict.fromkeys(numbers, 1)).endswith("4 = 1, and more }")
    assert len(spelled("x" * 1000)) == 202
