"""The manual says what is true: generated pages are fresh, and every example is run or parsed."""

from __future__ import annotations

import ast
import asyncio
import difflib
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

import gatepost
from gatepost.cli import main
from gatepost.config import Dns, Listen, parse_config
from gatepost.hooks.loader import bundled_plugins, options_of
from gatepost.hooks.replies import reply_to
from gatepost.limits import Limits
from gatepost.reference import PAGES
from gatepost.reference.public_api import public_names
from gatepost.testing import run
from gatepost.testing.scene import Scene
from gatepost.verdict import Defer, Deny, Verdict

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN = [
    ROOT / "README.md",
    *(page for page in sorted(DOCS.glob("*.md")) if page.name not in PAGES),
]

_BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]*)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| `(\w+)` \| (Deny|Defer|nobody) \| ([^|]*) \| (\d+) \|(.*)\|$", re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_is_fresh(name: str) -> None:
    stored = (DOCS / name).read_text(encoding="utf-8").splitlines()
    difference = difflib.unified_diff(stored, PAGES[name]().splitlines(), name, "the code", n=1)
    assert not (stale := "\n".join(difference)), f"run `make docs`:\n{stale}"


# -- Examples -------------------------------------------------------------------------------------


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    title: str  #: the file that it is, where it is one
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start(3)) + 1)
        for match in _BLOCK.finditer(text)
    ]


class Reader:
    """Somebody who reads a page from top to bottom, and does what it says."""

    def __init__(self, page: Path, runner: asyncio.Runner) -> None:
        self.page = page
        self._runner = runner
        self._module = ModuleType(f"page_{page.stem.replace('-', '_').lower()}")
        sys.modules[self._module.__name__] = self._module  # dataclasses look their types up there

    def follow(self, block: Block) -> None:
        if block.title:
            path = Path(block.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        ways: dict[str, Callable[[Block], None]] = {
            "python": self.python,
            "toml": self.toml,
            "smtp": self.smtp,
            "sh": self.sh,
            "text": lambda _: None,
            "mermaid": lambda _: None,
        }
        assert block.language in ways, f"a block of what? {block.language!r}"
        ways[block.language](block)

    def python(self, block: Block) -> None:
        """Run it, as a notebook would; a file is only compiled, until something imports it."""
        source = "\n" * (block.line - 1) + block.text
        flags = 0 if block.title else ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, str(self.page), "exec", flags, dont_inherit=True)
        if block.title:
            return
        outcome = eval(code, vars(self._module))
        if inspect.iscoroutine(outcome):
            self._runner.run(outcome)

    def toml(self, block: Block) -> None:
        """Read it as a configuration; one without a listener is a part of one."""
        if block.title == "pyproject.toml":
            assert tomllib.loads(block.text)["project"]["entry-points"]["gatepost.plugins"]
            return
        listen = "" if "[[listen]]" in block.text else '[[listen]]\naddress = "127.0.0.1:2525"\n'
        parse_config(block.text + listen, path=Path("gatepost.toml"))

    def smtp(self, block: Block) -> None:
        """Hold it, as pytest does with an `.smtp` file."""
        options = ""
        for section in re.split(r"^---\n", block.text, flags=re.MULTILINE):
            if re.match(r"(#.*\n)*[SC]:", section):
                scene = Scene.read(options)
                run(scene.hold(section, directory=Path.cwd(), beside=Path.cwd()))
            else:
                options = section

    def sh(self, block: Block) -> None:
        """Do what can be done here, and look that the rest exists."""
        for line in block.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                program = words[0].removeprefix("/opt/gatepost/bin/")
                assert program in _SHELL, f"how is {program!r} to be checked?"
                _SHELL[program](words[1:])


def _gatepost(words: list[str]) -> None:
    if words[0] == "serve":  # which would go on for ever
        command = main.get_command(click.Context(main), "serve")
        assert command is not None
        command.make_context("serve", words[1:])
    else:
        outcome = CliRunner().invoke(main, words)
        told = words[0] == "try" and "Refused for" in outcome.output  # a refusal exits with 1
        assert outcome.exit_code == int(told), outcome.output


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(targets)


def _pip(words: list[str]) -> None:
    lists = [names for word in words for names in re.findall(r"gatepost\[([\w,]+)\]", word)]
    extras = {extra for names in lists for extra in names.split(",")}
    assert extras <= set(metadata.metadata("gatepost").get_all("Provides-Extra") or ())


def _pytest(words: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


def _packaged(words: list[str]) -> None:
    """A program that is not ours, but is told of our files and units."""
    files = {word for word in words if word.startswith("packaging/")}
    units = {f"packaging/{word}" for word in words if word.startswith("gatepost.")}
    assert {name for name in files | units if not (ROOT / name).exists()} == set()


def _python(words: list[str]) -> None:
    assert words[:2] == ["-m", "gatepost.reference"], words


def _elsewhere(words: list[str]) -> None:
    """A program that is not ours."""


_SHELL: dict[str, Callable[[list[str]], None]] = {
    "gatepost": _gatepost,
    "make": _make,
    "pip": _pip,
    "pytest": _pytest,
    "python": _python,
    "docker": _packaged,
    "install": _packaged,
    "systemctl": _packaged,
    ".": _elsewhere,
    "apt": _elsewhere,
    "cd": _elsewhere,
    "curl": _elsewhere,
    "git": _elsewhere,
    "journalctl": _elsewhere,
    "ln": _elsewhere,
    "mkdir": _elsewhere,
    "python3": _elsewhere,
    "swaks": _elsewhere,
    "systemd-sysusers": _elsewhere,
}


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith(("page_", "plugins")):
            del sys.modules[name]


@pytest.mark.usefixtures("empty_directory")
@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_examples_run(page: Path) -> None:
    with asyncio.Runner() as runner:
        reader = Reader(page, runner)
        for block in blocks_of(page):
            try:
                reader.follow(block)
            except Exception as error:
                raise AssertionError(f"{page}:{block.line}: {error}") from error


# -- Words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*WRITTEN, *(DOCS / name for name in PAGES)], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if not target.startswith("http"):
            path = page.parent / file if file else page
            assert path.exists(), target
            assert not anchor or anchor in _anchors(path), target


def test_readme_leads_to_every_page() -> None:
    links = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= links


def test_every_room_is_on_the_plan() -> None:
    plan = (DOCS / "design.md").read_text(encoding="utf-8")
    rooms = {path.name for path in (ROOT / "src/gatepost").iterdir() if path.name[0] not in "_."}
    assert {room for room in rooms - {"py.typed"} if room not in plan} == set()


def test_every_import_is_explained() -> None:
    page = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    required = {re.split(r"[^\w-]", one)[0] for one in metadata.requires("gatepost") or ()}
    assert {name for name in required if f"`{name}`" not in page} == set()


def test_every_plugin_and_public_name_has_its_entry() -> None:
    plugins = (DOCS / "plugins.md").read_text(encoding="utf-8")
    names = (DOCS / "public-api.md").read_text(encoding="utf-8")
    assert {name for name in bundled_plugins() if f"\n## {name}\n" not in plugins} == set()
    assert {name for name in gatepost.__all__ if f"\n### `{name}`\n" not in names} == set()


def test_defaults_of_settings_can_be_written_and_change_nothing() -> None:
    def written(kind: type) -> str:
        options = options_of(kind)
        return "\n".join(f"{one.name} = {one.default_text}" for one in options if not one.required)

    limits, dns, listen = written(Limits), written(Dns), written(Listen)
    text = f'[limits]\n{limits}\n[dns]\n{dns}\n[[listen]]\naddress = "[::1]:25"\n{listen}\n'
    config = parse_config(text, path=Path("gatepost.toml"))
    assert (config.limits, config.dns, config.listen) == (Limits(), Dns(), (Listen("[::1]:25"),))


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_examples_import_only_what_is_public(page: Path) -> None:
    imports = [
        (node.module or "", alias.name)
        for block in blocks_of(page)
        if block.language == "python"
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    ours = {pair for pair in imports if re.match(r"gatepost(?!\.plugins\.)\b", pair[0])}
    assert ours <= public_names(), ours - public_names()


def test_differences_from_the_ancestor_are_true_and_explained() -> None:
    verdicts: dict[str, Verdict | None] = {"Deny": Deny(), "Defer": Defer(), "nobody": None}
    rows = _ROW.findall((DOCS / "coming-from-qpsmtpd.md").read_text(encoding="utf-8"))
    assert len(rows) > 20
    for hook, verdict, theirs, ours, reason in rows:
        assert reply_to(hook, verdicts[verdict], _Blanks()).code == int(ours), (hook, verdict)
        assert reason.strip() or theirs.strip() == ours, (hook, verdict, "differs without a reason")


class _Blanks(dict[str, object]):
    def __missing__(self, blank: str) -> str:
        return blank


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
