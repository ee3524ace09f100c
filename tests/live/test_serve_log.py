"""The log of `gatepost serve`, as operators set it up: levels, targets, and its identifiers."""

from __future__ import annotations

import json
import os
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GATEPOST = [sys.executable, "-m", "gatepost"]
SECONDS = 60

CONFIGURATION = """
hostname = "mx.example"
workers = 2
[[listen]]
name = "mx"
address = "127.0.0.1:0"
{more}
[[plugin]]
use = "domains"
domains = ["example.org"]
[[plugin]]
use = "maildir"
path = "mail"
"""
#: A handler of somebody's own, which several processes share.
HANDLER = """
import json, logging

class Postbox(logging.Handler):
    def __init__(self, path, *, mark):
        super().__init__()
        self.file = open(path, "a", buffering=1)
        self.mark = mark

    def emit(self, record):
        fields = getattr(record, "fields", {})
        entry = [self.mark, record.name, record.getMessage(), fields]
        self.file.write(json.dumps(entry, default=str) + chr(10))
"""


@dataclass(frozen=True)
class Server:
    """A server that runs in a directory of its own."""

    process: subprocess.Popen[str]
    directory: Path
    port: int

    def take(self, subject: str) -> str:
        """Send it a letter, and be told as what that is queued."""
        with smtplib.SMTP("127.0.0.1", self.port, "client.example") as client:
            client.ehlo()
            client.mail("anne@client.example")
            client.rcpt("bob@example.org")
            client.rcpt("eve@elsewhere.example")
            code, text = client.data(f"Subject: {subject}\r\n\r\nHow are you?\r\n")
        assert code == 250
        match = re.fullmatch(rb"2\.0\.0 Queued as ([0-9a-z]{12}\.\d+)", text)
        assert match, text
        return match[1].decode()

    def stop(self) -> None:
        """Have it end, and with that write all that it has to log."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0


@contextmanager
def serving(directory: Path, more: str) -> Iterator[Server]:
    """A server with some more in its configuration; what it says on standard error is in `err`."""
    (directory / "gatepost.toml").write_text(CONFIGURATION.format(more=more))
    path = os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        (directory / "err").open("w") as log,
        subprocess.Popen(
            [*GATEPOST, "serve"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        ) as process,
    ):
        try:
            assert process.stdout
            for line in process.stdout:
                if match := re.match(r"Listening on 127\.0\.0\.1:(\d+) ", line):
                    yield Server(process, directory, int(match[1]))
                    break
        finally:
            process.kill()


def test_one_identifier_leads_from_the_reply_to_all_that_is_known(tmp_path: Path) -> None:
    more = '[log]\ntarget = "./log"\nformat = "json"\n[trail]\npath = "trail.db"\n'
    with serving(tmp_path, more) as server:
        message = server.take("Hello")
        other = server.take("Hello again")
        server.stop()
    session = message.partition(".")[0]
    assert not other.startswith(session)

    (letter,) = [
        path.read_text()
        for path in (tmp_path / "mail/new").iterdir()
        if message in path.read_text()
    ]
    assert re.search(rf"(?sm)^Received: .*? id {re.escape(message)}\s", letter)

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    about = [line for line in lines if session in line["text"] or line.get("session") == session]
    assert [line["logger"].removeprefix("gatepost.") for line in about] == [
        "connection",
        "plugin.domains",
        "plugin.nobody",
        "plugins.queue.maildir",
        "plugin.maildir",
        "message",
        "session",
    ]
    for line in about:
        assert line["session"] == session
        assert session in line["text"]
    assert {line["message"] for line in about if "message" in line} == {message}

    why = subprocess.run(
        [*GATEPOST, "why", message], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"Message {message} from <anne@client.example>" in why.stdout
    assert f"250 2.0.0 Queued as {message}" in why.stdout


def test_one_plugin_may_say_more_than_the_server_around_it(tmp_path: Path) -> None:
    more = '[log]\nlevel = "warning"\nlevels = { domains = "info" }\n'
    with serving(tmp_path, more) as server:
        message = server.take("Hello")
        server.stop()
    told = (tmp_path / "err").read_text().splitlines()
    (line,) = (line for line in told if "it runs as root" not in line)
    assert line.endswith(f" {message} rcpt: domains accepts (<bob@example.org>)")


def test_one_plugin_may_say_less(tmp_path: Path) -> None:
    with serving(tmp_path, '[log]\nlevels = { domains = "warning" }\n') as server:
        message = server.take("Hello")
        server.stop()
    told = (tmp_path / "err").read_text()
    assert "domains accepts" not in told
    assert f"{message} rcpt: nobody denies" in told
    assert f"{message} <anne@client.example> -> <bob@example.org>" in told


def test_a_handler_of_somebody_s_own_is_made_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "somebodys.py").write_text(HANDLER)
    more = (
        '[log]\ntarget = "somebodys:Postbox"\nlevels = { maildir = "error" }\n'
        f'options = {{ path = "{tmp_path}/box", mark = "mx" }}\n'
    )
    with serving(tmp_path, more) as server:
        message = server.take("Hello")
        server.stop()
    entries: list[Any] = [json.loads(line) for line in (tmp_path / "box").read_text().splitlines()]
    assert {mark for mark, _, _, _ in entries} == {"mx"}
    (summary,) = [fields for _, name, _, fields in entries if name == "gatepost.message"]
    assert (summary["message"], summary["from"]) == (message, "anne@client.example")
    assert not [name for _, name, _, _ in entries if "maildir" in name]
    assert (tmp_path / "err").read_text() == ""


def test_what_is_wrong_with_a_handler_is_said_before_anybody_is_served(tmp_path: Path) -> None:
    (tmp_path / "somebodys.py").write_text(HANDLER)
    more = '[log]\ntarget = "somebodys:Postbox"\noptions = { path = "box", marc = "mx" }\n'
    (tmp_path / "gatepost.toml").write_text(CONFIGURATION.format(more=more))
    ended = subprocess.run(
        [*GATEPOST, "serve"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert ended.returncode == 1
    assert "unknown option 'marc', did you mean 'mark'?" in ended.stderr
