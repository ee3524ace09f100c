"""The pytest plugin: runs `*.smtp` files and the dialogues in docstrings of plugins.

Installed with Gatepost, it stands in every project's pytest.  So it does nothing before there is a
dialogue to run; and docstrings are looked into only where that is asked for, by
`--gatepost-docstrings` or by `gatepost_docstrings = true` in the configuration of pytest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_OPTION = "gatepost_docstrings"
_HELP = "run the dialogues (S: and C: lines) in docstrings of Gatepost plugins"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option, for the command line and for the configuration."""
    parser.getgroup("gatepost").addoption("--gatepost-docstrings", action="store_true", help=_HELP)
    parser.addini(_OPTION, _HELP, type="bool", default=False)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the files that hold dialogues."""
    if file_path.suffix == ".smtp":
        from gatepost.testing.collecting import DialogueFile

        return DialogueFile.from_parent(parent, path=file_path)
    if file_path.suffix == ".py" and _wants_docstrings(parent.config):
        source = file_path.read_bytes()
        if b"Plugin" in source and b" S: " in source:
            from gatepost.testing.collecting import PluginModule

            return PluginModule.from_parent(parent, path=file_path)
    return None


def _wants_docstrings(config: pytest.Config) -> bool:
    return bool(config.getini(_OPTION) or config.getoption(_OPTION))
