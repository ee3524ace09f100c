"""`gatepost stop`: the server is told, and ends in its own time."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import Result

from gatepost.processes.channel import Told


def test_the_server_is_told(running: Callable[..., tuple[Result, list[Told]]]) -> None:
    result, asked = running("stop", answer={"say": "done"})
    assert asked == [{"say": "stop"}]
    assert result.exit_code == 0
    assert result.stdout.startswith("It takes no more clients, and ends when ")
