"""What the pages take from the source: signatures as they are written, comments as they stand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.reference.source import documented, label, origins

ROOM = '''
from __future__ import annotations
from dataclasses import dataclass, field

#: what there is
#: of it
Things = list[int]

def count(things: Things, /, start: int = 0, *more: int, by: int = 1) -> int:
    """Count things.

    Raises nothing.
    """

async def wait(seconds: float) -> None:
    """Wait."""

def _hidden() -> None: ...

@dataclass
class Box:
    """A box."""

    width: int  #: in metres
    label: str = "none"  #: what stands on it
    inside: list[str] = field(default_factory=list)
    weight: float = field(init=False)
    colour: str = field(default="grey", compare=False)

    @property
    def empty(self) -> bool:
        """Whether nothing is inside."""

    @classmethod
    def cube(cls, *, width: int) -> Box:
        """A box that is as high as wide."""

class Shelf:
    def __init__(self, length: int) -> None:
        self.length = length  #: in metres
        self._secret = 0
'''


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "reference_room.py").write_text(ROOM)
    face = "from reference_room import Box as Box\n__all__ = ['Box']\n"
    (tmp_path / "reference_face.py").write_text(face)
    monkeypatch.syspath_prepend(tmp_path)
    yield "reference_room"
    for name in ("reference_room", "reference_face"):
        sys.modules.pop(name, None)


def test_names_are_written_as_they_are_used(room: str) -> None:
    assert {name: one.code for name, one in documented(room).items()} == {
        "Things": "Things",
        "count": "count(things: Things, /, start: int = 0, *more: int, by: int = 1) -> int",
        "wait": "async wait(seconds: float) -> None",
        "Box": 'Box(width: int, label: str = "none", inside: list[str] = list(), '
        'colour: str = "grey")',
        "Shelf": "Shelf(length: int)",
    }


def test_members_come_with_their_comments(room: str) -> None:
    names = documented(room)
    assert [(member.code, member.text) for member in names["Box"].members] == [
        ("width: int", "in metres"),
        ('label: str = "none"', "what stands on it"),
        ("inside: list[str] = list()", ""),
        ("weight: float", ""),
        ('colour: str = "grey"', ""),
        ("empty: bool", "Whether nothing is inside."),
        ("cube(*, width: int) -> Box", "A box that is as high as wide."),
    ]
    assert [member.text for member in names["Shelf"].members] == ["in metres"]


def test_comments_above_a_name_count_as_well(room: str) -> None:
    assert documented(room)["Things"].text == "what there is of it"


def test_a_name_is_traced_to_where_it_is_defined(room: str) -> None:
    assert origins("reference_face") == {"Box": room}


@pytest.mark.parametrize(
    ("text", "first"),
    [("One.", "One."), ("One\ntwo.\n\nThree.", "One two."), ("", "")],
)
def test_label(text: str, first: str) -> None:
    assert label(text) == first
