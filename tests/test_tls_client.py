from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from gatepost import client_context


def test_certificates_are_verified_unless_told_otherwise() -> None:
    context = client_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    careless = client_context(verify=False)
    assert (careless.verify_mode, careless.check_hostname) == (ssl.CERT_NONE, False)
    assert context.minimum_version == careless.minimum_version == ssl.TLSVersion.TLSv1_2


def test_authorities_stand_instead_of_the_systems(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    trustme.CA(organization_name="Ours").cert_pem.write_to_path(file)
    context = client_context(authorities=file)
    assert ["Ours" in str(authority) for authority in context.get_ca_certs()] == [True]


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_authorities_that_are_none(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OSError, match=r"No such file|no certificate|NO_CERTIFICATE"):
        client_context(authorities=file)


def test_a_context_is_made_once() -> None:
    assert client_context() is client_context()
