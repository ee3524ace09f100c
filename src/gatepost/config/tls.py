"""The table [tls]: the server's certificates, and what TLS it speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gatepost.config.complaints import Complaints
from gatepost.config.locator import Place
from gatepost.hooks.loader_declared import Declared, declared_options
from gatepost.hooks.loader_values import fill
from gatepost.tls_context import (
    ClientCertificates,
    Minimum,
    PemError,
    TlsContext,
    new_context,
    pem_files,
    read_certificate,
)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """One [[tls.certificates]] table: where a certificate and its key stand."""

    #: a PEM file: the server's certificate first, then those of the authorities between
    certificate: Path
    key: Path | None = None  #: a PEM file; left out: the key stands in the certificate's file


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The table [tls].

    Raises ValueError, naming an option, for settings that contradict each other.
    """

    #: a PEM file: the server's certificate first, then those of the authorities between; clients
    #: that ask for no name (SNI), or for one that nobody has, get this one
    certificate: Path | None = None
    key: Path | None = None  #: a PEM file; left out: the key stands in the certificate's file
    #: further certificates, for clients that ask for one of their names: each has `certificate`
    #: and `key`
    certificates: tuple[CertificateFiles, ...] = ()
    #: a directory: each `*.pem` file in it holds a key and a certificate, as above
    directory: Path | None = None
    minimum: Minimum = "1.2"  #: the lowest version of TLS that is spoken
    #: ciphers for TLS 1.2 as OpenSSL spells them (`openssl ciphers`); empty: the modern ones
    ciphers: str = ""
    #: clients' certificates are not asked for; or asked for; or without one there is no TLS.  One
    #: that `client_ca` did not sign ends the handshake
    client_certificates: ClientCertificates = "ignore"
    client_ca: Path | None = None  #: a PEM file: the authorities that sign clients' certificates

    def __post_init__(self) -> None:
        for option, fault in self._faults():
            raise ValueError(f"option {option!r} {fault}")

    def _faults(self) -> Iterator[tuple[str, str]]:
        if self.key is not None and self.certificate is None:
            yield "key", "is of no use without the option 'certificate'"
        if not (self.certificate or self.certificates or self.directory):
            yield "certificate", "is missing: TLS needs one"
        if self.ciphers and self.minimum == "1.3":
            yield "ciphers", 'is for TLS 1.2, which minimum = "1.3" leaves out'
        if self.client_certificates != "ignore" and self.client_ca is None:
            yield "client_certificates", "needs the option 'client_ca' beside it"
        if self.client_certificates == "ignore" and self.client_ca is not None:
            text = 'is of no use without client_certificates = "request" or "require"'
            yield "client_ca", text


#: The tables below [tls] are read each for itself, so that complaints name their lines.
_OPTIONS = {
    **declared_options(TlsSettings),
    "certificates": Declared(list[dict[str, object]], required=False),
}


def bare_context(settings: TlsSettings) -> TlsContext:
    """A context that has no certificate yet.  Raises ValueError."""
    return new_context(
        minimum=settings.minimum,
        ciphers=settings.ciphers,
        client_certificates=settings.client_certificates,
        client_ca=settings.client_ca,
    )


def certificate_files(settings: TlsSettings) -> list[CertificateFiles]:
    """Where the certificates stand now: the first is for clients that ask for none of the others.

    Raises PemError for a directory that cannot be listed.
    """
    files = list(settings.certificates)
    if settings.certificate is not None:
        files.insert(0, CertificateFiles(settings.certificate, settings.key))
    if settings.directory is not None:
        files += map(CertificateFiles, pem_files(settings.directory))
    return files


def read_tls(
    table: Mapping[str, object], directory: Path, complaints: Complaints
) -> TlsSettings | None:
    """The table [tls]; None for an empty one, and for one that is complained of.

    Relative paths start at `directory`.  Every file is read, so that a bad one is found here.
    """
    if not table:
        return None
    values, wrong = fill(table, _OPTIONS, directory)
    complaints.take(wrong, "tls", section="tls")
    pairs: list[CertificateFiles] = []
    for number, each in enumerate(values.get("certificates", ())):
        pair, faults = fill(each, declared_options(CertificateFiles), directory)
        complaints.take(faults, "tls", "certificates", number, section="tls.certificates")
        wrong += faults
        if not faults:
            pairs.append(CertificateFiles(**pair))
    if wrong:
        return None
    try:
        settings = TlsSettings(**{**values, "certificates": tuple(pairs)})
    except ValueError as error:
        option = str(error).split("'")[1]  # they all begin with it
        complaints.add(f"tls: {error}", "tls", option)
        return None
    faulty = list(_faulty(settings))
    for place, fault in faulty:
        complaints.add(f"tls: option {place[-1]!r}: {fault}", *place)
    return None if faulty else settings


def _faulty(settings: TlsSettings) -> Iterator[tuple[Place, str]]:
    """What cannot be used of all that the settings name, and where they name it."""
    context = new_context()
    try:
        context = bare_context(settings)
    except PemError as error:
        yield ("tls", "client_ca"), str(error)
    except ValueError as error:
        yield ("tls", "ciphers"), str(error)
    for place, files in _placed(settings):
        try:
            context.add(read_certificate(files.certificate, files.key))
        except PemError as error:
            yield (*place, "key" if error.file == files.key else "certificate"), str(error)
    if settings.directory is not None:
        try:
            for file in pem_files(settings.directory):
                context.add(read_certificate(file))
        except PemError as error:
            yield ("tls", "directory"), str(error)


def _placed(settings: TlsSettings) -> Iterator[tuple[Place, CertificateFiles]]:
    """The files that are named one by one."""
    if settings.certificate is not None:
        yield ("tls",), CertificateFiles(settings.certificate, settings.key)
    for number, files in enumerate(settings.certificates):
        yield ("tls", "certificates", number), files
