"""Whoever wastes the server's time has no more than his share of it (R1 to R6, R12, R13).

Hostile clients come by hundreds and thousands, to a server with two workers as operators run it.
Meanwhile an honest one brings its letters, and waits less than a second for 99 of 100; what the
processes take is bounded, and given back.
"""

from __future__ import annotations

import fcntl
import http.client
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import TypeAlias

import pytest
import trustme

from tests.hostile_letters import LETTERS
from tests.live.moods import MOODS
from tests.live.serving import Server, serving
from tests.live.siege import Kind, Siege, besiege

CONFIGURATION = """\
hostname = "mx.example.org"
workers = {workers}
drain = {drain}
plugin_directories = ["{plugins}"]

[limits]
connections = 2500
connections_per_address = {per_address}
{limits}

[tls]
certificate = "mx.pem"

[metrics]
address = "unix:metrics"

[[listen]]
name = "mx"
address = "127.0.0.1:{port}"
tls = "starttls"

[[listen]]
name = "submissions"
address = "127.0.0.1:0"
tls = "implicit"

[[plugin]]
use = "moods"
timeout = 1

[[plugin]]
use = "domains"
domains = "domains"

[[plugin]]
use = "auth_file"
users = "users"

[[plugin]]
use = "discard"
"""

Serve: TypeAlias = Callable[..., AbstractContextManager[Server]]
#: Files that one process needs open for 2,000 clients.
FILES = 3000
#: MiB that both workers may take whatever the clients do: their allocators keep some.
SLACK = 32


#: Where several processes run tests, they wait for each other here.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def alone() -> Iterator[None]:
    """There is one siege at a time."""
    with (Path(gettempdir()) / "gatepost-siege").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def serve(tmp_path: Path, alone: None) -> Serve:
    """Starts a server; its `limits` are lines of that table."""
    pytest.importorskip("aiohttp", reason="what the metrics need is not installed")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < FILES:
        pytest.skip(f"two thousand clients need {FILES} open files: `ulimit -Hn`")
    certificate = trustme.CA().issue_cert("mx.example.org")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "mx.pem"))
    (tmp_path / "users").write_text("anne:{PLAIN}secret\n")
    return partial(
        serving,
        tmp_path,
        configuration=CONFIGURATION,
        per_address=50,
        plugins=Path(__file__).parent,
    )


def ports(server: Server) -> tuple[int, int]:
    """Where TLS may begin, and where it has to."""
    clear, implicit = (int(name.rpartition(":")[2]) for name in server.status()["addresses"])
    return clear, implicit


def check(siege: Siege, server: Server, *, each: float) -> None:
    """What holds after every siege; `each` are the MiB that one hostile client may take."""
    assert siege.honest.troubles == []
    assert len(siege.honest.there) > 30
    assert siege.honest.slowest * siege.processes.share < 1.0
    supervisor, workers = siege.processes.growth()
    assert supervisor < 4
    assert workers < SLACK + each * siege.clients
    assert server.workers() == set(siege.processes.workers)
    server.eventually(lambda: not any(one["sessions"] for one in server.status()["workers"]))


def all_heard(siege: Siege, *words: str) -> set[str]:
    """The kinds of clients that heard nothing last but one of these."""
    return siege.heard.keys() - others_heard(siege, *words).keys()


def others_heard(siege: Siege, *words: str) -> dict[str, dict[str, int]]:
    """The kinds of clients that heard something else last, and what they heard."""
    return {kind: heard for kind, heard in siege.heard.items() if heard.keys() - set(words)}


def errors(server: Server) -> list[str]:
    """What the server has logged as an error."""
    log = (server.directory / "log").read_text()
    return [line for line in log.splitlines() if " error: " in line]


def test_two_thousand_slow_clients(serve: Serve) -> None:
    limits = "command_timeout = 3\ndata_timeout = 3\nhandshake_timeout = 3"
    with serve(limits=limits) as server:
        clear, implicit = ports(server)
        kinds: list[Kind] = [
            ("silent", 300, "", clear),
            ("silent", 50, "implicit", implicit),
            ("drip_command", 300, "", clear),
            ("drip_letter", 500, "", clear),
            ("drip_letter", 50, "starttls", clear),
            ("half_open", 300, "starttls", clear),
            ("half_open", 300, "implicit", implicit),
            ("mute", 200, "implicit", implicit),
            ("deaf", 20, "", clear),
        ]
        siege = besiege(server, kinds)
        check(siege, server, each=0.1)  # OpenSSL takes 70 KB for a handshake, we take ten
        assert all_heard(siege, "421 4.4.2") == {
            "silent",
            "silent implicit",
            "drip_command",
            "drip_letter",
            "drip_letter starttls",
        }
        assert others_heard(siege, "421 4.4.2", "hung up on", "reset") == {}
        assert errors(server) == []


def test_clients_who_never_stop(serve: Serve) -> None:
    with serve(limits="") as server:
        clear, implicit = ports(server)
        kinds: list[Kind] = [
            ("noop", 40, "", clear),
            ("noop", 20, "starttls", clear),
            ("rset", 40, "", clear),
            ("ehlo", 40, "", clear),
            ("vrfy", 40, "", clear),
            ("junk", 40, "", clear),
            ("recipients", 40, "", clear),
            ("strangers", 40, "", clear),
            ("churn", 20, "starttls", clear),
            ("churn", 20, "implicit", implicit),
            ("cancelled AUTH", 20, "implicit", implicit),
            ("guess", 20, "starttls", clear),
        ]
        siege = besiege(server, kinds, seconds=5)
        check(siege, server, each=0.5)  # a thousand recipients
        assert siege.processes.late_growth() < SLACK
        churning = {"churn starttls", "churn implicit"}
        assert all_heard(siege, "221 2.0.0") == churning, siege.heard
        assert others_heard(siege, "421 4.7.0").keys() == churning, siege.heard
        assert errors(server) == []


def test_what_never_ends(serve: Serve) -> None:
    limits = "command_timeout = 4\ndata_timeout = 4\nsession_timeout = 6"
    with serve(limits=limits) as server:
        clear, _ = ports(server)
        kinds: list[Kind] = [
            ("endless command", 20, "", clear),
            ("endless line", 20, "", clear),
            ("endless header", 20, "", clear),
            ("endless letter", 20, "", clear),
            ("endless letter", 20, "starttls", clear),
            ("endless dots", 20, "", clear),
            ("endless chunk", 20, "", clear),
            ("endless chunks", 20, "", clear),
        ]
        siege = besiege(server, kinds)
        check(siege, server, each=1.6)  # a header, a body, and as much as may be read ahead
        assert others_heard(siege, "421 4.4.2") == {}
        assert errors(server) == []


def test_letters_that_exhaust_whoever_looks_into_them(serve: Serve) -> None:
    with serve(limits="") as server:
        clear, _ = ports(server)
        kinds: list[Kind] = [(f"letter:{name}", 2, "", clear) for name in LETTERS]
        siege = besiege(server, kinds, seconds=3)
        check(siege, server, each=3)  # a header is there thrice while it becomes complete
        for name, letter in LETTERS.items():
            assert siege.heard[f"letter:{name}"].keys() == {letter.reply.decode()}, name
        assert errors(server) == []


def test_a_plugin_that_is_out_of_its_mind(serve: Serve) -> None:
    with serve(limits="") as server:
        clear, _ = ports(server)
        kinds: list[Kind] = [(f"mood:{mood}", 20, "", clear) for mood in MOODS]
        siege = besiege(server, kinds, seconds=4)
        check(siege, server, each=0.1)
        assert others_heard(siege, "451 4.3.0") == {}
        asked = sum(heard["451 4.3.0"] for heard in siege.heard.values())
        labels = 'plugin="moods",hook="rcpt",verdict="defer",mode="enforce"'
        counted = f"gatepost_verdicts_total{{{labels}}} {asked}\n"
        server.eventually(lambda: counted in figures(server))
        told = errors(server)
        assert all(" moods failed on rcpt: " in line for line in told)
        for word in ("Timeout", "goes on", "cancelled itself", "gone", "Recursion", "no answer"):
            assert any(word in line for line in told), word


def test_clients_from_everywhere_and_from_one_place(serve: Serve) -> None:
    with serve(limits="connection_rate = 500") as server:
        clear, _ = ports(server)
        kinds: list[Kind] = [
            ("knock", 200, "", clear),
            ("knock", 40, "", clear, "127.0.0.77"),
            ("silent", 60, "", clear, "127.0.0.78"),
        ]
        siege = besiege(server, kinds, seconds=5, going=1)
        check(siege, server, each=0.1)
        assert all_heard(siege, "220 mx.ex") == {"knock"}
        knocked = siege.heard["knock 127.0.0.77"]
        assert knocked.keys() == {"220 mx.ex", "421 4.7.0"}
        assert knocked["220 mx.ex"] <= 1000  # another minute may have begun
        stayed = siege.heard["silent 127.0.0.78"]
        assert stayed.keys() == {"still there", "421 4.7.0"}
        assert stayed["still there"] == 50
        assert errors(server) == []


def figures(server: Server) -> str:
    """What the server tells whoever watches it."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    with closing(connection):
        connection.sock.connect(str(server.directory / "metrics"))
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
