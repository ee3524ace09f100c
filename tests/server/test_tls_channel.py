"""TlsChannel: a client of `ssl` on the other side, and no socket between them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from ctypes import c_void_p
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gatepost.server import openssl_calls
from gatepost.server.openssl_calls import exported_key, own_certificate
from gatepost.server.tls_channel import HANDSHAKE_LIMIT, UNASKED_LIMIT, TlsChannel, TlsFailure
from gatepost.tls_context import ClientCertificates, TlsContext, new_context, read_certificate

LABEL = b"EXPORTER-Channel-Binding"

NewContext = Callable[..., TlsContext]


def fatal(alert: int) -> bytes:
    """The record of a fatal alert (RFC 8446, 6) that is not encrypted."""
    return bytes((21, 3, 3, 0, 2, 2, alert))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def directory(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with the authority's certificate and with two of the server's own."""
    directory = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    for file, kind in (("mx", trustme.KeyType.ECDSA), ("rsa", trustme.KeyType.RSA)):
        own = authority.issue_cert("mx.example.org", key_type=kind)
        own.private_key_and_cert_chain_pem.write_to_path(str(directory / f"{file}.pem"))
    return directory


@pytest.fixture(scope="module")
def serving(directory: Path) -> NewContext:
    """Makes contexts of a server with these certificates."""

    def new(*names: str, client_certificates: ClientCertificates = "ignore") -> TlsContext:
        asks = client_certificates != "ignore"
        context = new_context(
            client_certificates=client_certificates,
            client_ca=directory / "ca.pem" if asks else None,
        )
        for name in names or ("mx",):
            context.add(read_certificate(directory / f"{name}.pem"))
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
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="unused")

    def dial(self, name: str | None = "mx.example.org") -> Client:
        """Begin anew, with what has been set on the context, and ask for that host."""
        self.context.check_hostname = name is not None
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        return self

    def shake_hands(self, channel: TlsChannel, *, at_a_time: int = 1_000_000) -> None:
        for _ in range(4):
            self.say_hello()
            self.tell(channel, self.outgoing.read(), at_a_time=at_a_time)
        assert channel.ready

    def say_hello(self) -> None:
        """Go on with the handshake as far as it goes."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()

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
        left, wire = memoryview(octets), b""
        while left:
            left = left[self.tls.write(left) :]
            wire += self.outgoing.read()
        return wire

    def goodbye(self) -> bytes:
        """Its close_notify."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()


@pytest.fixture(scope="module")
def hello(authority: trustme.CA) -> bytes:
    """The ClientHello of a client."""
    client = Client(authority, ssl.TLSVersion.TLSv1_3).dial()
    client.say_hello()
    return client.outgoing.read()


@pytest.fixture
def client(authority: trustme.CA, version: ssl.TLSVersion) -> Client:
    return Client(authority, version)


@pytest.fixture
def client_1_2(authority: trustme.CA) -> Client:
    return Client(authority, ssl.TLSVersion.TLSv1_2)


@pytest.fixture
def client_1_3(authority: trustme.CA) -> Client:
    return Client(authority, ssl.TLSVersion.TLSv1_3)


# -- A good conversation --------------------------------------------------------------------------


def test_they_understand_each_other(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    assert client.tell(channel, client.sealed(b"EHLO a\r\n")) == b"EHLO a\r\n"
    channel.seal(b"250 mx.example.org\r\n")
    client.incoming.write(channel.outgoing())
    assert client.tls.read() == b"250 mx.example.org\r\n"
    assert channel.outgoing() == b""
    assert not channel.ended


def test_single_octets_make_the_same_conversation(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel, at_a_time=1)
    wire = client.sealed(b"EHLO a\r\n") + client.sealed(b"MAIL FROM:<>\r\n")
    assert client.tell(channel, wire, at_a_time=1) == b"EHLO a\r\nMAIL FROM:<>\r\n"


def test_what_comes_with_the_end_of_the_handshake_is_heard(
    serving: NewContext, client_1_3: Client
) -> None:
    channel = TlsChannel(serving())
    client_1_3.dial().say_hello()
    client_1_3.tell(channel, client_1_3.outgoing.read())
    client_1_3.tls.do_handshake()
    client_1_3.tls.write(b"EHLO a\r\n")
    assert not channel.ready
    assert channel.receive(client_1_3.outgoing.read()) == b"EHLO a\r\n"
    assert channel.ready


def test_much_goes_both_ways(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    letter = os.urandom(300_000)
    assert client.tell(channel, client.sealed(letter)) == letter
    channel.seal(letter)
    client.incoming.write(channel.outgoing())
    heard = b""
    while len(heard) < len(letter):
        heard += client.tls.read(65_536)
    assert heard == letter


def test_its_facts(serving: NewContext, client: Client, version: ssl.TLSVersion) -> None:
    channel = TlsChannel(serving())
    client.dial("MX.example.org").shake_hands(channel)
    tls = channel.tls()
    name, _, bits = client.tls.cipher() or ("", "", 0)
    assert (tls.version, tls.cipher, tls.bits) == (client.tls.version(), name, bits)
    assert tls.version == version.name.replace("_", ".")
    assert tls.bits >= 128
    assert (tls.server_name, tls.certificate) == ("mx.example.org", None)
    assert tls.binding("tls-unique") is None


def test_a_client_need_not_ask_for_a_name(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial(None).shake_hands(channel)
    assert channel.tls().server_name == ""


# -- ALPN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], ["imap"], ["SMTP"]])
def test_a_client_that_came_for_something_else_is_refused(
    serving: NewContext, client: Client, offered: list[str]
) -> None:
    """RFC 7301, 3.2; what a browser says must not be taken for mail (ALPACA, CVE-2021-3618)."""
    client.context.set_alpn_protocols(offered)
    channel = TlsChannel(serving())
    client.dial().say_hello()
    with pytest.raises(TlsFailure, match="another protocol"):
        channel.receive(client.outgoing.read())
    assert channel.ended
    client.incoming.write(answer := channel.outgoing())
    assert answer == fatal(120)
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        client.tls.do_handshake()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["smtp"], "smtp"), (["h2", "esmtp"], "esmtp"), (["lmtp"], "lmtp"), ([], None)],
)
def test_a_client_that_came_for_mail_is_told_so(
    serving: NewContext, client: Client, offered: list[str], chosen: str | None
) -> None:
    if offered:
        client.context.set_alpn_protocols(offered)
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    assert client.tls.selected_alpn_protocol() == chosen


# -- Clients' certificates ------------------------------------------------------------------------


def test_the_clients_certificate_is_told(
    serving: NewContext, client: Client, authority: trustme.CA
) -> None:
    authority.issue_cert("client.example", "anne@example.org", common_name="Anne").configure_cert(
        client.context
    )
    channel = TlsChannel(serving(client_certificates="require"))
    client.dial().shake_hands(channel)
    certificate = channel.tls().certificate
    assert certificate is not None
    assert "CN=Anne" in certificate.subject
    assert certificate.names == ("client.example", "anne@example.org")
    assert certificate.fingerprint == sha256(certificate.der).hexdigest()


def test_without_a_certificate_there_is_no_handshake(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving(client_certificates="require"))
    with pytest.raises(TlsFailure, match="peer did not return a certificate"):
        client.dial().shake_hands(channel)
    assert not channel.ready


def test_a_certificate_may_be_left_out_where_it_is_only_requested(
    serving: NewContext, client: Client
) -> None:
    channel = TlsChannel(serving(client_certificates="request"))
    client.dial().shake_hands(channel)
    assert channel.tls().certificate is None


@pytest.mark.parametrize("manner", ["request", "require"])
def test_a_strangers_certificate_ends_the_handshake(
    serving: NewContext, client: Client, manner: ClientCertificates
) -> None:
    trustme.CA().issue_cert("client.example").configure_cert(client.context)
    channel = TlsChannel(serving(client_certificates=manner))
    with pytest.raises(TlsFailure, match="unable to get local issuer certificate"):
        client.dial().shake_hands(channel)
    assert channel.ended
    with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
        client.tls.read() if client.tls.version() == "TLSv1.3" else client.tls.do_handshake()


# -- Channel bindings -----------------------------------------------------------------------------


def test_both_sides_export_the_same_key(serving: NewContext, client_1_3: Client) -> None:
    channel = TlsChannel(serving())
    client_1_3.dial().shake_hands(channel)
    binding = channel.tls().binding("tls-exporter")
    if binding is None:
        pytest.skip("this Python does not let OpenSSL be asked")
    assert len(binding) == 32
    assert binding == exported_key(client_1_3.tls, LABEL, 32)
    assert binding != exported_key(client_1_3.tls, b"EXPORTER-Something-Else", 32)


def test_no_key_is_exported_under_tls_1_2(serving: NewContext, client_1_2: Client) -> None:
    channel = TlsChannel(serving())
    client_1_2.dial().shake_hands(channel)
    assert channel.tls().binding("tls-exporter") is None


def test_the_end_point_is_the_hash_of_the_certificate(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    shown = client.tls.getpeercert(binary_form=True)
    assert shown is not None
    assert channel.tls().binding("tls-server-end-point") == sha256(shown).digest()


@pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
def test_of_two_certificates_the_one_that_was_shown_is_the_end_point(
    serving: NewContext, client_1_2: Client, kind: str
) -> None:
    client_1_2.context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
    channel = TlsChannel(serving("mx", "rsa"))
    client_1_2.dial().shake_hands(channel)
    shown = client_1_2.tls.getpeercert(binary_form=True)
    assert shown is not None
    assert f"-{kind}-" in channel.tls().cipher
    assert channel.tls().binding("tls-server-end-point") == sha256(shown).digest()


def test_of_two_certificates_none_is_the_end_point_where_none_was_shown(
    serving: NewContext, client_1_2: Client
) -> None:
    context = serving("mx", "rsa")
    channel = TlsChannel(context)
    client_1_2.dial().shake_hands(channel)
    channel.close()
    client_1_2.tell(channel, client_1_2.goodbye())
    session = client_1_2.tls.session
    channel = TlsChannel(context)
    client_1_2.incoming.read()
    client_1_2.dial().tls.session = session
    client_1_2.shake_hands(channel)
    assert client_1_2.tls.session_reused
    assert channel.tls().binding("tls-server-end-point") is None


def test_a_foreign_context_does_not_tell_its_end_point(directory: Path, client_1_3: Client) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "mx.pem")
    channel = TlsChannel(context)
    client_1_3.dial().shake_hands(channel)
    assert channel.tls().server_name == "mx.example.org"
    assert channel.tls().binding("tls-server-end-point") is None


class OtherLayout:
    """An object as big as the one of `_ssl`, with something else where the context would be."""

    __slots__ = ("first", "second", "third")

    def __init__(self) -> None:
        self.first, self.second, self.third = 1, 2, 3


class OtherConnection(ssl.SSLObject):
    """A connection of a Python that keeps its `SSL *` somewhere else."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, inner: object) -> None:
        self._sslobj = inner


@pytest.mark.parametrize("inner", [OtherLayout(), object(), None])
def test_an_unknown_layout_is_left_alone(inner: object) -> None:
    assert exported_key(OtherConnection(inner), LABEL, 32) is None
    assert own_certificate(OtherConnection(inner)) is None


# -- The end --------------------------------------------------------------------------------------


def test_nothing_is_heard_behind_close_notify(serving: NewContext, client: Client) -> None:
    """RFC 8446, 6.1; to go on in clear was Exim's CVE-2026-45185."""
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    wire = client.sealed(b"BDAT 100\r\nten octets") + client.goodbye()
    assert channel.receive(wire + b"RSET\r\n") == b"BDAT 100\r\nten octets"
    assert channel.ended
    assert channel.receive(b"QUIT\r\n") == b""


def test_a_client_that_says_no_more_is_still_answered(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    channel.receive(client.goodbye())
    channel.seal(b"250 Ok\r\n")
    assert channel.outgoing() != b""


def test_close_says_so(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    channel.seal(b"221 Bye\r\n")
    channel.close()
    client.incoming.write(channel.outgoing())
    assert client.tls.read() == b"221 Bye\r\n"
    assert client.tls.read() == b""
    assert channel.ended
    assert channel.receive(client.goodbye()) == b""
    channel.seal(b"more")
    channel.close()
    assert channel.outgoing() == b""


def test_close_before_the_handshake_says_nothing(serving: NewContext) -> None:
    channel = TlsChannel(serving())
    channel.close()
    assert channel.ended
    assert channel.outgoing() == b""


def test_close_within_the_handshake_is_no_failure(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().say_hello()
    client.tell(channel, client.outgoing.read())
    channel.close()
    client.say_hello()
    assert channel.receive(client.outgoing.read()) == b""
    assert not channel.ready


# -- What is not TLS, or not as we want it --------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"E",
        b"GET / HTTP/1.1\r\nHost: mx.example.org\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16E",
        b"\x80\x2e\x01\x00\x02",  # a ClientHello of SSL 2
        bytes((21, 3, 3, 0, 2, 1, 0)),  # close_notify
    ],
)
def test_other_languages_are_refused(serving: NewContext, octets: bytes) -> None:
    channel = TlsChannel(serving())
    with pytest.raises(TlsFailure, match="speaks no TLS"):
        channel.receive(octets)
    assert channel.outgoing() == fatal(10)
    assert channel.ended
    assert channel.receive(octets) == b""
    assert channel.outgoing() == b""


def test_old_versions_are_refused(serving: NewContext, authority: trustme.CA) -> None:
    with pytest.deprecated_call():
        client = Client(authority, ssl.TLSVersion.TLSv1_1)
    client.context.set_ciphers("DEFAULT@SECLEVEL=0")
    channel = TlsChannel(serving())
    client.dial().say_hello()
    with pytest.raises(TlsFailure, match="unsupported protocol"):
        client.tell(channel, client.outgoing.read())
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        client.tls.do_handshake()


def test_a_minimum_of_1_3_refuses_1_2(directory: Path, client_1_2: Client) -> None:
    context = new_context(minimum="1.3")
    context.add(read_certificate(directory / "mx.pem"))
    client_1_2.dial().say_hello()
    with pytest.raises(TlsFailure, match="unsupported protocol"):
        TlsChannel(context).receive(client_1_2.outgoing.read())


def test_a_record_that_was_tampered_with_is_refused(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    wire = bytearray(client.sealed(b"EHLO a\r\n"))
    more = client.sealed(b"QUIT\r\n")
    wire[-1] ^= 1
    # OpenSSL 3.5 says less of it.
    with pytest.raises(TlsFailure, match=r"bad record mac|record layer failure"):
        client.tell(channel, bytes(wire))
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        client.tls.read()
    assert channel.ended
    assert channel.receive(more) == b""
    channel.seal(b"421 Too late\r\n")
    assert channel.outgoing() == b""


def test_clear_text_in_the_midst_is_refused(serving: NewContext, client: Client) -> None:
    channel = TlsChannel(serving())
    client.dial().shake_hands(channel)
    with pytest.raises(TlsFailure):
        channel.receive(b"MAIL FROM:<a@example.org>\r\n")
    assert channel.ended
    assert channel.outgoing() != b""


def test_a_client_that_trusts_us_not_is_heard_to_say_so(
    serving: NewContext, version: ssl.TLSVersion
) -> None:
    stranger = Client(trustme.CA(), version).dial()
    channel = TlsChannel(serving())
    stranger.say_hello()
    stranger.tell(channel, stranger.outgoing.read())
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.tls.do_handshake()
    with pytest.raises(TlsFailure, match="alert unknown ca"):
        channel.receive(stranger.outgoing.read())


def test_a_handshake_does_not_go_on_for_ever(serving: NewContext, client_1_2: Client) -> None:
    """A chain of certificates may be long, and each octet of it in a record of its own."""
    channel = TlsChannel(serving(client_certificates="request"))
    client_1_2.dial().say_hello()
    client_1_2.tell(channel, client_1_2.outgoing.read())
    certificates = bytes((11,)) + (98_304).to_bytes(3) + bytes(98_304)
    records = b"".join(bytes((22, 3, 3, 0, 1, octet)) for octet in certificates)
    assert channel.receive(records[: HANDSHAKE_LIMIT // 2]) == b""
    with pytest.raises(TlsFailure, match="too long"):
        channel.receive(records[HANDSHAKE_LIMIT // 2 :])
    assert channel.ended


def test_a_client_that_asks_for_new_keys_without_end_is_refused(
    serving: NewContext, client_1_3: Client
) -> None:
    """Each KeyUpdate (RFC 8446, 4.6.3) is answered by OpenSSL, whether the client reads or not."""
    channel = TlsChannel(serving())
    client_1_3.dial().shake_hands(channel)
    pointer = openssl_calls._pointer(client_1_3.tls)
    if openssl_calls._library is None or pointer is None:
        pytest.skip("this Python does not let OpenSSL be asked")
    wire = b""
    for _ in range(UNASKED_LIMIT):
        assert openssl_calls._library.SSL_key_update(c_void_p(pointer), 1) == 1
        client_1_3.tls.do_handshake()
        wire += client_1_3.outgoing.read()
    with pytest.raises(TlsFailure, match="new keys"):
        client_1_3.tell(channel, wire, at_a_time=100)
    assert client_1_3.incoming.pending < 2 * UNASKED_LIMIT
    assert channel.ended


@given(octets=st.binary(max_size=100), data=st.data())
def test_nothing_but_tls_failure_is_ever_raised(
    serving: NewContext, hello: bytes, octets: bytes, data: st.DataObject
) -> None:
    """Whatever is put into a ClientHello, wherever."""
    place = data.draw(st.integers(0, len(hello)))
    channel = TlsChannel(serving())
    with suppress(TlsFailure):
        channel.receive(hello[:place] + octets + hello[place + len(octets) :])
    assert not channel.ready
    channel.outgoing()
