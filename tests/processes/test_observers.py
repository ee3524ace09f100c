"""Who listens beside the plugins: those that the configuration asks for, and nobody else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.app import Gate
from gatepost.archive.reading import Archive
from gatepost.config import Config, parse_config
from gatepost.metrics.figures import Figures
from gatepost.metrics.table import CONNECTIONS
from gatepost.processes.observers import observers

LISTEN = '[[listen]]\naddress = "127.0.0.1:0"\nname = "mx"\n'
METRICS = '[metrics]\naddress = "127.0.0.1:9925"\n'
OTEL = '[otel]\nendpoint = "http://127.0.0.1:4318"\n'
TRAIL = "[trail]\n"
PLUGIN = '[[plugin]]\nuse = "domains"\ndomains = ["example.org"]\n'


def configured(directory: Path, *tables: str) -> Config:
    return parse_config("".join((LISTEN, *tables)), path=directory / "gatepost.toml")


def names(directory: Path, *tables: str) -> list[tuple[str, str, str]]:
    """The class of each, and what it is called."""
    placed = observers(configured(directory, *tables), Figures())
    return [(type(one).__name__, placement.use, placement.name) for one, placement in placed]


def test_nobody_listens_where_nobody_is_asked_for(tmp_path: Path) -> None:
    assert names(tmp_path, PLUGIN) == []


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (METRICS, ("Meter", "metrics", "metrics")),
        (TRAIL, ("Recorder", "trail", "trail")),
        ('[trail]\npath = "elsewhere.sqlite"\n', ("Recorder", "trail", "trail")),
    ],
)
def test_each_table_has_one_that_listens(
    tmp_path: Path, table: str, expected: tuple[str, str, str]
) -> None:
    assert names(tmp_path, table, PLUGIN) == [expected]


@pytest.mark.parametrize(
    "table",
    ['[metrics]\naddress = ""\n', '[otel]\nservice = "mail"\n', '[trail]\npath = ""\n'],
)
def test_a_table_that_names_no_place_has_nobody(tmp_path: Path, table: str) -> None:
    assert names(tmp_path, table) == []


def test_their_order(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="traces need opentelemetry-sdk")
    placed = names(tmp_path, TRAIL, METRICS, OTEL, PLUGIN)
    assert [name for name, *_ in placed] == ["Tracer", "Meter", "Recorder"]


def test_they_hear_what_happens(tmp_path: Path) -> None:
    config, figures = configured(tmp_path, METRICS, TRAIL, PLUGIN), Figures()
    (tmp_path / "state").mkdir()

    async def serve() -> None:
        async with Gate.from_config(config, observers=observers(config, figures)) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(b"EHLO client.example\r\nQUIT\r\n")
            await reader.read()
            writer.close()

    asyncio.run(asyncio.wait_for(serve(), 10))
    assert figures[CONNECTIONS].snapshot() == {'listener="mx"': [1]}
    with Archive(tmp_path / "state" / "trail.sqlite") as archive:
        (found,) = archive.newest()
        assert found.record.hello == "client.example"
        (plugin,) = archive.configuration(found.configuration)
        assert plugin.name == "domains"


NO_TRACES = """\
import sys
from pathlib import Path
from gatepost.config import parse_config
from gatepost.metrics.figures import Figures
from gatepost.processes.observers import observers

observers(parse_config(sys.argv[1], path=Path(sys.argv[2])), Figures())
assert not [name for name in sys.modules if name.partition(".")[0] in ("opentelemetry", "aiohttp")]
"""


def test_packages_that_nobody_needs_are_not_imported(tmp_path: Path) -> None:
    told = [LISTEN + METRICS + TRAIL, str(tmp_path / "gatepost.toml")]
    subprocess.run([sys.executable, "-c", NO_TRACES, *told], timeout=60, check=True)
