"""What a server says when it is up."""

from __future__ import annotations

import shlex
from pathlib import Path
from textwrap import dedent

import pytest

from gatepost.cli.welcome import first_mail, welcome
from gatepost.config import Config, SocketAddress, parse_config

DOMAINS = '[[plugin]]\nuse = "domains"\ndomains = [".example.org", "example.net"]\n'


def config(text: str, directory: Path) -> Config:
    return parse_config(f'hostname = "mx.example"\n{dedent(text)}', path=directory / "x.toml")


def listen(*addresses: str, protocol: str = "smtp") -> str:
    return "".join(
        f'[[listen]]\naddress = "{address}"\nprotocol = "{protocol}"\n' for address in addresses
    )


def at(*texts: str) -> list[SocketAddress]:
    return [SocketAddress.parse(text) for text in texts]


def test_it_says_where_it_listens_and_where_mail_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = (
        f'{listen("127.0.0.1:0")}{DOMAINS}[[plugin]]\nuse = "maildir"\npath = "mail/{{local}}"\n'
    )
    welcome(config(tables, tmp_path), at("127.0.0.1:49999"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" takes mail as mx.example")
    assert lines[1:4] == [
        "Listening on 127.0.0.1:49999 (smtp, smtp)",
        "Mail goes to mail/{local}",
        "Send a first mail with",
    ]
    assert lines[4].startswith("  python3 -c ")


def test_a_service_says_the_whole_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/")
    tables = f'{listen("127.0.0.1:25")}[[plugin]]\nuse = "maildir"\npath = "/var/mail/x"\n'
    welcome(config(tables, Path("/etc/gatepost")), at("127.0.0.1:25"))
    assert "Mail goes to /var/mail/x" in capsys.readouterr().out.splitlines()


def test_the_command_line_is_one_that_a_shell_and_python_understand(tmp_path: Path) -> None:
    line = first_mail(config(listen("127.0.0.1:25") + DOMAINS, tmp_path), at("127.0.0.1:25"))
    program, option, code = shlex.split(line)
    assert (program, option) == ("python3", "-c")
    compile(code, "<line>", "exec")
    assert "'bob@example.net'" in code
    assert r"'Subject: Hello\n\nHow are you?\n'" in code


@pytest.mark.parametrize(
    ("tables", "address", "expected"),
    [
        (listen("0.0.0.0:25") + DOMAINS, "0.0.0.0:25", "SMTP('127.0.0.1', 25,"),
        (listen("[::]:25") + DOMAINS, "[::]:25", "SMTP('::1', 25,"),
        (listen("127.0.0.1:25"), "127.0.0.1:25", ""),
        (listen("127.0.0.1:24", protocol="lmtp") + DOMAINS, "127.0.0.1:24", ""),
        (listen("unix:a.sock") + DOMAINS, "unix:a.sock", ""),
    ],
    ids=["all of IPv4", "all of IPv6", "no domain", "LMTP only", "no TCP"],
)
def test_it_goes_where_mail_is_taken(
    tables: str, address: str, expected: str, tmp_path: Path
) -> None:
    line = first_mail(config(tables, tmp_path), at(address))
    assert expected in line
    assert bool(expected) == bool(line)


def test_it_says_when_no_mail_can_come_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    welcome(config(listen("127.0.0.1:25"), tmp_path), at("127.0.0.1:25"))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "No plugin speaks on rcpt: every recipient is refused",
        "No plugin speaks on queue: every message is deferred",
    ]
