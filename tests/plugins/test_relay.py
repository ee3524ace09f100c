"""The plugin relay: who may send mail to any domain."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Endpoint, Entries, Result, Session
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.connect.relay import Relay
from gatepost.testing import a_session

UNIX = Endpoint("/run/gatepost.sock")


def relays(networks: list[str], client: str) -> bool:
    session = a_session(client)
    Relay(Entries(networks)).connect(session)
    return session.relaying


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        # The first and the last address of a network are in it, too.
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.9", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
        ("192.0.2.6/31", ["192.0.2.6", "192.0.2.7"], ["192.0.2.5", "192.0.2.8"]),
        ("192.0.2.9/32", ["192.0.2.9"], ["192.0.2.8", "192.0.2.10"]),
        ("192.0.2.9", ["192.0.2.9"], ["192.0.2.8", "192.0.2.90"]),
        ("192.0.2.0/255.255.255.0", ["192.0.2.9"], ["192.0.3.9"]),
        ("0.0.0.0/0", ["192.0.2.9", "::ffff:192.0.2.9"], ["2001:db8::1", "::1"]),
        ("::/0", ["2001:db8::1", "::1"], ["192.0.2.9", "::ffff:192.0.2.9"]),
        ("2001:DB8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::"]),
        ("2001:db8::1", ["2001:db8::1", "2001:DB8:0:0::1"], ["2001:db8::2", "192.0.2.9"]),
        ("192.0.2.0/24", ["::ffff:192.0.2.9", "::ffff:c000:209"], ["::ffff:192.0.3.9"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.9", "::ffff:192.0.2.9"], ["192.0.3.9"]),
        ("::ffff:192.0.2.9", ["192.0.2.9", "::ffff:192.0.2.9"], ["192.0.2.8"]),
        ("10.0.0.0/8", [], ["127.0.0.1", "::1"]),
    ],
)
def test_who_may_relay(network: str, inside: list[str], outside: list[str]) -> None:
    assert [client for client in inside if not relays([network], client)] == []
    assert [client for client in outside if relays([network], client)] == []


@pytest.mark.parametrize("client", ["192.0.2.1", "::1", ""])
def test_nobody_relays_unasked(client: str) -> None:
    assert not relays([], client)


def test_the_trail_tells_why() -> None:
    session = a_session("::ffff:192.0.2.9")
    Relay(Entries(["192.0.0.0/16", "192.0.2.0/24", "192.0.2.128/25"])).connect(session)
    assert session.trail.results == [Result("relay", "pass", "192.0.2.9 is in 192.0.2.0/24")]
    stranger = a_session("198.51.100.9")
    Relay(Entries(["192.0.2.0/24"])).connect(stranger)
    assert stranger.trail.results == []


@pytest.mark.parametrize(
    ("client", "server", "unix", "relaying"),
    [
        (Endpoint(""), UNIX, True, True),
        (Endpoint("/tmp/client.sock"), UNIX, True, True),
        (Endpoint(""), UNIX, False, False),
        # The address of a client that is gone already cannot be learned.
        (Endpoint(""), Endpoint("198.51.100.1", 25), True, False),
        (Endpoint(""), Endpoint(""), True, False),
        (Endpoint("192.0.2.1", 49152), Endpoint("198.51.100.1", 25), True, False),
    ],
)
def test_clients_of_unix_sockets(
    client: Endpoint, server: Endpoint, unix: bool, relaying: bool
) -> None:
    session = Session(client, server, "mx")
    Relay(Entries(["0.0.0.0/0"]) if relaying else Entries(), unix=unix).connect(session)
    assert session.relaying is relaying


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(29, 32))), st.integers(0, 7))
def test_networks_are_found_as_if_they_were_tried_one_by_one(
    networks: list[tuple[int, int]], client: int
) -> None:
    written = [f"192.0.2.{first >> 32 - size << 32 - size}/{size}" for first, size in networks]
    address = f"192.0.2.{client}"
    assert relays(written, address) == any(relays([one], address) for one in written)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        ("192.0.2.1/24", "an address inside a network: write '192.0.2.0/24'"),
        ("2001:db8::1/32", "an address inside a network: write '2001:db8::/32'"),
        ("192.168.", "'192.168.' does not appear to be an IPv4 or IPv6 network"),
        ("192.0.2.0/33", "'192.0.2.0/33' does not appear to be an IPv4 or IPv6 network"),
        ("localhost", "'localhost' does not appear to be an IPv4 or IPv6 network"),
        ("fe80::1%eth0", "a zone cannot be checked: leave it out"),
    ],
)
def test_what_is_no_network(network: str, why: str, tmp_path: Path) -> None:
    table = {"use": "relay", "networks": ["192.0.2.0/24", network]}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [(complaint.text, complaint.key) for complaint in outcome] == [
        (f"relay: option 'networks': {network!r}: {why}", "networks")
    ]


def test_networks_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "relays.txt").write_text("192.0.2.0/24 # the office\n2001:db8::/32\n")
    table = {"use": "relay", "networks": "relays.txt"}
    outcome = load(table, directory=tmp_path, directories=[])
    assert isinstance(outcome, Loaded)
    session = a_session("2001:db8::1")
    assert outcome.plugin.connect(session) is None
    assert session.relaying


def test_a_file_that_changes_for_the_worse_leaves_things_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "relays.txt"
    path.write_text("192.0.2.0/24\n")
    plugin = Relay(Entries.in_file(path, clock=count(0, 10).__next__))
    path.write_text("0.0.0.0/0\n192.0.2.1/24\n")
    os.utime(path, ns=(0, 1))
    inside, outside = a_session("192.0.2.9"), a_session("198.51.100.9")
    plugin.connect(inside)
    plugin.connect(outside)
    assert (inside.relaying, outside.relaying) == (True, False)
