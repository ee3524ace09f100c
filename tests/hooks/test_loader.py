"""How a plugin is found, built from its table, and what is said about everything that is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from importlib import metadata
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Address, Entries, Plugin
from gatepost.hooks import finder
from gatepost.hooks.loader import (
    Complaint,
    Loaded,
    LoadError,
    Option,
    available_plugins,
    bundled_plugins,
    find_plugin,
    load,
    options_of,
)
from gatepost.hooks.loader_declared import declared_options
from gatepost.hooks.loader_values import fill
from gatepost.hooks.placement import Placement

HEAD = """
from __future__ import annotations
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Literal
from gatepost import Address, Deny, Entries, Plugin
"""

DNSBL = """
@dataclass
class Dnsbl(Plugin):
    zones: tuple[str, ...]
    wait: float = 5.0
    most: int = 3
    quiet: bool = False
    outcome: Literal["deny", "defer"] = "deny"

    def __post_init__(self) -> None:
        if self.wait < 0:
            raise ValueError("option 'wait' must not be negative")
"""

WriteFile = Callable[..., Path]
Tell = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Writes a plugin's file, below the usual imports."""

    def write_file(name: str, source: str, *, head: str = HEAD) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + dedent(source))
        return path

    return write_file


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Loaded]:
    """Loads a table that has nothing wrong."""

    def build(**table: object) -> Loaded:
        outcome = load(table, directory=tmp_path, directories=[tmp_path])
        assert isinstance(outcome, Loaded), outcome
        return outcome

    return build


@pytest.fixture
def told(tmp_path: Path) -> Tell:
    """What is said about a table that has something wrong."""

    def tell(**table: object) -> list[str]:
        outcome = load(table, directory=tmp_path, directories=[tmp_path])
        assert isinstance(outcome, list), outcome
        return [complaint.text for complaint in outcome]

    return tell


# -- Finding --------------------------------------------------------------------------------------


def test_a_file_in_a_directory_is_found(write: WriteFile, tmp_path: Path) -> None:
    write("no_sales.py", "class NoSales(Plugin): ...")
    kind = find_plugin("no_sales", [tmp_path])
    assert kind.__name__ == "NoSales"
    assert find_plugin("no_sales", [tmp_path]) is kind
    assert not (tmp_path / "__pycache__").exists()


def test_a_changed_file_is_imported_anew(write: WriteFile, tmp_path: Path) -> None:
    write("rules.py", "class Before(Plugin): ...")
    assert find_plugin("rules", [tmp_path]).__name__ == "Before"
    write("rules.py", "class Afterwards(Plugin): ...")
    assert find_plugin("rules", [tmp_path]).__name__ == "Afterwards"


def test_the_first_directory_wins(write: WriteFile, tmp_path: Path) -> None:
    write("one/rules.py", "class One(Plugin): ...")
    write("two/rules.py", "class Two(Plugin): ...")
    assert find_plugin("rules", [tmp_path / "two", tmp_path / "one"]).__name__ == "Two"


def test_a_class_in_an_importable_module(
    write: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("ours/__init__.py", "", head="")
    write("ours/rules.py", "class One(Plugin): ...\nclass Two(Plugin): ...")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_plugin("ours.rules:Two", []).__name__ == "Two"
    for name in ("ours.rules", "ours"):
        monkeypatch.delitem(sys.modules, name)


def test_one_of_several_classes_of_a_file(write: WriteFile, tmp_path: Path) -> None:
    write("rules.py", "class One(Plugin): ...\nclass Two(Plugin): ...")
    assert find_plugin("rules:Two", [tmp_path]).__name__ == "Two"


def test_private_and_imported_classes_do_not_count(write: WriteFile, tmp_path: Path) -> None:
    write("rules.py", "class _Shared(Plugin): ...\nclass One(_Shared): ...\nAlias = One\n")
    assert find_plugin("rules", [tmp_path]).__name__ == "One"


@pytest.fixture
def bundled(write: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of plugins in the bundled ones' place."""
    package = tmp_path / "house" / "bundle"
    write("house/bundle/__init__.py", "", head="")
    write("house/bundle/_shared.py", "raise RuntimeError", head="")
    write("house/bundle/domains.py", "class Domains(Plugin): ...")
    write("house/bundle/queue/__init__.py", "", head="")
    write("house/bundle/queue/maildir.py", "class Maildir(Plugin): ...")
    write("house/bundle/queue/broken.py", "raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(tmp_path / "house")
    monkeypatch.setattr(finder, "PLUGINS", "bundle")
    for name in [name for name in sys.modules if name.partition(".")[0] == "bundle"]:
        monkeypatch.delitem(sys.modules, name)
    return package


def test_bundled_plugins_are_listed_without_being_imported(bundled: Path) -> None:
    assert bundled_plugins() == {
        "domains": "bundle.domains",
        "broken": "bundle.queue.broken",
        "maildir": "bundle.queue.maildir",
    }
    assert "bundle.domains" not in sys.modules
    assert "bundle.queue" not in sys.modules


def test_a_bundled_plugin_is_found_in_a_sub_folder(bundled: Path) -> None:
    assert find_plugin("maildir", []).__name__ == "Maildir"


def test_a_file_must_not_hide_behind_a_bundled_plugin(
    bundled: Path, write: WriteFile, tmp_path: Path
) -> None:
    path = write("domains.py", "class Domains(Plugin): ...")
    with pytest.raises(LoadError) as error:
        find_plugin("domains", [tmp_path])
    assert str(error.value) == (
        f"domains is a bundled plugin and the file {path}: give the file another name"
    )


def test_all_plugins_and_where_they_come_from(
    bundled: Path, write: WriteFile, tmp_path: Path
) -> None:
    write("mine/rules.py", "raise RuntimeError")
    write("mine/_shared.py", "raise RuntimeError")
    available = available_plugins([tmp_path / "mine"])
    assert available["domains"] == "bundled"
    assert available["rules"] == str(tmp_path / "mine" / "rules.py")
    assert "_shared" not in available


def test_the_bundled_plugins_can_be_listed() -> None:
    for name, module in bundled_plugins().items():
        assert module.startswith("gatepost.plugins.")
        assert module.endswith(f".{name}")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a package with entry points."""

    def install(points: str) -> None:
        site = tmp_path / "site"
        directory = site / "others-1.0.dist-info"
        directory.mkdir(parents=True)
        (directory / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        (directory / "entry_points.txt").write_text(f"[gatepost.plugins]\n{points}\n")
        (site / "others_plugins.py").write_text(
            "from gatepost import Plugin\nclass Theirs(Plugin): ...\nnothing = 5\n"
        )
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "others_plugins", raising=False)

    return install


@pytest.mark.parametrize("value", ["others_plugins:Theirs", "others_plugins"])
def test_an_entry_point_is_found(installed: Callable[[str], None], value: str) -> None:
    installed(f"theirs = {value}")
    assert find_plugin("theirs", []).__name__ == "Theirs"
    assert available_plugins([])["theirs"] == f"installed ({value})"


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("others_plugins:nothing", "theirs: theirs is no class that derives from Plugin"),
        ("others_plugin", "theirs needs the module others_plugin, which is not installed"),
    ],
)
def test_a_bad_entry_point(installed: Callable[[str], None], value: str, complaint: str) -> None:
    installed(f"theirs = {value}")
    with pytest.raises(LoadError) as error:
        find_plugin("theirs", [])
    assert str(error.value) == complaint


@pytest.mark.parametrize(
    "name",
    [
        "../rules",
        "/etc/rules",
        "a/b",
        "a..b",
        "..",
        ".rules",
        "",
        "a b",
        "rules\0",
        "rules\n",
        "rüles",
        "a:b:c",
        "a:",
        ":b",
        "~x",
        "a\\b",
    ],
)
def test_a_name_is_no_path(name: str, write: WriteFile, tmp_path: Path) -> None:
    write("rules.py", "class Rules(Plugin): ...")
    with pytest.raises(LoadError, match="is no plugin's name"):
        find_plugin(name, [tmp_path / "plugins"])


@given(st.text())
def test_any_name_is_found_or_refused(name: str) -> None:
    with pytest.raises(LoadError):
        find_plugin(f"no-such-{name}", [Path("/nonexistent")])


def test_an_unknown_name_gets_a_suggestion(write: WriteFile, tmp_path: Path) -> None:
    write("no_sales.py", "class NoSales(Plugin): ...")
    with pytest.raises(LoadError) as error:
        find_plugin("no_sale", [tmp_path])
    assert str(error.value) == "no plugin 'no_sale', did you mean 'no_sales'?"
    with pytest.raises(LoadError) as error:
        find_plugin("zzzzzzzz", [tmp_path])
    assert str(error.value) == "no plugin 'zzzzzzzz'; `gatepost plugins` lists those that there are"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import gatepost", "rules: {path} defines no class that derives from Plugin"),
        (
            "class B(Plugin): ...\nclass A(Plugin): ...",
            'rules: {path} defines several plugins: write use = "rules:A" or "rules:B"',
        ),
        ("x = 1\n1 / 0", "rules: ZeroDivisionError: division by zero ({path}:9)"),
        ("def f():\n    raise KeyError('x')\nf()", "rules: KeyError: 'x' ({path}:9)"),
        ("raise SystemExit(3)", "rules: SystemExit: 3 ({path}:8)"),
        (
            "import json\njson.loads('')",
            "rules: JSONDecodeError: Expecting value: {json} ({path}:9)",
        ),
        ("x = (", "rules: '(' was never closed ({path}:8)"),
        (
            "class A(Plugin):\n    def rcpts(self): ...",
            "rules: A.rcpts is no hook; did you mean 'rcpt'? (a helper's name begins with _)"
            " ({path}:8)",
        ),
        (
            "class A(Plugin):\n    def rcpt(self, recipient): ...",
            "rules: A.rcpt must take (self, transaction, recipient) ({path}:8)",
        ),
        ("import nowhere.at_all", "rules needs the module nowhere, which is not installed"),
    ],
)
def test_a_bad_module(write: WriteFile, tmp_path: Path, source: str, complaint: str) -> None:
    path = write("rules.py", source)
    with pytest.raises(LoadError) as error:
        find_plugin("rules", [tmp_path])
    assert str(error.value) == complaint.format(path=path, json="line 1 column 1 (char 0)")


def test_a_failed_module_is_forgotten(write: WriteFile, tmp_path: Path) -> None:
    write("rules.py", "raise RuntimeError")
    for _ in range(2):
        with pytest.raises(LoadError, match="RuntimeError"):
            find_plugin("rules", [tmp_path])


@pytest.mark.parametrize(
    ("use", "complaint"),
    [
        ("nowhere.at_all:Rules", "nowhere.at_all:Rules: there is no module nowhere"),
        ("json.nowhere:Rules", "json.nowhere:Rules: there is no module json.nowhere"),
        ("json:Rules", "json:Rules: Rules is not there"),
        ("json:loads", "json:loads: loads is no class that derives from Plugin"),
        ("json:JSONDecoder", "json:JSONDecoder: JSONDecoder is no class that derives from Plugin"),
    ],
)
def test_a_bad_class(use: str, complaint: str) -> None:
    with pytest.raises(LoadError) as error:
        find_plugin(use, [])
    assert str(error.value) == complaint


def test_a_missing_package_names_its_extra(
    write: WriteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert any("aiohttp" in line for line in metadata.requires("gatepost") or ())
    write("http_hook.py", "import aiohttp.web")
    with pytest.raises(LoadError) as error:
        find_plugin("http_hook", [tmp_path])
    assert str(error.value) == "http_hook needs aiohttp: pip install 'gatepost[web]'"


@pytest.mark.parametrize(
    ("package", "extra"), [("jwt", "oauth2"), ("pam", "pam"), ("argon2", "auth")]
)
def test_a_missing_package_of_another_name_names_its_extra(
    package: str,
    extra: str,
    write: WriteFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    write("needy.py", f"import {package}")
    with pytest.raises(LoadError) as error:
        find_plugin("needy", [tmp_path])
    assert str(error.value) == f"needy needs {package}: pip install 'gatepost[{extra}]'"


# -- Building -------------------------------------------------------------------------------------


def test_a_plugin_without_options(write: WriteFile, built: Callable[..., Loaded]) -> None:
    write("no_sales.py", "class NoSales(Plugin): ...")
    plugin, placement = built(use="no_sales")
    assert type(plugin).__name__ == "NoSales"
    assert placement == Placement("no_sales", "no_sales")


def test_options_and_placement(write: WriteFile, built: Callable[..., Loaded]) -> None:
    write("dnsbl.py", DNSBL)
    plugin, placement = built(
        use="dnsbl",
        name="block lists",
        zones=["a.example", "b.example"],
        wait=7,
        mode="later",
        pronounce="message",
        soften=True,
        unless=["relay", "allowed"],
        listeners=["mx"],
        timeout=10,
        on_error="ignore",
    )
    assert plugin.__dict__ == {
        "zones": ("a.example", "b.example"),
        "wait": 7.0,
        "most": 3,
        "quiet": False,
        "outcome": "deny",
    }
    assert isinstance(plugin.__dict__["wait"], float)
    assert placement == Placement(
        use="dnsbl",
        name="block lists",
        mode="later",
        pronounce="message",
        soften=True,
        unless=("relay", "allowed"),
        listeners=("mx",),
        timeout=10.0,
        on_error="ignore",
    )


@pytest.mark.parametrize(
    ("table", "complaints"),
    [
        ({}, ["dnsbl: option 'zones' is missing (a list of strings)"]),
        ({"zones": "a"}, ["dnsbl: option 'zones' must be a list of strings, not a string"]),
        (
            {"zones": ["a", 1, True]},
            [
                "dnsbl: option 'zones': item 2 must be a string, not 1",
                "dnsbl: option 'zones': item 3 must be a string, not true",
            ],
        ),
        (
            {"zones": [], "timout": 3},
            ["dnsbl: unknown option 'timout', did you mean 'timeout'?"],
        ),
        ({"zones": [], "zone": 3}, ["dnsbl: unknown option 'zone', did you mean 'zones'?"]),
        ({"zones": [], "qqqq": 3}, ["dnsbl: unknown option 'qqqq'"]),
        ({"zones": [], "wait": "5"}, ["dnsbl: option 'wait' must be a number, not a string"]),
        ({"zones": [], "wait": True}, ["dnsbl: option 'wait' must be a number, not true"]),
        (
            {"zones": [], "wait": float("inf")},
            ["dnsbl: option 'wait' must be a number, not inf"],
        ),
        ({"zones": [], "most": 2.5}, ["dnsbl: option 'most' must be a whole number, not 2.5"]),
        ({"zones": [], "quiet": 1}, ["dnsbl: option 'quiet' must be true or false, not 1"]),
        (
            {"zones": [], "outcome": "defr"},
            [
                "dnsbl: option 'outcome' must be 'deny' or 'defer', not 'defr',"
                " did you mean 'defer'?"
            ],
        ),
        ({"zones": [], "wait": -1}, ["dnsbl: option 'wait' must not be negative"]),
        (
            {"zones": [], "mode": "latter", "unless": ["relays"], "timeout": 0},
            [
                "dnsbl: option 'mode' must be 'enforce', 'later' or 'report', not 'latter',"
                " did you mean 'later'?",
                "dnsbl: option 'unless': item 1 must be 'relay', 'allowed' or 'authenticated',"
                " not 'relays', did you mean 'relay'?",
                "dnsbl: option 'timeout' must be more than 0",
            ],
        ),
        (
            {"zones": 1, "mode": 2, "wait": [], "name": "lists"},
            [
                "lists: option 'mode' must be 'enforce', 'later' or 'report', not 2",
                "lists: option 'zones' must be a list of strings, not 1",
                "lists: option 'wait' must be a number, not a list",
            ],
        ),
        ({"zones": [], "name": "a\nb"}, ["dnsbl: option 'name' must be of printable characters"]),
        ({"zones": [], "name": " "}, ["dnsbl: option 'name' must be of printable characters"]),
        ({"zones": [], "name": 5}, ["dnsbl: option 'name' must be a string, not 5"]),
    ],
)
def test_wrong_options(
    write: WriteFile, told: Tell, table: Mapping[str, object], complaints: list[str]
) -> None:
    write("dnsbl.py", DNSBL)
    assert told(use="dnsbl", **table) == complaints


def test_complaints_name_their_option(write: WriteFile, tmp_path: Path) -> None:
    write("dnsbl.py", DNSBL)
    table = {"use": "dnsbl", "zones": [], "wait": -1}
    assert load(table, directory=tmp_path, directories=[tmp_path]) == [
        Complaint("dnsbl: option 'wait' must not be negative", "wait")
    ]


def test_a_table_must_say_which_plugin(told: Tell) -> None:
    assert told() == ["plugin: option 'use' is missing (a string)"]
    assert told(use=5, mode="x") == [
        "plugin: option 'use' must be a string, not 5",
        "plugin: option 'mode' must be 'enforce', 'later' or 'report', not 'x'",
    ]


def test_the_placement_is_checked_though_the_plugin_is_unknown(told: Tell) -> None:
    assert told(use="zzzzzzzz", soften="yes", zones=5) == [
        "zzzzzzzz: option 'soften' must be true or false, not a string",
        "no plugin 'zzzzzzzz'; `gatepost plugins` lists those that there are",
    ]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (
            "@dataclass\nclass P(Plugin):\n    timeout: float = 1",
            "p: P declares an option 'timeout', which every plugin has: give it another name",
        ),
        (
            "@dataclass\nclass P(Plugin):\n    message: str = ''",
            "p: P declares an option 'message', which is a hook: give it another name",
        ),
        (
            "@dataclass\nclass P(Plugin):\n    zones: Nowhere = None",
            "p: the type of an option of P: name 'Nowhere' is not defined",
        ),
        ("class P(Plugin): ...", "p: unknown option 'zones'"),
        (
            "class P(Plugin):\n    zones: tuple[str, ...] = ()",
            "p: option 'zones' is only an option with @dataclass above class P",
        ),
        (
            "@dataclass\nclass P(Plugin):\n    zones: object\n    def __post_init__(self):\n"
            "        1/0",
            "p: ZeroDivisionError: division by zero ({path}:12)",
        ),
        (
            "@dataclass\nclass P(Plugin):\n    zones: object\n    def __post_init__(self):\n"
            "        raise ValueError",
            "p: ValueError()",
        ),
    ],
)
def test_a_plugin_that_cannot_be_built(
    write: WriteFile, told: Tell, source: str, complaint: str
) -> None:
    path = write("p.py", source)
    assert told(use="p", zones=[]) == [complaint.format(path=path)]


def test_private_fields_are_no_options(
    write: WriteFile, told: Tell, built: Callable[..., Loaded]
) -> None:
    write(
        "p.py",
        """
        @dataclass
        class P(Plugin):
            size: int = 1
            visits: list[str] = field(init=False, default_factory=list)
            _cache: dict[str, str] = field(default_factory=dict)
        """,
    )
    assert built(use="p").plugin.__dict__ == {"size": 1, "visits": [], "_cache": {}}
    assert told(use="p", visits=[], _cache={}) == [
        "p: unknown option 'visits'",
        "p: unknown option '_cache'",
    ]


# -- Types ----------------------------------------------------------------------------------------

KINDS = """
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

@dataclass
class Host:
    name: str
    port: int = 25

    def __post_init__(self) -> None:
        if not self.port:
            raise ValueError("port 0 is nobody's")

@dataclass
class Kinds(Plugin):
    path: Path = Path("mail")
    networks: tuple[Network, ...] = ()
    only: ipaddress.IPv6Network | None = None
    client: ipaddress.IPv4Address | ipaddress.IPv6Address | None = None
    domains: Entries = Entries()
    rules: Entries | Iterable[str] | None = None
    sender: Address | None = None
    hosts: tuple[Host, ...] = ()
    codes: dict[str, int] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    pair: tuple[str, int] = ("", 0)
    either: str | tuple[str, ...] = ""
    level: Literal[1, 2, "all"] = 1
    anything: object = None
"""


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("path", "/var/mail", Path("/var/mail")),
        (
            "networks",
            ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"],
            (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("192.0.2.1/32")),
        ),
        ("sender", "Bob@Example.org", Address("Bob", "example.org")),
        ("sender", "<bob@example.org>", Address("bob", "example.org")),
        ("codes", {"a": 1}, {"a": 1}),
        ("tags", ["a", "a"], frozenset({"a"})),
        ("pair", ["a", 1], ("a", 1)),
        ("either", "a", "a"),
        ("either", ["a"], ("a",)),
        ("level", 2, 2),
        ("level", "all", "all"),
        ("anything", [1, "a"], [1, "a"]),
    ],
)
def test_values_become_what_the_option_declares(
    write: WriteFile, built: Callable[..., Loaded], option: str, value: object, expected: object
) -> None:
    write("kinds.py", KINDS)
    assert built(use="kinds", **{option: value}).plugin.__dict__[option] == expected


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("path", 5, " must be a path, not 5"),
        ("path", "", " must be a path, not ''"),
        ("path", "a\0b", r" must be a path, not 'a\x00b'"),
        ("path", "$NOWHERE/a", " names $NOWHERE, which is not set in the environment"),
        (
            "networks",
            ["10.0.0.1/8"],
            ": item 1 is '10.0.0.1/8', an address inside a network: write '10.0.0.0/8'",
        ),
        (
            "networks",
            ["x"],
            ": item 1 must be an IPv4 network (192.0.2.0/24) or an IPv6 network (2001:db8::/32),"
            " not 'x'",
        ),
        ("only", "10.0.0.0/8", " must be an IPv6 network (2001:db8::/32), not '10.0.0.0/8'"),
        ("client", "x", " must be an IPv4 address or an IPv6 address, not 'x'"),
        ("domains", 5, " must be a list of strings or the name of a file, not 5"),
        ("domains", ["a", 5], ": item 2 must be a string, not 5"),
        ("rules", 5, " must be a list of strings or the name of a file, not 5"),
        ("rules", ["a", 5], ": item 2 must be a string, not 5"),
        (
            "domains",
            "none.txt",
            " names a file that cannot be read: {directory}/none.txt: No such file or directory",
        ),
        ("sender", "bob", " must be an address like bob@example.org, not 'bob'"),
        (
            "hosts",
            [{"name": "a", "prt": 1}],
            ": item 1: unknown option 'prt', did you mean 'port'?",
        ),
        ("hosts", [{"port": 1}], ": item 1: option 'name' is missing (a string)"),
        ("hosts", [{"name": "a", "port": 0}], ": item 1: port 0 is nobody's"),
        ("hosts", ["a"], ": item 1 must be a table, not a string"),
        ("codes", {"a": "b"}, ": key 'a' must be a whole number, not a string"),
        ("codes", [], " must be a table of whole numbers, not a list"),
        ("pair", ["a"], " must be a list of 2 values, not of 1"),
        ("pair", ["a", "b"], ": item 2 must be a whole number, not a string"),
        ("either", 5, " must be a string or a list of strings, not 5"),
        ("either", ["a", 5], ": item 2 must be a string, not 5"),
        ("level", True, " must be 1, 2 or 'all', not true"),
        ("level", "x" * 200, " must be 1, 2 or 'all', not '" + "x" * 79 + "..."),
    ],
)
def test_values_that_do_not_fit(
    write: WriteFile, told: Tell, tmp_path: Path, option: str, value: object, complaint: str
) -> None:
    write("kinds.py", KINDS)
    expected = f"kinds: option {option!r}{complaint.format(directory=tmp_path)}"
    assert told(use="kinds", **{option: value}) == [expected]


@dataclass
class Everything:
    """One option of every type."""

    text: str
    number: float
    whole: int
    flag: bool
    path: Path
    entries: Entries
    address: Address
    network: IPv4Network | IPv6Network
    pattern: re.Pattern[str]
    choice: Literal[1, "a"]
    pairs: tuple[tuple[str, int], ...]
    tags: frozenset[str]
    table: dict[str, tuple[Path, ...]]
    inner: NoOptions | Parent | None
    anything: object
    day: date
    few: Annotated[int, msgspec.Meta(ge=1, le=3)]


@dataclass
class NoOptions:
    pass


TOML = st.recursive(
    st.text() | st.integers() | st.floats() | st.booleans() | st.dates() | st.just(16**3000),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([each.name for each in fields(Everything)]) | st.text(min_size=1), TOML
    )
)
def test_any_value_fits_or_is_complained_of(table: dict[str, object]) -> None:
    declared = declared_options(Everything)
    values, complaints = fill(table, declared, Path("/nowhere"))
    assert values.keys() <= declared.keys()
    assert values.keys() | {each.key for each in complaints if each.key} == table.keys()


def test_paths_start_at_the_configuration(
    write: WriteFile,
    built: Callable[..., Loaded],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("kinds.py", KINDS)
    (tmp_path / "domains.txt").write_text("example.org\n")
    monkeypatch.setenv("WHERE", "below")
    options = {"domains": "domains.txt", "rules": "domains.txt"}
    plugin = built(use="kinds", path="${WHERE}/$WHERE-$", **options).plugin
    assert plugin.__dict__["path"] == tmp_path / "below" / "below-$"
    assert plugin.__dict__["domains"].current() == ("example.org",)
    assert plugin.__dict__["rules"].current() == ("example.org",)


# -- Documentation --------------------------------------------------------------------------------

OURS = Entries(("a.example",))


@dataclass
class Parent(Plugin):
    name: str  #: what it is called


@dataclass(slots=True)
class Documented(Parent):
    """A plugin with every kind of comment."""

    #: the lists to ask;
    #: the first hit counts
    zones: tuple[str, ...] = ("a", "b")
    wait: float = 5.0  #: seconds to wait
    #  for each
    where: Path = Path("mail")  #: where mail goes,
    #: above the next
    quiet: bool = False
    many: list[str] = field(
        default_factory=list,  #: a default
    )  #: of several lines
    long: str = "#: no comment"  #: what it means
    #: goes on below
    short: str = ""  #: nothing more
    under: int = 0
    #: in lines
    #: of its own
    over: int = 1
    #: likewise

    mode_of: Literal["a", "b"] | None = None  # a reason, no meaning
    computed: str = field(default_factory=Path.home().name.upper)
    entries: Entries = OURS
    pairs: dict[str, int] = field(default_factory=lambda: {"a": 1})
    _hidden: int = 0  #: nobody's business


def test_options_are_documented_by_their_comments() -> None:
    options = options_of(Documented)
    assert options[0] == Option("name", "a string", None, "what it is called", required=True)
    assert [
        (each.name, each.type_text, each.default_text, each.meaning) for each in options[1:]
    ] == [
        ("zones", "a list of strings", '["a", "b"]', "the lists to ask; the first hit counts"),
        ("wait", "a number", "5.0", "seconds to wait"),
        ("where", "a path", '"mail"', "where mail goes,"),
        ("quiet", "true or false", "false", "above the next"),
        ("many", "a list of strings", "[]", "a default of several lines"),
        ("long", "a string", '"#: no comment"', "what it means goes on below"),
        ("short", "a string", '""', "nothing more"),
        ("under", "a whole number", "0", "in lines of its own"),
        ("over", "a whole number", "1", "likewise"),
        ("mode_of", "'a' or 'b'", "unset", ""),
        ("computed", "a string", "computed", ""),
        ("entries", "a list of strings or the name of a file", '["a.example"]', ""),
        ("pairs", "a table of whole numbers", "computed", ""),
    ]


def test_options_of_a_file(write: WriteFile, tmp_path: Path) -> None:
    write("p.py", "@dataclass\nclass P(Plugin):\n    size: int = 1  #: how large")
    assert options_of(find_plugin("p", [tmp_path])) == (
        Option("size", "a whole number", "1", "how large", required=False),
    )


def test_a_class_that_is_no_dataclass_has_no_options() -> None:
    assert options_of(Plugin) == ()


def test_a_class_without_source_has_options_without_meanings() -> None:
    module = ModuleType("made_at_run_time")
    sys.modules["made_at_run_time"] = module
    exec("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1", vars(module))
    assert options_of(module.P) == (Option("x", "a whole number", "1", "", required=False),)
    del sys.modules["made_at_run_time"]


def test_every_placement_key_has_a_meaning() -> None:
    assert all(option.meaning for option in options_of(Placement))
