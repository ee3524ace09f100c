"""The rules of the house that its source can be read for: who imports whom, and how big rooms are.

The floors stand in `pyproject.toml`, where import-linter holds them.  What it cannot see is here:
the root package, whose names are for plugins, and what stands inside the files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import gatepost

SOURCE = Path(gatepost.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

#: Doors that are open to plugins: these, and whatever is installed beside Gatepost.
OPEN = {"gatepost"}

#: Where exceptions of any kind are caught, each with what may raise them there.
CATCHING = {
    "hooks/chain.py": "a plugin's hook",
    "hooks/failures.py": "a plugin's exception, as it becomes text",
    "hooks/finder.py": "a plugin's module",
    "hooks/loader.py": "a plugin's constructor",
    "cli/stdio.py": "a plugin's startup",
    "cli/trial.py": "a plugin's startup",
    "server/connection.py": "the end of a connection",
    "config/log.py": "somebody else's module",
    "log/relay.py": "somebody else's handler, and the log of that",
    "log/set_up.py": "somebody else's handler",
    "log/sinks.py": "somebody else's handler",
    "app.py": "a start that failed: what had begun is ended, and the exception goes on",
    "processes/generation.py": "a start that failed: what had begun is ended",
    "processes/supervisor.py": "a start that failed: what had begun is ended",
    "processes/worker.py": "a plugin's startup",
}
#: Files that import something inside a function, each with its reason.
IMPORTING_LATE = {
    "testing/pytest_plugin.py": "it stands in every project's pytest",
    "plugins/auth/auth_ldap.py": "ldap3 warns when it is imported",
    "event_loop.py": "uvloop is not there on every system",
}
NO_NOUNS = {"utils", "util", "helpers", "common", "base", "core", "manager", "misc", "tools"}


def name_of(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, by their full names."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(file)}: relative imports hide what is imported"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                public = node.module == "gatepost" and alias.name in gatepost.__all__
                yield inner if inner in MODULES and not public else str(node.module)


def below(module: str) -> set[str]:
    """All modules of ours that a module needs."""
    found: set[str] = set()
    left = [module]
    while left:
        for other in imported(MODULES[left.pop()]):
            if other in MODULES and other not in found:
                found.add(other)
                left.append(other)
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_module_needs_itself(module: str) -> None:
    assert module not in below(module)


def test_nothing_that_the_public_face_shows_looks_at_it() -> None:
    assert "gatepost.plugin" in below("gatepost")
    assert "gatepost.hooks.chain" not in below("gatepost")
    assert "gatepost.server.conversation" not in below("gatepost")


PLUGINS = [file for file in FILES if file.is_relative_to(SOURCE / "plugins")]


@pytest.mark.parametrize("file", PLUGINS, ids=name_of)
def test_bundled_plugins_use_the_doors_that_authors_have(file: Path) -> None:
    ours = {module for module in imported(file) if module.partition(".")[0] == "gatepost"}
    assert ours <= OPEN


@pytest.mark.parametrize("file", PLUGINS, ids=name_of)
def test_bundled_plugins_import_public_names_only(file: Path) -> None:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.ImportFrom) and node.module == "gatepost":
            assert {alias.name for alias in node.names} <= set(gatepost.__all__)


def test_what_every_plugin_may_import_is_listed() -> None:
    assert gatepost.__all__ == sorted(gatepost.__all__, key=lambda name: (name.islower(), name))
    assert all(hasattr(gatepost, name) for name in gatepost.__all__)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_stand_at_the_top(file: Path) -> None:
    tree = tree_of(file)
    late = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and node not in tree.body
    ]
    assert not late or name_of(file) in IMPORTING_LATE, late
    assert "TYPE_CHECKING" not in file.read_text()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_exceptions_of_any_kind_are_caught_in_few_places(file: Path) -> None:
    caught = [
        node.lineno
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or {"Exception", "BaseException"} & set(_names(node.type)))
    ]
    assert not caught or name_of(file) in CATCHING, caught


def test_the_lists_of_exceptions_are_not_longer_than_they_must_be() -> None:
    names = {name_of(file) for file in FILES}
    assert CATCHING.keys() <= names
    assert IMPORTING_LATE.keys() <= names


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_can_be_read_in_one_sitting(file: Path) -> None:
    lines = file.read_text().count("\n")
    assert lines <= 300


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_function_can_be_seen_at_one_look(file: Path) -> None:
    long = {
        node.name: 1 + (node.end_lineno or 0) - node.lineno
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 40
    }
    assert not long


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_is_named_by_a_noun(file: Path) -> None:
    assert not NO_NOUNS & set(module_of(file).split("."))


def test_the_core_knows_neither_time_nor_place() -> None:
    outside = {"asyncio", "os", "pathlib", "select", "selectors", "socket", "ssl", "tempfile",
               "threading", "time", "random", "logging"}  # fmt: skip
    for file in FILES:
        if file.is_relative_to(SOURCE / "protocol"):
            assert not outside & set(imported(file)), name_of(file)


def _names(node: ast.expr) -> Iterator[str]:
    for leaf in ast.walk(node):
        if isinstance(leaf, ast.Name):
            yield leaf.id


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_group_is_possessive(file: Path) -> None:
    """Debian 12 has Python 3.11.2, where `(?:ab)*+` keeps an `a` behind which there is no `b`."""
    tree = tree_of(file)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and id(node) not in documentation
    ]
    assert [text for text in texts if re.search(r"\)[*+?]\+|\(\?>", text)] == []
