"""The plugin quit_fortune: a line that is drawn for each goodbye."""

from __future__ import annotations

from random import Random

from gatepost import Accept, Entries, Site
from gatepost.plugins.command.quit_fortune import QuitFortune
from gatepost.testing import a_session, converse, run

LINES = ("says one", "says two", "says three")


def goodbyes(plugin: QuitFortune) -> list[Accept | None]:
    return [plugin.quit(a_session(), "") for _ in range(60)]


def test_what_is_drawn_hangs_on_chance_alone() -> None:
    plugin, again = QuitFortune(Entries(LINES)), QuitFortune(Entries(LINES))
    plugin.startup(Site("mx.example"))
    again.startup(Site("mx.example"))
    plugin.chance, again.chance = Random(7), Random(7)
    heard = goodbyes(plugin)
    assert heard == goodbyes(again)
    assert set(heard) == {Accept(f"mx.example {line}") for line in LINES}


def test_without_a_line_goodbye_is_said_as_usual() -> None:
    assert QuitFortune(Entries()).quit(a_session(), "") is None


def test_a_fortune_of_several_lines() -> None:
    script = """
        S: 220 ...
        C: QUIT
        S: 221-2.0.0 mx.example Roses are red,
        S: 221 2.0.0 mail is not.
        S: <closed>
    """
    run(converse([QuitFortune(Entries(["Roses are red,\nmail is not."]))], script))
