from __future__ import annotations

import pytest

from gatepost import web_host


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://id.example/keys?secret=1", "id.example"),
        ("HTTPS://user:secret@ID.example:8443", "id.example"),
        ("http://127.0.0.1:8080/", "127.0.0.1"),
        ("http://127.1.2.3/", "127.1.2.3"),
        ("http://[::1]:8080/", "::1"),
        ("http://localhost/", "localhost"),
    ],
)
def test_the_host_of_a_private_address(url: str, host: str) -> None:
    assert web_host(url, option="url", private=True) == host
    assert web_host(url, option="url") == host


@pytest.mark.parametrize(
    "url",
    ["http://id.example/", "http://192.0.2.1/", "http://[2001:db8::1]/", "http://localhost.evil/"],
)
def test_others_could_read_what_goes_over_http(url: str) -> None:
    assert web_host(url, option="url")
    with pytest.raises(ValueError, match=r"^option 'url' must be an https:// address"):
        web_host(url, option="url", private=True)


@pytest.mark.parametrize(
    "url",
    ["", "id.example/keys", "ftp://id.example/", "file:///etc/passwd", "https://", "https:///keys",
     "https://id.example:0/", "https://id.example:70000/", "https://[::1/"],
)  # fmt: skip
def test_what_is_no_web_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"option 'jwks'|Port out of range|Invalid"):
        web_host(url, option="jwks")
