"""Collecting: how pytest finds dialogues, runs them, and shows one that went wrong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from gatepost.plugin import Plugin
from gatepost.testing.clock import run
from gatepost.testing.dialogue import DialogueFailure
from gatepost.testing.docstrings import shown_dialogues
from gatepost.testing.scene import Scene, UnfitScene

#: What separates the dialogues of a file, and the TOML before them.
_SEPARATOR = "---"


class DialogueItem(pytest.Item):
    """One dialogue."""

    def __init__(self, *, options: str, script: str, line: int, use: str = "", **rest: Any) -> None:
        super().__init__(**rest)
        self._options = options
        self._script = script
        self._line = line  #: of the file, from 1, on which the dialogue begins
        self._use = use

    def runtest(self) -> None:
        """Hold the dialogue, in an empty directory of its own."""
        scene = Scene.read(self._options, plugin=self._use)
        with TemporaryDirectory() as directory:
            run(scene.hold(self._script, directory=Path(directory), beside=self.path.parent))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What went wrong, as whoever wrote the dialogue would like to read it."""
        match excinfo.value:
            case DialogueFailure() as failure:
                place = f"{self.path}:{self._line + failure.number - 1}"
                dialogue = "".join(f"\n    {line}" for line in failure.so_far)
                return f"{place}: {failure.complaint}\n\nThe dialogue so far:{dialogue}"
            case UnfitScene() as unfit:
                return f"{self.path}: {unfit}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the dialogue stands."""
        return self.path, self._line - 1, self.name


class DialogueFile(pytest.File):
    """A file of dialogues; lines `---` stand between them and behind the TOML, if there is any."""

    def collect(self) -> Iterator[DialogueItem]:
        """All dialogues, named by the comment on their first line or by its number."""
        options = ""
        for line, section in _sections(self.path.read_text(encoding="utf-8")):
            words = [text for text in section if text and not text.startswith("#")]
            if words and not words[0].startswith(("S:", "C:")):
                options = "\n".join(section)
            elif words:
                title = section[0].removeprefix("#").strip() if section[0][:1] == "#" else ""
                yield DialogueItem.from_parent(
                    self,
                    name=title or f"line {line}",
                    options=options,
                    script="\n".join(section),
                    line=line,
                )


class PluginModule(pytest.Module):
    """A module that defines plugins with dialogues in their docstrings."""

    def collect(self) -> Iterator[DialogueItem]:
        """All dialogues, named by their class and line."""
        module = self.obj
        for node in ast.parse(self.path.read_bytes()).body:
            if isinstance(node, ast.ClassDef):
                kind = getattr(module, node.name, None)
                if isinstance(kind, type) and issubclass(kind, Plugin):
                    yield from self._dialogues_of(kind, node)

    def _dialogues_of(self, kind: type[Plugin], node: ast.ClassDef) -> Iterator[DialogueItem]:
        for options, script, line in shown_dialogues(ast.get_docstring(node, clean=False)):
            start = node.body[0].lineno + line - 1
            yield DialogueItem.from_parent(
                self,
                name=f"{kind.__name__} line {start}",
                options=options,
                script=script,
                line=start,
                use=f"{kind.__module__}:{kind.__name__}",
            )


def _sections(text: str) -> Iterator[tuple[int, list[str]]]:
    """What stands between the separators: the number of its first line, and its lines."""
    section: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), _SEPARATOR], 1):
        if line.rstrip() != _SEPARATOR:
            if section or line.strip():
                section.append(line.strip())
            else:
                start = number + 1
            continue
        yield start, section
        section, start = [], number + 1
