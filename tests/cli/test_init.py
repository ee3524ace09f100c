"""`gatepost init`: what it writes is sound, and it overwrites nothing."""

from __future__ import annotations

import ssl
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import Result

from gatepost.cli.self_signed import make_pair
from gatepost.config import load_config, own_hostname
from gatepost.server.certificates import Certificates
from gatepost.server.tls_channel import TlsChannel
from gatepost.tls_context import read_certificate

Gatepost: TypeAlias = Callable[..., Result]


FILES = ["gatepost.toml", "plugins/no_sales.py", "plugins/no_sales.smtp"]
PAIR = ["tls/cert.pem", "tls/key.pem"]


def written(directory: Path) -> list[str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(directory)) for path in files)


def test_it_writes_a_configuration_and_an_example(gatepost: Gatepost, tmp_path: Path) -> None:
    result = gatepost("init", "new/here")
    assert result.exit_code == 0
    assert written(tmp_path) == [f"new/here/{name}" for name in FILES]
    assert "`cd new/here && gatepost serve`" in result.output


def test_what_it_writes_passes_the_check(gatepost: Gatepost) -> None:
    gatepost("init", ".")
    result = gatepost("check")
    assert result.exit_code == 0
    assert "smtp on 127.0.0.1:2525 (mx)" in result.output


def test_it_takes_mail_for_example_org_into_mail(gatepost: Gatepost, tmp_path: Path) -> None:
    gatepost("init", ".")
    table = tomllib.loads((tmp_path / "gatepost.toml").read_text())
    plugins = {plugin["use"]: plugin for plugin in table["plugin"]}
    assert list(plugins) == ["no_sales", "domains", "maildir"]
    assert plugins["domains"]["domains"] == ["example.org"]
    assert plugins["maildir"]["path"] == "mail"


def test_a_second_time_changes_nothing(gatepost: Gatepost) -> None:
    gatepost("init", ".")
    result = gatepost("init", ".")
    assert result.exit_code == 0
    assert "gatepost.toml is there already, and the same" in result.output


def test_it_overwrites_nothing(gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "gatepost.toml").write_text("mine")
    result = gatepost("init", ".")
    assert result.exit_code == 1
    assert result.stderr == "gatepost.toml is there already; nothing was written\n"
    assert written(tmp_path) == ["gatepost.toml"]
    assert (tmp_path / "gatepost.toml").read_text() == "mine"


def test_a_place_where_nothing_can_be_written_is_named(gatepost: Gatepost, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = gatepost("init", "file/below")
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr


# -- With a certificate ---------------------------------------------------------------------------


def test_it_makes_a_certificate_and_uses_it(gatepost: Gatepost, tmp_path: Path) -> None:
    assert gatepost("init", "--tls", ".").exit_code == 0
    assert written(tmp_path) == [*FILES, *PAIR]
    assert (tmp_path / "tls/key.pem").stat().st_mode & 0o777 == 0o600
    table = tomllib.loads((tmp_path / "gatepost.toml").read_text())
    assert table["tls"] == {"certificate": "tls/cert.pem", "key": "tls/key.pem"}
    assert [listen["tls"] for listen in table["listen"]] == ["starttls"]
    assert gatepost("check").exit_code == 0


def test_without_that_option_there_is_no_tls(gatepost: Gatepost, tmp_path: Path) -> None:
    gatepost("init", ".")
    table = tomllib.loads((tmp_path / "gatepost.toml").read_text())
    assert "tls" not in table
    assert "tls" not in table["listen"][0]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", own_hostname()])
def test_clients_that_are_told_of_the_certificate_trust_it(
    gatepost: Gatepost, tmp_path: Path, name: str
) -> None:
    gatepost("init", "--tls", ".")
    settings = load_config(tmp_path / "gatepost.toml").tls
    assert settings is not None
    channel = TlsChannel(Certificates(settings).context())
    context = ssl.create_default_context(cafile=tmp_path / "tls/cert.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        channel.receive(outgoing.read())
        incoming.write(channel.outgoing())
    assert channel.ready


def test_the_certificate_is_good_now_and_no_longer_than_clients_like(tmp_path: Path) -> None:
    pair = make_pair("mx.example.org")
    (tmp_path / "both.pem").write_bytes(pair.certificate + pair.key)
    certificate = read_certificate(tmp_path / "both.pem")
    assert certificate.untimely(datetime.now(UTC)) == ""
    assert certificate.not_after - certificate.not_before <= timedelta(days=398)
    assert certificate.names == {"mx.example.org", "localhost"}


def test_a_second_time_keeps_the_certificate(gatepost: Gatepost, tmp_path: Path) -> None:
    gatepost("init", "--tls", ".")
    before = [(tmp_path / name).read_bytes() for name in PAIR]
    result = gatepost("init", "--tls", ".")
    assert result.exit_code == 0
    assert "tls/key.pem is there already, and the same" in result.output
    assert [(tmp_path / name).read_bytes() for name in PAIR] == before


def test_beside_a_configuration_it_writes_the_certificate_only(
    gatepost: Gatepost, tmp_path: Path
) -> None:
    (tmp_path / "gatepost.toml").write_text("mine")
    result = gatepost("init", "--tls", ".")
    assert result.exit_code == 0
    assert written(tmp_path) == ["gatepost.toml", *PAIR]
    assert (tmp_path / "gatepost.toml").read_text() == "mine"
    advice = tomllib.loads(result.output.partition("certificate:\n")[2].partition("\nand")[0])
    assert advice == {"tls": {"certificate": "tls/cert.pem", "key": "tls/key.pem"}}


@pytest.mark.parametrize("name", PAIR)
def test_half_a_pair_is_not_overwritten(gatepost: Gatepost, tmp_path: Path, name: str) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / name).write_text("mine")
    result = gatepost("init", "--tls", ".")
    assert result.exit_code == 1
    assert result.stderr == f"{name} is there already; nothing was written\n"
    assert written(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"
