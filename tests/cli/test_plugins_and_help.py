"""`gatepost plugins` and `gatepost help`: what there is, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

from gatepost.cli import COMMANDS
from gatepost.hooks.loader import bundled_plugins

Gatepost: TypeAlias = Callable[..., Result]

PLUGIN = '''
"""About colours."""

from dataclasses import dataclass

from gatepost import Deny, Plugin, Session


@dataclass
class Colours(Plugin):
    shade: str  #: which one
    deep: bool = False  #: more of it

    def connect(self, session: Session) -> Deny | None:
        return None
'''


@pytest.fixture
def colours(tmp_path: Path, configure: Callable[[str], None]) -> None:
    (tmp_path / "colours.py").write_text(PLUGIN)
    configure("")


def listed(output: str) -> dict[str, str]:
    return {line.split()[0]: " ".join(line.split()[1:]) for line in output.splitlines()}


def test_all_plugins_are_listed_with_a_label(gatepost: Gatepost) -> None:
    result = gatepost("plugins")
    assert result.exit_code == 0
    assert listed(result.output).keys() == bundled_plugins().keys()
    assert "bundled Accept every message" in listed(result.output)["discard"]
    assert all(len(words) > 20 for words in listed(result.output).values())


def test_files_are_listed_with_their_place(gatepost: Gatepost, colours: None) -> None:
    assert listed(gatepost("plugins").output)["colours"] == "colours.py About colours."


def test_a_plugin_that_cannot_be_used_is_listed_with_the_reason(
    gatepost: Gatepost, colours: None, tmp_path: Path
) -> None:
    (tmp_path / "colours.py").write_text("import no_such_thing")
    assert "cannot be used: colours needs" in listed(gatepost("plugins").output)["colours"]


def test_a_misspelt_plugin_does_not_keep_the_list_from_being_shown(
    gatepost: Gatepost, colours: None, configure: Callable[[str], None]
) -> None:
    configure('[[plugin]]\nuse = "colors"\n')
    assert "colours" in listed(gatepost("plugins").output)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("plugin_directories = 5\n", "option 'plugin_directories' must be a list of paths, not 5"),
        ("plugin_directories = [\n", "gatepost.toml: "),
        pytest.param(f"a = {'[' * 100_000}", "gatepost.toml: ", id="nested too deep"),
    ],
)
def test_a_list_of_directories_that_cannot_be_read_is_told(
    text: str, complaint: str, gatepost: Gatepost, tmp_path: Path
) -> None:
    (tmp_path / "gatepost.toml").write_text(text)
    result = gatepost("plugins")
    assert result.exit_code == 1
    assert complaint in result.stderr


def test_help_explains_options_and_hooks(gatepost: Gatepost, colours: None) -> None:
    result = gatepost("help", "colours")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == "About colours."
    assert "shade a string required which one" in lines
    assert "deep true or false default: false more of it" in lines
    assert lines[-1].startswith("connect A client has connected")
    assert any(
        line.startswith("As every plugin's, its table may also say name, ") for line in lines
    )


@pytest.mark.parametrize("name", sorted(bundled_plugins()))
def test_every_bundled_plugin_is_explained(name: str, gatepost: Gatepost) -> None:
    result = gatepost("help", name)
    assert result.exit_code == 0
    # Where somebody else is asked there is no dialogue to be held, but a table to be written.
    assert "S: 220" in result.output or f'use = "{name}"' in result.output
    assert "\nHooks\n" in result.output


def test_an_unknown_plugin_is_told_with_a_suggestion(gatepost: Gatepost) -> None:
    result = gatepost("help", "maildr")
    assert result.exit_code == 1
    assert result.stderr == "no plugin 'maildr', did you mean 'maildir'?\n"


def test_help_without_a_plugin_lists_the_commands(gatepost: Gatepost) -> None:
    output = gatepost("help").output
    assert output == gatepost("--help").output
    assert all(f"  {name} " in output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_on_a_label_that_fits(name: str, gatepost: Gatepost) -> None:
    assert gatepost(name, "--help").exit_code == 0
    label = next(line for line in gatepost("--help").output.splitlines() if f"  {name} " in line)
    assert not label.endswith("...")


def test_an_unknown_command_is_an_error(gatepost: Gatepost) -> None:
    assert gatepost("serv").exit_code == 2
