"""The client's certificate: nothing in it is taken for more than it is."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gatepost.server.client_certificate import read_client_certificate
from gatepost.server.tls_channel import TlsChannel, TlsFailure
from gatepost.tls_context import new_context, read_certificate

KEY = ec.generate_private_key(ec.SECP256R1())


def made(*names: x509.GeneralName, common: str = "Anne", raw: bytes = b"") -> bytes:
    """A certificate, with these names or else these octets where they would stand."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if raw:
        identifier = x509.SubjectAlternativeName.oid
        builder = builder.add_extension(x509.UnrecognizedExtension(identifier, raw), critical=False)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.DER)


def test_what_it_says() -> None:
    der = made(
        x509.DNSName("client.example"),
        x509.RFC822Name("anne@example.org"),
        x509.UniformResourceIdentifier("https://client.example/"),
        x509.DNSName("*.client.example"),
    )
    certificate = read_client_certificate(der)
    assert certificate.subject == "CN=Anne"
    assert certificate.names == ("client.example", "*.client.example", "anne@example.org")
    assert certificate.fingerprint == sha256(der).hexdigest()
    assert certificate.der == der


def test_a_subject_is_no_name() -> None:
    assert read_client_certificate(made(common="client.example")).names == ()


@pytest.mark.parametrize(
    ("common", "subject"),
    [
        ("a\r\nb", r"CN=a\0D\0Ab"),
        ("a,b=c", r"CN=a\,b=c"),
        ("\x1b[31m", r"CN=\1B[31m"),
        ("\u2028", r"CN=\E2\80\A8"),
        ("Änne", "CN=Änne"),
    ],
)
def test_a_subject_is_one_line(common: str, subject: str) -> None:
    """RFC 4514, 2.4."""
    assert read_client_certificate(made(common=common)).subject == subject


def test_names_that_cannot_be_printed_are_none() -> None:
    odd = x509.DNSName("client.example\r\n")
    assert read_client_certificate(made(odd, x509.DNSName("b.example"))).names == ("b.example",)


@pytest.mark.parametrize("raw", [b"\x30\x03\x82\x01\xff", b"\x30\x05\x82\x01a"])
def test_names_that_cannot_be_read_are_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_client_certificate(made(raw=raw))


def test_what_is_no_certificate_is_an_error() -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_client_certificate(b"none")


def test_a_client_whose_certificate_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """OpenSSL is content with names that are no ASCII."""
    own, clients = tmp_path / "own.pem", tmp_path / "clients.pem"
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own.write_bytes(key + ssl.DER_cert_to_PEM_cert(made()).encode())
    unreadable = made(raw=b"\x30\x03\x82\x01\xff")
    clients.write_bytes(key + ssl.DER_cert_to_PEM_cert(unreadable).encode())
    context = new_context(client_certificates="request", client_ca=clients)
    context.add(read_certificate(own))
    channel = TlsChannel(context)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.check_hostname = False
    theirs.verify_mode = ssl.CERT_NONE
    theirs.load_cert_chain(clients)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert channel.receive(outgoing.read()) == b""
    incoming.write(channel.outgoing())
    client.do_handshake()
    with pytest.raises(TlsFailure, match="cannot be read"):
        channel.receive(outgoing.read())
    assert channel.ended
    assert not channel.ready
    incoming.write(channel.outgoing())
    assert client.read() == b""  # close_notify
