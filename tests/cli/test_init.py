"""`gatepost init`: what it writes is sound, and it overwrites nothing."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from click.testing import Result

Gatepost: TypeAlias = Callable[..., Result]


FILES = ["gatepost.toml", "plugins/no_sales.py", "plugins/no_sales.smtp"]


def written(directory: Path) -> list[str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(directory)) for path in files)


def test_it_writes_a_configuration_and_an_example(gatepost: Gatepost, tmp_path: Path) -> None:
    result = gatepost("init", "new/here")
    assert result.exit_code == 0
    assert written(tmp_path) == [f"new/here/{name}" for name in FILES]
    assert "`cd new/here && gatepost serve`" in result.output


def test_what_it_writes_passes_the_check(gatepost: Gatepost) -> None:
    gatepost("init", ".")
    result = gatepost("check")
    assert result.exit_code == 0
    assert "smtp on 127.0.0.1:2525 (mx)" in result.output


def test_it_takes_mail_for_example_org_into_mail(gatepost: Gatepost, tmp_path: Path) -> None:
    gatepost("init", ".")
    table = tomllib.loads((tmp_path / "gatepost.toml").read_text())
    plugins = {plugin["use"]: plugin for plugin in table["plugin"]}
    assert list(plugins) == ["no_sales", "domains", "maildir"]
    assert plugins["domains"]["domains"] == ["example.org"]
    assert plugins["maildir"]["path"] == "mail"


def test_a_second_time_changes_nothing(gatepost: Gatepost) -> None:
    gatepost("init", ".")
    result = gatepost("init", ".")
    assert result.exit_code == 0
    assert "gatepost.toml is there already, and the same" in result.output


def test_it_overwrites_nothing(gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").write_text("mine")
    result = gatepost("init", ".")
    assert result.exit_code == 1
    assert result.stderr == "gatepost.toml is there already; nothing was written\n"
    assert written(tmp_path) == ["gatepost.toml"]
    assert (tmp_path / "gatepost.toml").read_text() == "mine"


def test_a_place_where_nothing_can_be_written_is_named(gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = gatepost("init", "file/below")
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr
