"""TlsChannel: a client of `ssl` on the other side, and no socket between them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

import pytest
import trustme

from gatepost.server.tls_channel import TlsChannel
from gatepost.tls_context import TlsContext, new_context, read_certificate

NO_APPLICATION_PROTOCOL = bytes((21, 3, 3, 0, 2, 2, 120))
UNEXPECTED_MESSAGE = bytes((21, 3, 3, 0, 2, 2, 10))

NewContext = Callable[..., TlsContext]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def new_server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> NewContext:
    """Makes contexts of a server, which has a certificate of the authority's."""
    directory = tmp_path_factory.mktemp("tls")
    authority.issue_cert("mx.example.org").private_key_and_cert_chain_pem.write_to_path(
        directory / "mx.pem"
    )
    authority.cert_pem.write_to_path(directory / "ca.pem")

    def new(*, client_certificates: str = "ignore", minimum: str = "1.2") -> TlsContext:
        context = new_context(
            minimum="1.3" if minimum == "1.3" else "1.2",
            client_certificates="require" if client_certificates == "require" else "ignore",
            client_ca=None if client_certificates == "ignore" else directory / "ca.pem",
        )
        context.add(read_certificate(directory / "mx.pem"))
        return context

    return new


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return ssl.TLSVersion[request.param]


class Client:
    """The other side."""

    def __init__(self, authority: trustme.CA, version: ssl.TLSVersion) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.context)
        self.context.minimum_version = self.context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject

    def dial(self, name: str | None = "mx.example.org") -> Client:
        self.context.check_hostname = name is not None
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        return self

    def shake_hands(self, channel: TlsChannel, *, at_a_time: int = 1_000_000) -> None:
        done = False
        for _ in range(8):
            if not done:
                try:
                    self.tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
            self.tell(channel, self.outgoing.read(), at_a_time=at_a_time)
            if done and channel.ready:
                return
        raise AssertionError("no handshake")

    def tell(self, channel: TlsChannel, octets: bytes, *, at_a_time: int = 1_000_000) -> bytes:
        """Give octets of the wire to the channel, and its answer to the client."""
        said = b""
        try:
            for start in range(0, len(octets), at_a_time):
                said += channel.receive(octets[start : start + at_a_time])
        finally:
            self.incoming.write(channel.outgoing())
        return said

    def sealed(self, octets: bytes) -> bytes:
        self.tls.write(octets)
        return self.outgoing.read()


@pytest.fixture
def client(authority: trustme.CA, version: ssl.TLSVersion) -> Client:
    return Client(authority, version)


# -- A good conversation --------------------------------------------------------------------------


def test_they_understand_each_other(new_server: NewContext, client: Client) -> None:
    channel = TlsChannel(new_server())
    client.dial().shake_hands(channel)
    assert client.tell(channel, client.sealed(b"EHLO client.example\r\n")) == (
        b"EHLO client.example\r\n"
    )
    channel.seal(b"250 mx.example.org\r\n")
    client.incoming.write(channel.outgoing())
    assert client.tls.read() == b"250 mx.example.org\r\n"
    assert channel.outgoing() == b""


def test_any_pieces_make_the_same_conversation(new_server: NewContext, client: Client) -> None:
    channel = TlsChannel(new_server())
    client.dial().shake_hands(channel, at_a_time=1)
    wire = client.sealed(b"EHLO a\r\n") + client.sealed(b"MAIL FROM:<>\r\n")
    assert client.tell(channel, wire, at_a_time=1) == b"EHLO a\r\nMAIL FROM:<>\r\n"


def test_what_is_said_with_the_end_of_the_handshake_is_heard(
    new_server: NewContext, client: Client
) -> None:
    channel = TlsChannel(new_server())
    client.dial()
    said = b""
    while not channel.ready:
        try:
            client.tls.do_handshake()
            client.tls.write(b"EHLO a\r\n")
        except ssl.SSLWantReadError:
            pass
        said += client.tell(channel, client.outgoing.read())
    if not said:  # TLS 1.2: the client waits for the server's last word before its first
        client.tls.do_handshake()
        said = client.tell(channel, client.sealed(b"EHLO a\r\n"))
    assert said == b"EHLO a\r\n"


def test_much_goes_both_ways(new_server: NewContext, client: Client) -> None:
    channel = TlsChannel(new_server())
    client.dial().shake_hands(channel)
    letter = os.urandom(300_000)
    left, wire = memoryview(letter), b""
    while left:
        left = left[client.tls.write(left) :]
        wire += client.outgoing.read()
    assert client.tell(channel, wire) == letter
    channel.seal(letter)
    client.incoming.write(channel.outgoing())
    heard = b""
    while len(heard) < len(letter):
        heard += client.tls.read(65536)
    assert heard == letter
