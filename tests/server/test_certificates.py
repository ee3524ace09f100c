"""Certificates: which one a client sees, and what happens when their files change."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384, sha512
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gatepost.config.tls import CertificateFiles, TlsSettings
from gatepost.server.certificates import LOOK_INTERVAL, Certificates
from gatepost.server.tls_channel import TlsChannel, TlsFailure
from gatepost.tls_context import TlsContext, read_certificate

ECDSA = trustme.KeyType.ECDSA
RSA = trustme.KeyType.RSA
ANY = "ECDHE+AESGCM"

Issue = Callable[..., Path]
Key: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Hash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_time(self) -> None:
        self.now += LOOK_INTERVAL


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def issue(authority: trustme.CA, tmp_path: Path) -> Issue:
    """Writes a file with a key and a certificate for these names."""

    def write(file: str, *names: str, kind: trustme.KeyType = ECDSA) -> Path:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        own = authority.issue_cert(*names, key_type=kind)
        replace(path, own.private_key_and_cert_chain_pem.bytes())
        return path

    return write


def replace(path: Path, octets: bytes) -> None:
    """Put another file into this one's place, as those do that renew certificates."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(octets)
    new.rename(path)


def shown(context: ssl.SSLContext, name: str | None, *, ciphers: str = ANY) -> bytes:
    """The certificate that a client sees which asks for this name."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    ours.maximum_version = ssl.TLSVersion.TLSv1_2
    ours.set_ciphers(ciphers)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(incoming, outgoing, server_hostname=name)
    channel = TlsChannel(context)
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        channel.receive(outgoing.read())
        incoming.write(channel.outgoing())
    der = client.getpeercert(binary_form=True)
    assert channel.ready
    assert der is not None
    assert channel.tls().binding("tls-server-end-point") == sha256(der).digest()
    return der


def in_file(path: Path) -> bytes:
    return read_certificate(path).der


# -- Chosen by name -------------------------------------------------------------------------------


@pytest.fixture
def three(issue: Issue) -> tuple[TlsContext, dict[bytes, str]]:
    files = {
        "mx": issue("mx.pem", "mx.example.org"),
        "wild": issue("wild.pem", "*.example.net", "example.net"),
        "exact": issue("exact.pem", "a.example.net", "xn--exmple-cua.org"),
    }
    settings = TlsSettings(
        files["mx"], certificates=tuple(CertificateFiles(files[name]) for name in files)[1:]
    )
    context = Certificates(settings).context()
    assert isinstance(context, TlsContext)
    return context, {in_file(file): name for name, file in files.items()}


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (None, "mx"),
        ("mx.example.org", "mx"),
        ("unheard.example.com", "mx"),
        ("b.example.net", "wild"),
        ("B.EXAMPLE.NET", "wild"),
        ("example.net", "wild"),
        ("b.c.example.net", "mx"),
        ("net", "mx"),
        ("a.example.net", "exact"),
        ("exämple.org", "exact"),
        ("xn--exmple-cua.org", "exact"),
        ("192.0.2.1", "mx"),
    ],
)
def test_the_name_that_is_asked_for_chooses(
    three: tuple[TlsContext, dict[bytes, str]], asked: str | None, seen: str
) -> None:
    context, files = three
    assert files[shown(context, asked)] == seen


def test_a_directory_holds_many(issue: Issue, tmp_path: Path) -> None:
    first, second = issue("all/a.pem", "a.example"), issue("all/b.pem", "b.example")
    context = Certificates(TlsSettings(directory=tmp_path / "all")).context()
    assert shown(context, None) == in_file(first)
    assert shown(context, "b.example") == in_file(second)


@pytest.mark.parametrize(
    ("names", "asked", "seen"),
    [((), "common.example", "b"), (("b.example",), "common.example", "a")],
)
def test_the_subject_counts_only_where_there_are_no_names(
    issue: Issue, tmp_path: Path, names: tuple[str, ...], asked: str, seen: str
) -> None:
    files = {"a": issue("a.pem", "a.example"), "b": tmp_path / "b.pem"}
    files["b"].write_bytes(made(*names, common="Common.Example"))
    settings = TlsSettings(files["a"], certificates=(CertificateFiles(files["b"]),))
    assert shown(Certificates(settings).context(), asked) == in_file(files[seen])


@pytest.mark.parametrize("order", ["ECDSA first", "RSA first"])
def test_one_name_may_have_keys_of_two_kinds(issue: Issue, order: str) -> None:
    issue("a.pem", "a.example")
    elliptic, other = issue("e.pem", "mx.example.org"), issue("r.pem", "mx.example.org", kind=RSA)
    first, second = (elliptic, other) if order == "ECDSA first" else (other, elliptic)
    settings = TlsSettings(first, certificates=(CertificateFiles(second),))
    context = Certificates(settings).context()
    for name in ("mx.example.org", None):
        assert shown(context, name, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") == in_file(elliptic)
        assert shown(context, name, ciphers="ECDHE-RSA-AES128-GCM-SHA256") == in_file(other)


def test_keys_of_two_kinds_for_two_names_stay_apart(issue: Issue) -> None:
    first, second = issue("e.pem", "a.example"), issue("r.pem", "b.example", kind=RSA)
    settings = TlsSettings(first, certificates=(CertificateFiles(second),))
    context = Certificates(settings).context()
    assert shown(context, "b.example", ciphers="ECDHE-RSA-AES128-GCM-SHA256") == in_file(second)
    with pytest.raises(TlsFailure, match="no shared cipher"):
        shown(context, "a.example", ciphers="ECDHE-RSA-AES128-GCM-SHA256")


def test_of_two_alike_the_first_is_shown(issue: Issue) -> None:
    first, second = issue("1.pem", "mx.example.org"), issue("2.pem", "mx.example.org")
    settings = TlsSettings(first, certificates=(CertificateFiles(second),))
    assert shown(Certificates(settings).context(), "mx.example.org") == in_file(first)


# -- Files that change ----------------------------------------------------------------------------


def test_a_changed_file_is_read_anew(
    issue: Issue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    old = in_file(file := issue("mx.pem", "mx.example.org"))
    certificates = Certificates(TlsSettings(file), clock)
    before = certificates.context()
    new = in_file(issue("mx.pem", "mx.example.org"))
    assert certificates.context() is before  # the files are not looked at all the time
    clock.pass_time()
    with caplog.at_level(logging.INFO):
        after = certificates.context()
    assert (shown(before, None), shown(after, None)) == (old, new)
    assert "read anew" in caplog.text


def test_what_has_not_changed_is_not_read_anew(issue: Issue, clock: Clock) -> None:
    certificates = Certificates(TlsSettings(issue("mx.pem", "mx.example.org")), clock)
    before = certificates.context()
    clock.pass_time()
    assert certificates.context() is before


def test_a_file_that_comes_or_goes_in_a_directory_is_noticed(
    issue: Issue, clock: Clock, tmp_path: Path
) -> None:
    first = in_file(issue("all/a.pem", "a.example"))
    certificates = Certificates(TlsSettings(directory=tmp_path / "all"), clock)
    second = in_file(issue("all/b.pem", "b.example"))
    clock.pass_time()
    assert shown(certificates.context(), "b.example") == second
    (tmp_path / "all/b.pem").unlink()
    clock.pass_time()
    assert shown(certificates.context(), "b.example") == first


@pytest.mark.parametrize("fault", ["garbled", "missing", "foreign key"])
def test_a_broken_file_is_told_once_and_the_old_one_stays(
    issue: Issue, clock: Clock, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    file = issue("mx.pem", "mx.example.org")
    pem = file.read_bytes()
    certificates = Certificates(TlsSettings(file, file), clock)
    before = certificates.context()
    if fault == "garbled":
        replace(file, pem[: len(pem) // 4])
    elif fault == "missing":
        file.unlink()
    else:
        key = issue("other.pem", "mx.example.org").read_bytes().partition(b"-----BEGIN CERT")[0]
        replace(file, key + pem[pem.index(b"-----BEGIN CERT") :])
    for _ in range(3):
        clock.pass_time()
        assert certificates.context() is before
    assert len(caplog.records) == 1
    assert "stay in use" in caplog.text
    assert str(file) in caplog.text
    new = in_file(issue("mx.pem", "mx.example.org"))
    clock.pass_time()
    assert shown(certificates.context(), None) == new


def test_a_key_that_comes_after_its_certificate_is_waited_for(
    issue: Issue, clock: Clock, tmp_path: Path
) -> None:
    certificate, key = issue("mx.pem", "mx.example.org"), tmp_path / "key.pem"
    key.write_bytes(certificate.read_bytes())
    certificates = Certificates(TlsSettings(certificate, key), clock)
    before = certificates.context()
    new = issue("mx.pem", "mx.example.org")
    clock.pass_time()
    assert certificates.context() is before
    replace(key, new.read_bytes())
    clock.pass_time()
    assert shown(certificates.context(), None) == in_file(new)


def test_other_authorities_for_clients_are_noticed(
    issue: Issue, clock: Clock, tmp_path: Path, authority: trustme.CA
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(authority.cert_pem.bytes())
    settings = TlsSettings(
        issue("mx.pem", "mx.example.org"), client_certificates="require", client_ca=trusted
    )
    certificates = Certificates(settings, clock)
    before = certificates.context()
    assert before.verify_mode is ssl.CERT_REQUIRED
    other = trustme.CA()
    replace(trusted, other.cert_pem.bytes())
    clock.pass_time()
    assert certificates.context().get_ca_certs(binary_form=True) == [
        x509.load_pem_x509_certificate(other.cert_pem.bytes()).public_bytes(Encoding.DER)
    ]


def test_a_connection_that_is_up_does_not_notice(issue: Issue, clock: Clock) -> None:
    file = issue("mx.pem", "mx.example.org")
    certificates = Certificates(TlsSettings(file), clock)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(incoming, outgoing)
    channel = TlsChannel(certificates.context())
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        channel.receive(outgoing.read())
        incoming.write(channel.outgoing())
    issue("mx.pem", "mx.example.org")
    clock.pass_time()
    certificates.context()
    client.write(b"NOOP\r\n")
    assert channel.receive(outgoing.read()) == b"NOOP\r\n"
    binding = channel.tls().binding("tls-server-end-point")
    assert binding == sha256(client.getpeercert(binary_form=True) or b"").digest()


def test_files_that_were_never_good_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.pem: No such file"):
        Certificates(TlsSettings(tmp_path / "missing.pem"))


# -- Dates, and hashes ----------------------------------------------------------------------------

NOW = datetime.now(UTC)


def made(
    *names: str,
    common: str = "mx.example.org",
    days: tuple[int, int] = (-1, 1),
    key: Key | None = None,
    algorithm: Hash | None = None,
) -> bytes:
    """A key and a certificate of its own signing, good for so many days from and to now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days[0]))
        .not_valid_after(NOW + timedelta(days[1]))
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    signed_with = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(key, algorithm or signed_with)
    return certificate.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        ((-9, -2), "the certificate has expired on"),
        ((2, 9), "the certificate is not good before"),
        ((-1, 1), ""),
    ],
)
def test_an_untimely_one_is_shown_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: tuple[int, int], warning: str
) -> None:
    (tmp_path / "mx.pem").write_bytes(made(days=days))
    certificates = Certificates(TlsSettings(tmp_path / "mx.pem"))
    assert shown(certificates.context(), None) == in_file(tmp_path / "mx.pem")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * bool(warning)
    assert warning in caplog.text


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [(hashes.SHA256(), sha256), (hashes.SHA384(), sha384), (hashes.SHA512(), sha512)],
)
def test_the_end_point_takes_the_hash_of_the_signature(
    tmp_path: Path, algorithm: Hash, digest: Callable[[bytes], Any]
) -> None:
    """RFC 5929, 4.1."""
    (tmp_path / "mx.pem").write_bytes(made(algorithm=algorithm))
    certificate = read_certificate(tmp_path / "mx.pem")
    assert certificate.end_point == digest(certificate.der).digest()


SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")  # RFC 4055, 5


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("md5", "06092a864886f70d010104"),  # RFC 3279, 2.2.1
        ("sha1", "06092a864886f70d010105"),
    ],
)
def test_the_end_point_takes_no_weak_hash(tmp_path: Path, name: str, identifier: str) -> None:
    """RFC 5929, 4.1; nobody makes such certificates any more, so one is dressed up as such."""
    pem = made(key=rsa.generate_private_key(65_537, 2048))
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert der.count(SHA256_WITH_RSA) == 2
    der = der.replace(SHA256_WITH_RSA, bytes.fromhex(identifier))
    key = pem[pem.index(b"-----BEGIN PRIVATE") :]
    (tmp_path / "mx.pem").write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + key)
    certificate = read_certificate(tmp_path / "mx.pem")
    assert certificate.der == der
    assert certificate.end_point == sha256(der).digest()


def test_a_signature_without_a_hash_has_no_end_point(tmp_path: Path) -> None:
    """RFC 5929, 4.1 leaves Ed25519 open."""
    (tmp_path / "mx.pem").write_bytes(made(key=ed25519.Ed25519PrivateKey.generate()))
    assert read_certificate(tmp_path / "mx.pem").end_point is None
