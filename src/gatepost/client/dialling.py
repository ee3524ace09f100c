"""Dialling: from a destination to a session that takes messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from socket import SOCK_STREAM, gaierror
from typing import Final

from gatepost.client.connection import Connection, HandshakeFailed, Interrupted
from gatepost.client.destination import Destination, NextHop, Program
from gatepost.client.spawning import connect_to_program
from gatepost.client.timeouts import Timeouts
from gatepost.protocol.client import ClientProtocol
from gatepost.protocol.opening import Opening, Refusal, TlsPolicy
from gatepost.protocol.stages import Stage
from gatepost.reply import Reply, printable
from gatepost.tls_client import client_context

#: Addresses of one host that are tried; RFC 5321, 5.1 asks for two at least.
ADDRESSES_LIMIT: Final = 4


@dataclass(frozen=True, slots=True)
class Manner:
    """How sessions are opened, whichever server it is."""

    hostname: str  #: the name that we give
    tls: TlsPolicy = "may"
    verify: bool = False  #: whether the certificate must be good for the host's name
    authorities: Path | None = None  #: a file of certificates to trust instead of the system's
    timeouts: Timeouts = field(default_factory=Timeouts)


async def open_session(destination: NextHop, manner: Manner) -> Connection:
    """Connect, greet and secure; raises Interrupted.

    Where TLS is only welcome and its handshake fails, the session is opened once more in clear
    (RFC 7435): no TLS was asked for, and mail that cannot be sent helps nobody.
    """
    tls = "off" if destination.is_local else manner.tls
    try:
        return await _open(destination, manner, tls)
    except HandshakeFailed:
        if tls == "must" or manner.verify:
            raise
        return await _open(destination, manner, "off")


async def _open(destination: NextHop, manner: Manner, tls: TlsPolicy) -> Connection:
    connection = await _connect(destination, manner)
    opening = Opening(connection.protocol, tls)
    with ExitStack() as on_failure:
        on_failure.callback(connection.abort)
        while not opening.done:
            connection.write(opening.receive(await connection.answer()))
            if opening.wants_tls:
                context = client_context(verify=manner.verify, authorities=manner.authorities)
                await connection.secure(context, destination.host)
                connection.write(opening.secured())
        on_failure.pop_all()
    if opening.refusal is not None:
        connection.leave()
        raise Interrupted(opening.refusal)
    return connection


async def _connect(destination: NextHop, manner: Manner) -> Connection:
    loop = asyncio.get_running_loop()
    seconds = manner.timeouts.connect

    def factory() -> Connection:
        protocol = ClientProtocol(manner.hostname, lmtp=destination.lmtp)
        return Connection(protocol, manner.timeouts, peer=str(destination), loop=loop)

    try:
        if isinstance(destination, Program):
            protocol = ClientProtocol(manner.hostname, lmtp=destination.lmtp)
            async with asyncio.timeout(seconds):
                return await connect_to_program(destination, protocol, manner.timeouts)
        if destination.is_unix:
            async with asyncio.timeout(seconds):
                return (await loop.create_unix_connection(factory, destination.host))[1]
        async with asyncio.timeout(seconds):
            addresses = await _look_up(destination)
    except (OSError, UnicodeError) as error:
        raise _unreachable(destination, error) from None
    return await _connect_to_one(destination, addresses, seconds=seconds, factory=factory)


async def _connect_to_one(
    destination: Destination,
    addresses: list[str],
    *,
    seconds: float,
    factory: Callable[[], Connection],
) -> Connection:
    """A connection to the first address that answers; each has its own time."""
    loop = asyncio.get_running_loop()
    failure = OSError("it has no address")
    for address in addresses:
        try:
            async with asyncio.timeout(seconds):
                return (await loop.create_connection(factory, address, destination.port))[1]
        except OSError as error:  # a time-out is one
            failure = error
    raise _unreachable(destination, failure)


async def _look_up(destination: Destination) -> list[str]:
    try:
        return [str(ip_address(destination.host))]
    except ValueError:
        pass
    found = await asyncio.get_running_loop().getaddrinfo(
        destination.host, destination.port, type=SOCK_STREAM
    )
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:ADDRESSES_LIMIT]


def _unreachable(destination: NextHop, error: OSError | UnicodeError) -> Interrupted:
    """Nobody is there: said as a deferral, for it is our configuration that names the host."""
    unknown = isinstance(error, gaierror | UnicodeError)
    words = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
    text = f"{destination} cannot be reached: {words}"
    return Interrupted(
        Refusal(Stage.CONNECT, Reply(451, "4.4.3" if unknown else "4.4.1", printable(text)))
    )


def _reason(error: OSError | UnicodeError) -> str:
    """What the system says, without the number, and without the path of a program."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
