"""TlsContext: an `ssl.SSLContext` of a server, made of PEM files, that knows its certificates."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

#: The lowest version of TLS that is spoken.
Minimum: TypeAlias = Literal["1.2", "1.3"]
#: What is done about a client's certificate.
ClientCertificates: TypeAlias = Literal["ignore", "request", "require"]

#: ALPN protocols (RFC 7301) that a server of mail speaks.  None is registered; these are in use.
PROTOCOLS = ("smtp", "esmtp", "lmtp")

#: Octets of a PEM file, at most.
LONGEST_FILE = 1_048_576

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFYING = {
    "ignore": ssl.CERT_NONE,
    "request": ssl.CERT_OPTIONAL,
    "require": ssl.CERT_REQUIRED,
}
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_WORDS_OF_SSL = re.compile(r"^\[\w*\] | \(_ssl\.c:\d+\)$")
#: RFC 5929, 4.1: these are too weak to be the hash of a channel binding.
_WEAK = (hashes.MD5, hashes.SHA1)


class PemError(ValueError):
    """What is wrong with a file."""

    def __init__(self, file: Path, fault: str) -> None:
        super().__init__(f"{file}: {fault}")
        self.file = file


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate of this server whose key is at hand: sound, and the one fits the other."""

    file: Path  #: in PEM, the server's own first and then those of the authorities between
    key: Path  #: in PEM; it may be the same file
    der: bytes  #: the certificate itself (RFC 5280)
    names: frozenset[str]  #: the DNS names that it is good for, in small letters
    kind: type  #: the class of its public key
    end_point: bytes | None  #: its tls-server-end-point (RFC 5929, 4.1); None: it has none
    not_before: datetime  #: it is good from then on
    not_after: datetime  #: and until then

    def untimely(self, now: datetime) -> str:
        """What is wrong with its dates; empty when nothing is."""
        if now > self.not_after:
            return f"{self.file}: the certificate has expired on {self.not_after:%Y-%m-%d}"
        if now < self.not_before:
            return f"{self.file}: the certificate is not good before {self.not_before:%Y-%m-%d}"
        return ""


class TlsContext(ssl.SSLContext):
    """A context of a server that knows which certificates it shows."""

    certificates: tuple[ServerCertificate, ...] = ()

    def add(self, certificate: ServerCertificate) -> None:
        """Show it to clients that can verify keys of its kind.  Raises PemError."""
        try:
            self.load_cert_chain(certificate.file, certificate.key, _never_ask(certificate.key))
        except (OSError, ssl.SSLError) as error:
            raise PemError(certificate.file, reason_of(error)) from error
        self.certificates += (certificate,)


def new_context(
    *,
    minimum: Minimum = "1.2",
    ciphers: str = "",
    client_certificates: ClientCertificates = "ignore",
    client_ca: Path | None = None,
) -> TlsContext:
    """A context without certificates.

    Raises PemError for a file of no use, and ValueError for ciphers that nobody knows.
    """
    context = TlsContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[minimum]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # A ticket's key lives as long as the process, and so long may old sessions be read with it.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(PROTOCOLS)
    if ciphers:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError as error:
            raise ValueError(f"{ciphers!r} names no cipher that is known here") from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise PemError(client_ca, reason_of(error)) from error
    context.verify_mode = _VERIFYING[client_certificates]
    return context


def read_certificate(file: Path, key: Path | None = None) -> ServerCertificate:
    """Read a certificate's file, and its key's if that is another one.

    Raises PemError for what is unreadable, is no PEM or does not fit.
    """
    content = _content(file)
    own = _first_certificate(content, file)
    key = key or file
    fits = _public_key(content if key == file else _content(key), key)
    try:
        public, names = own.public_key(), frozenset(_names(own))
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise PemError(file, f"the certificate cannot be read: {error}") from error
    if fits != _form(public):
        raise PemError(key, f"the key is not that of the first certificate in {file}")
    return ServerCertificate(
        file=file,
        key=key,
        der=own.public_bytes(Encoding.DER),
        names=names,
        kind=type(public),
        end_point=_end_point(own),
        not_before=own.not_valid_before_utc,
        not_after=own.not_valid_after_utc,
    )


def pem_files(directory: Path) -> list[Path]:
    """The `*.pem` files of a directory, by name.  Raises PemError where there are none."""
    try:
        found = sorted(
            file
            for file in directory.iterdir()
            if file.suffix == ".pem" and not file.name.startswith(".")
        )
    except OSError as error:
        raise PemError(directory, reason_of(error)) from error
    if not found:
        raise PemError(directory, "no file in it is called *.pem")
    return found


def reason_of(error: OSError) -> str:
    """What the system or OpenSSL complains of, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        words = error.reason or _WORDS_OF_SSL.sub("", error.strerror or "")
        return words.replace("_", " ").lower()
    return error.strerror or type(error).__name__


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(LONGEST_FILE + 1)
    except OSError as error:
        raise PemError(file, reason_of(error)) from error
    if len(content) > LONGEST_FILE:
        raise PemError(file, "the file is too big to hold certificates")
    return content


def _first_certificate(content: bytes, file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except ValueError as error:
        raise PemError(file, "no certificate in PEM") from error


def _public_key(content: bytes, file: Path) -> bytes:
    """The public half of the private key that stands in a file."""
    match = _PRIVATE_KEY.search(content)
    if match is None:
        raise PemError(file, "no private key in PEM")
    try:
        key = load_pem_private_key(match[0], password=None)
    except TypeError as error:
        raise PemError(file, "the private key is encrypted; nobody is there to be asked") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PemError(file, "no private key that can be read") from error
    return _form(key.public_key())


def _form(key: PublicKeyTypes) -> bytes:
    """A public key, so that it can be compared."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: x509.Certificate) -> Iterator[str]:
    """The DNS names; those of the subject count only where there is no field for names."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            yield str(attribute.value).lower()
    else:
        for name in extension.value.get_values_for_type(x509.DNSName):
            yield name.lower()


def _end_point(certificate: x509.Certificate) -> bytes | None:
    """The hash of the certificate by the algorithm that it is signed with (RFC 5929, 4.1)."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:
        return None  # Ed25519 names no hash function, and the RFC leaves such open
    digest = hashes.Hash(hashes.SHA256() if isinstance(algorithm, _WEAK) else algorithm)
    digest.update(certificate.public_bytes(Encoding.DER))
    return digest.finalize()


def _never_ask(key: Path) -> Callable[[], NoReturn]:
    """OpenSSL would ask for a password at the terminal."""

    def complain() -> NoReturn:
        raise PemError(key, "the private key is encrypted; nobody is there to be asked")

    return complain
