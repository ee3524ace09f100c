"""The table [trail]: durations and sizes in words, and every complaint with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

from gatepost.config.complaints import Complaints
from gatepost.config.trail import TrailSettings, octets_of, read_trail, seconds_of


def complain(text: str, directory: Path) -> tuple[TrailSettings, list[str]]:
    text = dedent(text)
    complaints = Complaints()
    settings = read_trail(tomllib.loads(text).get("trail", {}), directory, complaints)
    return settings, list(complaints.located(Path("gatepost.toml"), text).complaints)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 second", 1),
        ("30 minutes", 1800),
        ("12 hours", 43_200),
        ("1 day", 86_400),
        ("7 days", 604_800),
        ("2 weeks", 1_209_600),
    ],
)
def test_a_duration_is_said_in_words(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "7", "7days", "7  days", " 7 days", "7 days ", "0 days", "1 days", "2 day", "-1 days",
     "7.5 days", "7 Days", "7 d", "7 months", "9999999 days", "\u0667 days", "7 days 2 hours"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration like '7 days'"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("1 kB", 1000), ("500 MB", 500_000_000), ("2 GB", 2_000_000_000), ("1 TB", 1000**4)],
)
def test_a_size_is_said_in_words(text: str, octets: int) -> None:
    assert octets_of(text) == octets


@pytest.mark.parametrize("text", ["", "500", "500MB", "500 mb", "1.5 GB", "500 MiB", "-1 MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size like '500 MB'"):
        octets_of(text)


@pytest.mark.parametrize("text", ["", "[trail]", '[trail]\npath = ""'])
def test_without_a_path_nothing_is_kept(text: str, tmp_path: Path) -> None:
    settings, complaints = complain(text, tmp_path)
    assert not complaints
    assert settings.path is None
    assert (settings.seconds, settings.octets) == (7 * 86_400, 500_000_000)


def test_a_path_starts_at_the_directory(tmp_path: Path) -> None:
    settings, complaints = complain(
        """
        [trail]
        path = "trail.sqlite"
        keep = "2 hours"
        size = "10 MB"
        """,
        tmp_path,
    )
    assert not complaints
    assert settings.path == tmp_path / "trail.sqlite"
    assert (settings.seconds, settings.octets) == (7200, 10_000_000)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('keep = "a week"', "option 'keep' must be a duration like '7 days' or '30 minutes', "
         "not 'a week'"),
        ("keep = 7", "option 'keep' must be a string, not 7"),
        ('size = "999 kB"', "option 'size' must be '1 MB' or more, not '999 kB'"),
        ('size = "much"', "option 'size' must be a size like '500 MB' or '2 GB', not 'much'"),
        ('path = "."', "option 'path': {directory} is a directory"),
        ('path = "none/trail"', "option 'path': there is no {directory}/none"),
        ('pth = "trail"', "unknown option 'pth', did you mean 'path'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(line: str, complaint: str, tmp_path: Path) -> None:
    settings, complaints = complain(f"[trail]\n{line}\n", tmp_path)
    assert complaints == [f"gatepost.toml:2: trail: {complaint.format(directory=tmp_path)}"]
    assert settings == TrailSettings()


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    _, complaints = complain('[trail]\nkeep = ""\nsize = ""\n', tmp_path)
    assert len(complaints) == 2


def test_settings_made_by_a_program_are_checked_too() -> None:
    with pytest.raises(ValueError, match="option 'keep' must be"):
        TrailSettings(keep="ever")
