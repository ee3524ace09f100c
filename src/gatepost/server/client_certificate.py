"""The client's certificate: what plugins are told of it."""

from __future__ import annotations

from hashlib import sha256

from cryptography import x509

from gatepost.tls import Certificate


def read_client_certificate(der: bytes) -> Certificate:
    """What a certificate says.  Raises ValueError for one that cannot be read."""
    certificate = x509.load_der_x509_certificate(der)
    try:
        names = _names(certificate)
    except x509.DuplicateExtension as error:
        raise ValueError(str(error)) from error
    return Certificate(
        subject=_printable(certificate.subject.rfc4514_string()),
        names=tuple(filter(str.isprintable, names)),
        fingerprint=sha256(der).hexdigest(),
        der=der,
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    return [
        *names.get_values_for_type(x509.DNSName),
        *names.get_values_for_type(x509.RFC822Name),
    ]


def _printable(subject: str) -> str:
    """The name with each control character as the hexadecimal pairs of RFC 4514, 2.4."""
    return "".join(
        character
        if character.isprintable()
        else "".join(f"\\{octet:02X}" for octet in character.encode())
        for character in subject
    )
