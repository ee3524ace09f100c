"""What this process takes of the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gatepost.metrics.usage import open_files, resident_memory


def test_memory_is_told_in_pages(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("10000 250 80 1 0 900 0\n")
    assert resident_memory(statm) == 250 * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_this_process_takes_memory() -> None:
    before = resident_memory()
    block = bytearray(os.urandom(1)) * 32_000_000
    assert resident_memory() - before > len(block) / 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_open_files_are_counted(tmp_path: Path) -> None:
    before = open_files()
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert open_files() == before + 2


def test_where_the_directory_has_no_size_it_is_listed(tmp_path: Path) -> None:
    """Before Linux 6.2 the size was always 0."""

    class Sizeless(type(tmp_path)):  # type: ignore[misc]  # the class of paths differs by system
        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            return os.stat_result((0,) * 10)

    for name in "abc":
        (tmp_path / name).touch()
    assert open_files(Sizeless(tmp_path)) == 3


def test_what_cannot_be_measured_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        resident_memory(tmp_path / "missing")
    with pytest.raises(OSError, match="missing"):
        open_files(tmp_path / "missing")
