"""The sockets that clients come to: bound once, kept, handed on, given back."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gatepost.config import Listen
from gatepost.processes import sockets as sockets_of_a_server
from gatepost.processes.sockets import Sockets, from_systemd
from gatepost.server.listener import CannotListen
from tests.ports import some_ports

MX = Listen("127.0.0.1:0", "mx")
SUBMISSION = Listen("127.0.0.1:0", "submission")


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    bound = Sockets()
    yield bound
    bound.close()


@pytest.fixture
def path() -> Iterator[Path]:
    """Where a Unix socket may be; short enough for one."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "lmtp.sock"


@contextmanager
def bound_by_somebody_else() -> Iterator[tuple[socket.socket, Listen]]:
    """A socket, a copy of which the other keeps; and the listener whose it is to be."""
    with socket.create_server(("127.0.0.1", 0)) as kept:
        yield kept.dup(), Listen(f"127.0.0.1:{kept.getsockname()[1]}", "mx")


def is_reached(listen: Listen, one: socket.socket) -> bool:
    """Whether a client of that address comes to that socket."""
    where = listen.socket_address
    family = socket.AF_UNIX if where.path is not None else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(5)
        client.connect(os.fspath(where.path) if where.path else (where.host, where.port))
        one.setblocking(True)
        one.settimeout(5)
        with one.accept()[0]:
            return True


# -- Binding --------------------------------------------------------------------------------------


def test_clients_can_come_as_soon_as_it_is_bound(sockets: Sockets) -> None:
    (one,) = sockets.bind([MX])
    assert not one.getblocking()
    assert not one.get_inheritable()
    assert is_reached(Listen(str(sockets.address_of(MX)), "mx"), one)


def test_an_address_is_bound_once(sockets: Sockets) -> None:
    first = sockets.bind([MX, SUBMISSION])
    assert sockets.bind([SUBMISSION, MX]) == first[::-1]


def test_the_system_chooses_the_port_of_each_listener(sockets: Sockets) -> None:
    sockets.bind([MX, SUBMISSION])
    ports = {sockets.address_of(listen).port for listen in (MX, SUBMISSION)}
    assert len(ports) == 2
    assert 0 not in ports


def test_an_address_is_where_it_was_told_to_be(sockets: Sockets, path: Path) -> None:
    for listen in (Listen("192.0.2.1:25"), Listen(f"unix:{path}")):
        assert sockets.address_of(listen) == listen.socket_address


def test_an_address_can_be_had_again_at_once(sockets: Sockets) -> None:
    (one,) = sockets.bind([MX])
    mx = Listen(str(sockets.address_of(MX)), "mx")
    assert is_reached(mx, one)  # and the kernel remembers for a minute that it hung up
    sockets.close()
    (one,) = sockets.bind([mx])
    assert is_reached(mx, one)


def test_a_listener_may_change_its_name_and_keep_its_socket(sockets: Sockets) -> None:
    sockets.bind([MX])
    address = str(sockets.address_of(MX))
    sockets.close()
    (one,) = sockets.bind([Listen(address, "mx")])
    assert sockets.bind([Listen(address, "inbound")]) == [one]


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine does not speak IPv6")
def test_both_versions_of_ip_at_one_port(sockets: Sockets) -> None:
    for port in some_ports():
        with suppress(CannotListen):
            sockets.bind([Listen(f"[::]:{port}", "six"), Listen(f"0.0.0.0:{port}", "four")])
            return
    pytest.fail("none of a hundred ports could be had twice")


def link_local() -> str:
    """An address of this machine that is good on one interface only, with that; or none."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return ""
    for digits, *_, interface in (line.split() for line in lines):
        if digits.startswith("fe80"):
            parts = [digits[place : place + 4] for place in range(0, 32, 4)]
            return f"{':'.join(parts)}%{interface}"
    return ""


@pytest.mark.skipif(not link_local(), reason="this machine has no link-local address")
def test_an_address_of_one_interface(sockets: Sockets) -> None:
    (one,) = sockets.bind([Listen(f"[{link_local()}]:0")])
    assert one.getsockname()[3] > 0


def test_an_interface_that_is_not_there(sockets: Sockets) -> None:
    with pytest.raises(CannotListen):
        sockets.bind([Listen("[fe80::1%nowhere]:0")])


def test_an_address_that_somebody_has(sockets: Sockets) -> None:
    with bound_by_somebody_else() as (copy, taken), copy:
        with pytest.raises(CannotListen) as caught:
            sockets.bind([MX, taken, SUBMISSION])
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.listen is taken
        (one,) = sockets.bind([MX])  # is bound all the same
        assert is_reached(Listen(str(sockets.address_of(MX))), one)


# -- Unix sockets ---------------------------------------------------------------------------------


def test_a_unix_socket_is_removed_at_the_end(sockets: Sockets, path: Path) -> None:
    listen = Listen(f"unix:{path}")
    (one,) = sockets.bind([listen])
    assert not one.getblocking()
    assert is_reached(listen, one)
    sockets.close()
    assert not path.exists()


def test_a_unix_socket_that_was_left_behind_is_replaced(sockets: Sockets, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
        dead.listen()
    (one,) = sockets.bind([Listen(f"unix:{path}")])
    assert is_reached(Listen(f"unix:{path}"), one)


def test_a_unix_socket_where_somebody_answers(sockets: Sockets, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(path))
        other.listen()
        with pytest.raises(CannotListen) as caught:
            sockets.bind([Listen(f"unix:{path}")])
        assert caught.value.errno == errno.EADDRINUSE
        assert is_reached(Listen(f"unix:{path}"), other)


def test_only_its_own_unix_socket_is_removed(sockets: Sockets, path: Path) -> None:
    sockets.bind([Listen(f"unix:{path}")])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(path))
        sockets.close()
        assert stat.S_ISSOCK(path.stat().st_mode)


def test_a_file_is_no_socket(sockets: Sockets, path: Path) -> None:
    path.write_text("of somebody else")
    with pytest.raises(CannotListen) as caught:
        sockets.bind([Listen(f"unix:{path}")])
    assert caught.value.errno == errno.EEXIST
    sockets.close()
    assert path.read_text() == "of somebody else"


def test_a_directory_that_is_not_there(sockets: Sockets, path: Path) -> None:
    with pytest.raises(CannotListen) as caught:
        sockets.bind([Listen(f"unix:{path.parent}/none/lmtp.sock")])
    assert caught.value.errno == errno.ENOENT


# -- Letting go -----------------------------------------------------------------------------------


def test_sockets_that_no_listener_has_are_closed(sockets: Sockets, path: Path) -> None:
    unix = Listen(f"unix:{path}")
    stays, goes, file = sockets.bind([MX, SUBMISSION, unix])
    sockets.keep_only([MX])
    assert (goes.fileno(), file.fileno()) == (-1, -1)
    assert not path.exists()
    assert sockets.bind([MX]) == [stays]
    assert is_reached(Listen(str(sockets.address_of(MX))), stays)


def test_all_are_closed_at_the_end(sockets: Sockets) -> None:
    bound = sockets.bind([MX, SUBMISSION])
    sockets.close()
    assert [one.fileno() for one in bound] == [-1, -1]
    sockets.close()


# -- Sockets that somebody else has bound ---------------------------------------------------------


def test_a_socket_that_was_inherited_is_its_listeners(path: Path) -> None:
    with bound_by_somebody_else() as (copy, mx), socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.fspath(path))
        unix.listen()
        lmtp = Listen(f"unix:{path}")
        sockets = Sockets([copy, unix])
        assert set(sockets.unclaimed) == {mx.address, lmtp.address}
        assert sockets.bind([lmtp, mx]) == [unix, copy]
        assert sockets.bind([mx]) == [copy]
        assert not sockets.unclaimed
        sockets.close()
        assert path.exists()  # it is for whoever has made it to remove it


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine does not speak IPv6")
def test_an_address_that_is_spelt_in_another_way() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as one:
        sockets = Sockets([one])
        assert sockets.bind([Listen(f"[0:0::0001]:{one.getsockname()[1]}")]) == [one]
        sockets.close()


def test_a_socket_that_was_inherited_can_be_had_again() -> None:
    with bound_by_somebody_else() as (copy, mx):
        sockets = Sockets([copy])
        sockets.bind([mx])
        sockets.keep_only([])
        assert sockets.unclaimed == (mx.address,)
        assert sockets.bind([mx]) == [copy]
        assert is_reached(mx, copy)
        sockets.close()


def test_a_socket_that_nobody_claims_is_closed_at_the_end() -> None:
    with bound_by_somebody_else() as (copy, mx):
        sockets = Sockets([copy])
        sockets.bind([MX])
        assert sockets.unclaimed == (mx.address,)
        sockets.close()
        assert copy.fileno() == -1
        assert not sockets.unclaimed


# -- systemd --------------------------------------------------------------------------------------

#: A number that no other file of the test has.
FIRST = 700


@pytest.fixture
def first_descriptor(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """That of the first socket that systemd hands over; those from there on are closed."""
    monkeypatch.setattr(sockets_of_a_server, "FIRST_DESCRIPTOR", FIRST)
    yield FIRST
    os.closerange(FIRST, FIRST + 5)


def handed_over(count: str, pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid() if pid is None else pid), "LISTEN_FDS": count}


def test_sockets_of_systemd(first_descriptor: int) -> None:
    with bound_by_somebody_else() as (one, mx), bound_by_somebody_else() as (two, submission):
        os.dup2(one.fileno(), first_descriptor)
        os.dup2(two.fileno(), first_descriptor + 1)
        one.close()
        two.close()
        first, second = from_systemd(handed_over("2"))
        assert (first.fileno(), second.fileno()) == (first_descriptor, first_descriptor + 1)
        assert not any(given.get_inheritable() or given.getblocking() for given in (first, second))
        assert is_reached(mx, first)
        assert is_reached(submission, second)
        first.close()
        second.close()


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_FDS": "1"}, handed_over("1", pid=1), handed_over("0"), handed_over("some")],
    ids=["nothing", "nobody", "for somebody else", "none", "nonsense"],
)
def test_where_systemd_hands_nothing_over(
    first_descriptor: int, environment: dict[str, str]
) -> None:
    with bound_by_somebody_else() as (copy, _), copy:
        os.dup2(copy.fileno(), first_descriptor)
        assert from_systemd(environment) == []
        os.fstat(first_descriptor)  # is left alone


def no_socket() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def a_socket_for_datagrams() -> int:
    return socket.socket(type=socket.SOCK_DGRAM).detach()


def a_connection() -> int:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours.detach()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (no_socket, "non-socket"),
        (a_socket_for_datagrams, "nobody can connect"),
        (a_connection, "nobody can connect"),
    ],
)
def test_what_is_no_socket_for_clients(
    first_descriptor: int, make: Callable[[], int], what: str
) -> None:
    with bound_by_somebody_else() as (copy, _), copy:
        os.dup2(copy.fileno(), first_descriptor)
        made = make()
        os.dup2(made, first_descriptor + 1)
        os.close(made)
        with pytest.raises(OSError, match=what):
            from_systemd(handed_over("2"))


def test_descriptors_that_are_not_there(first_descriptor: int) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        from_systemd(handed_over("9999999999"))
