"""What a record is found by."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.archive.clues import (
    Clues,
    clues_of,
    of_network,
    of_recipient,
    of_sender,
    of_user,
)
from gatepost.archive.records import Record


def a_record(
    client: str = "192.0.2.1", *, message: int = 1, messages: int = 0, user: str = ""
) -> Record:
    return Record(
        session="mwsd6dic19vw",
        message=message,
        messages=messages,
        started=0.0,
        seconds=0.0,
        client=client,
        user=user,
        sender="Anne@client.example",
        recipients=("bob@Example.ORG", "carol@example.org"),
    )


def is_found(record: Record, clues: Clues) -> bool:
    return any(clues.first <= clue <= clues.last for clue in clues_of(record))


def test_a_message_is_found_by_its_addresses() -> None:
    record = a_record()
    assert is_found(record, of_sender("anne@CLIENT.example"))
    assert is_found(record, of_recipient("bob@example.org"))
    assert is_found(record, of_recipient("Carol@example.org"))
    assert not is_found(record, of_sender("bob@example.org"))
    assert not is_found(record, of_recipient("anne@client.example"))


def test_a_message_is_found_by_its_user() -> None:
    assert is_found(a_record(user="Anne"), of_user("anne"))
    assert not is_found(a_record(), of_user(""))


def test_the_null_path_is_an_address() -> None:
    bounce = Record(session="x", message=1, started=0.0, seconds=0.0)
    assert is_found(bounce, of_sender(""))
    assert not is_found(a_record(), of_sender(""))


def test_a_session_has_no_sender() -> None:
    session = Record(session="x", started=0.0, seconds=0.0, client="192.0.2.1")
    assert not is_found(session, of_sender(""))
    assert is_found(session, of_network(ip_network("192.0.2.0/24")))


def test_what_tells_nothing_has_no_clues() -> None:
    assert clues_of(a_record(message=0, messages=1)) == set()


@pytest.mark.parametrize("client", ["", "unknown", "/run/gatepost.sock", "999.0.0.1"])
def test_a_client_without_an_address_has_no_clue(client: str) -> None:
    assert not is_found(a_record(client), of_network(ip_network("::/0")))
    assert is_found(a_record(client), of_sender("anne@client.example"))


def test_a_zone_is_no_part_of_an_address() -> None:
    assert is_found(a_record("fe80::1%eth0"), of_network(ip_network("fe80::/10")))
    assert is_found(a_record("fe80::1"), of_network(ip_network("fe80::1%eth0")))


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES, ADDRESSES, st.integers(0, 128))
def test_a_network_finds_its_clients_and_no_others(
    client: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address, prefix: int
) -> None:
    network = ip_network(f"{other}/{min(prefix, other.max_prefixlen)}", strict=False)
    assert is_found(a_record(str(client)), of_network(network)) == _covers(network, client)
    assert is_found(a_record(str(other)), of_network(network))


def _covers(network: IPv4Network | IPv6Network, client: IPv4Address | IPv6Address) -> bool:
    """IPv4 addresses are those below ::ffff:0:0/96 (RFC 4291, 2.5.5.2)."""
    if network.version == 6 and client.version == 4:
        client = ip_address(f"::ffff:{client}")
    if network.version == 4 and client.version == 6:
        mapped = client.ipv4_mapped if isinstance(client, IPv6Address) else None
        return mapped is not None and mapped in network
    return client in network
