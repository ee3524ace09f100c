"""The table [tls]: what it says, and every complaint with its line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gatepost.config.complaints import Complaints
from gatepost.config.tls import CertificateFiles, TlsSettings, certificate_files, read_tls

Read = Callable[[str], TlsSettings | None]
Told = Callable[[str], list[str]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Path:
    """A directory with good files, and some that are not."""
    for name in ("mx", "mail"):
        own = authority.issue_cert(f"{name}.example.org")
        own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
        own.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        own.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.crt"))
    key = load_pem_private_key((tmp_path / "mx.key").read_bytes(), None)
    (tmp_path / "encrypted.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nbad\n-----END CERTIFICATE-----")
    (tmp_path / "empty.pem").write_text("")
    (tmp_path / "none").mkdir()
    return tmp_path


def complain(text: str, directory: Path) -> tuple[TlsSettings | None, list[str]]:
    text = dedent(text)
    complaints = Complaints()
    settings = read_tls(tomllib.loads(text).get("tls", {}), directory, complaints)
    error = complaints.located(Path("gatepost.toml"), text)
    return settings, [told.replace(f"{directory}/", "") for told in error.complaints]


@pytest.fixture
def read(files: Path) -> Read:
    """Reads a sound configuration beside the files."""

    def read(text: str) -> TlsSettings | None:
        settings, complaints = complain(text, files)
        assert complaints == []
        return settings

    return read


@pytest.fixture
def told(files: Path) -> Told:
    """The complaints about a configuration beside the files."""

    def tell(text: str) -> list[str]:
        settings, complaints = complain(text, files)
        assert settings is None
        return [complaint.removeprefix("gatepost.toml:") for complaint in complaints]

    return tell


# -- Sound tables ---------------------------------------------------------------------------------


def test_no_table_is_no_tls(read: Read) -> None:
    assert read("") is None
    assert read("[tls]\n") is None


def test_one_certificate_and_its_key(read: Read, files: Path) -> None:
    settings = read("""
        [tls]
        certificate = "mx.crt"
        key = "mx.key"
        """)
    assert settings == TlsSettings(files / "mx.crt", files / "mx.key")
    assert settings.minimum == "1.2"
    assert settings.client_certificates == "ignore"


def test_all_that_it_can_say(read: Read, files: Path) -> None:
    settings = read("""
        [tls]
        certificate = "mx.pem"
        ciphers = "ECDHE+AESGCM"
        client_certificates = "request"
        client_ca = "ca.crt"

        [[tls.certificates]]
        certificate = "mail.crt"
        key = "mail.key"

        [[tls.certificates]]
        certificate = "mail.pem"
        """)
    assert settings == TlsSettings(
        certificate=files / "mx.pem",
        certificates=(
            CertificateFiles(files / "mail.crt", files / "mail.key"),
            CertificateFiles(files / "mail.pem"),
        ),
        ciphers="ECDHE+AESGCM",
        client_certificates="request",
        client_ca=files / "ca.crt",
    )


def test_a_directory_stands_last_and_by_name(read: Read, files: Path) -> None:
    (files / "bad.pem").unlink()
    (files / "empty.pem").rename(files / ".hidden.pem")
    settings = read('[tls]\ncertificate = "mx.crt"\nkey = "mx.key"\ndirectory = "."\n')
    assert settings is not None
    assert certificate_files(settings) == [
        CertificateFiles(files / "mx.crt", files / "mx.key"),
        CertificateFiles(files / "mail.pem"),
        CertificateFiles(files / "mx.pem"),
    ]


def test_a_key_may_stand_behind_parameters_and_before_its_certificate(
    read: Read, files: Path
) -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    (files / "mx.pem").write_bytes(parameters + (files / "mx.pem").read_bytes())
    assert read('[tls]\ncertificate = "mx.pem"\n') is not None


# -- Complaints -----------------------------------------------------------------------------------


def test_unknown_options_and_wrong_types(told: Told) -> None:
    assert told("""
        [tls]
        certifcate = "mx.pem"
        minimum = "1.1"
        ciphers = 5
        [[tls.certificates]]
        certificate = "mail.pem"
        kee = "mail.key"
        [[tls.certificates]]
        key = "mail.key"
        """) == [
        "3: tls: unknown option 'certifcate', did you mean 'certificate'?",
        "4: tls: option 'minimum' must be '1.2' or '1.3', not '1.1', did you mean '1.3'?",
        "5: tls: option 'ciphers' must be a string, not 5",
        "8: tls.certificates: unknown option 'kee', did you mean 'key'?",
        "9: tls.certificates: option 'certificate' is missing (a path)",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('minimum = "1.3"', "1: tls: option 'certificate' is missing: TLS needs one"),
        ('key = "mx.key"', "2: tls: option 'key' is of no use without the option 'certificate'"),
        (
            'certificate = "mx.pem"\nminimum = "1.3"\nciphers = "DEFAULT"',
            "4: tls: option 'ciphers' is for TLS 1.2, which minimum = \"1.3\" leaves out",
        ),
        (
            'certificate = "mx.pem"\nclient_certificates = "require"',
            "3: tls: option 'client_certificates' needs the option 'client_ca' beside it",
        ),
        (
            'certificate = "mx.pem"\nclient_ca = "ca.crt"',
            "3: tls: option 'client_ca' is of no use without client_certificates = "
            '"request" or "require"',
        ),
    ],
)
def test_contradictions(told: Told, text: str, complaint: str) -> None:
    assert told(f"[tls]\n{text}\n") == [complaint]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'certificate = "mx.crt"\nkey = "mail.key"',
            "3: tls: option 'key': mail.key: the key is not that of the first certificate in "
            "mx.crt",
        ),
        (
            'certificate = "mx.crt"',
            "2: tls: option 'certificate': mx.crt: no private key in PEM",
        ),
        (
            'certificate = "mx.crt"\nkey = "mx.crt"',
            "3: tls: option 'key': mx.crt: no private key in PEM",
        ),
        (
            'certificate = "mx.crt"\nkey = "encrypted.key"',
            "3: tls: option 'key': encrypted.key: the private key is encrypted; "
            "nobody is there to be asked",
        ),
        (
            'certificate = "mx.key"',
            "2: tls: option 'certificate': mx.key: no certificate in PEM",
        ),
        (
            'certificate = "bad.pem"',
            "2: tls: option 'certificate': bad.pem: no certificate in PEM",
        ),
        (
            'certificate = "missing.pem"',
            "2: tls: option 'certificate': missing.pem: No such file or directory",
        ),
        (
            'certificate = "mx.crt"\nkey = "missing.key"',
            "3: tls: option 'key': missing.key: No such file or directory",
        ),
        (
            'certificate = "none"',
            "2: tls: option 'certificate': none: Is a directory",
        ),
        (
            'directory = "none"',
            "2: tls: option 'directory': none: no file in it is called *.pem",
        ),
        (
            'directory = "missing"',
            "2: tls: option 'directory': missing: No such file or directory",
        ),
        (
            'certificate = "mx.pem"\nciphers = "ROT13"',
            "3: tls: option 'ciphers': 'ROT13' names no cipher that is known here",
        ),
        (
            'certificate = "mx.pem"\nclient_certificates = "request"\nclient_ca = "empty.pem"',
            "4: tls: option 'client_ca': empty.pem: no certificate or crl found",
        ),
    ],
)
def test_files_that_are_of_no_use(told: Told, text: str, complaint: str) -> None:
    assert told(f"[tls]\n{text}\n") == [complaint]


def test_every_file_is_looked_at(told: Told) -> None:
    assert told("""
        [tls]
        directory = "."
        certificate = "missing.pem"
        ciphers = "ROT13"
        [[tls.certificates]]
        certificate = "mail.crt"
        key = "mail.key"
        [[tls.certificates]]
        certificate = "mail.crt"
        key = "mx.key"
        """) == [
        "3: tls: option 'directory': bad.pem: no certificate in PEM",
        "4: tls: option 'certificate': missing.pem: No such file or directory",
        "5: tls: option 'ciphers': 'ROT13' names no cipher that is known here",
        "11: tls: option 'key': mx.key: the key is not that of the first certificate in mail.crt",
    ]


def test_a_key_that_openssl_finds_too_weak_is_told(told: Told, files: Path) -> None:
    """Its own default is 1024 bits at least; a list of ciphers can ask for more."""
    assert told('[tls]\ncertificate = "mx.pem"\nciphers = "DEFAULT@SECLEVEL=5"\n') == [
        "2: tls: option 'certificate': mx.pem: ee key too small"
    ]


def test_a_file_of_any_size_is_not_read(told: Told, files: Path) -> None:
    with (files / "huge.pem").open("wb") as file:
        file.truncate(2_000_000)
    assert told('[tls]\ncertificate = "huge.pem"\n') == [
        "2: tls: option 'certificate': huge.pem: the file is too big to hold certificates"
    ]
