"""Whether the system lets a server have as many files open as its connections may need."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from gatepost.cli.open_files import allow_connections


@pytest.fixture(autouse=True)
def few_files() -> Iterator[int]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_server_gets_as_many_as_it_may(few_files: int) -> None:
    allow_connections(10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few_files


def test_too_few_are_told(few_files: int, caplog: pytest.LogCaptureFixture) -> None:
    if few_files == resource.RLIM_INFINITY:
        pytest.skip("the system sets no limit")
    allow_connections(few_files)
    assert f"the system allows {few_files}" in caplog.text


def test_enough_are_not(caplog: pytest.LogCaptureFixture) -> None:
    allow_connections(10)
    assert caplog.text == ""
