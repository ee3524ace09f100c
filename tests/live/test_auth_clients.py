"""Mail programs that other people wrote authenticate, by all mechanisms that they know.

Over STARTTLS and over implicit TLS: swaks, curl, msmtp, gsasl, nodemailer and smtplib.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import pytest
import trustme

from gatepost import (
    Accept,
    Answer,
    AnswerForEach,
    Credentials,
    Deny,
    External,
    Plugin,
    Recipient,
    Session,
    Token,
    Transaction,
)
from gatepost.app import Gate, Listen, TlsSettings
from gatepost.plugins.auth.auth_file import AuthFile

ROOT = Path(__file__).parents[2]
USER, PASSWORD, TOKEN = "anne@example.org", "tea with milk", "abc.def"
LETTER = b"From: anne@example.org\r\nSubject: Hello\r\n\r\nHow are you?\r\n"
SECONDS = 30


@dataclass
class Inbox(Plugin):
    """Takes mail of users alone, answers for tokens and certificates, and notes who came how."""

    came: list[str] = field(default_factory=list)

    def mechanisms(self, session: Session, offered: tuple[str, ...]) -> tuple[str, ...]:
        return (*offered, "OAUTHBEARER", "XOAUTH2", "EXTERNAL")

    def auth(self, session: Session, credentials: Credentials) -> Answer:
        if isinstance(credentials, Token):
            fits = credentials.token == TOKEN and credentials.user == USER
            return Accept() if fits else Deny()
        if isinstance(credentials, External):
            credentials.user = credentials.user or credentials.certificate.names[0]
            return Accept() if credentials.user == USER else Deny()
        return None

    def rcpt(self, transaction: Transaction, recipient: Recipient) -> Answer:
        return Accept()

    def queue(self, transaction: Transaction) -> AnswerForEach:
        session = transaction.session
        assert session.user == USER
        assert session.tls is not None
        self.came.append(session.mechanism)
        return Accept()


class Place(NamedTuple):
    """Where the server is, and the files that a client needs to trust it."""

    starttls: int
    implicit: int
    inbox: Inbox
    authority: Path
    certificate: Path  #: the client's own, with its key
    letter: Path
    context: ssl.SSLContext

    def port(self, tls: str) -> int:
        return self.starttls if tls == "starttls" else self.implicit


@contextmanager
def running(gate: Gate) -> Iterator[None]:
    """A server in a thread of its own."""
    started, stop = Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with gate:
            started.set()
            await stop.wait()

    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(SECONDS)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
        loop.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("auth")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    client = authority.issue_cert(USER)
    client.private_key_and_cert_chain_pem.write_to_path(str(directory / "client.pem"))
    (directory / "letter.eml").write_bytes(LETTER.replace(b"\r\n", b"\n"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    inbox = Inbox()
    gate = Gate(
        [AuthFile(users=[f"{USER}:{{PLAIN.b64}}dGVhIHdpdGggbWlsaw=="]), inbox],
        listen=[
            Listen("127.0.0.1:0", "starttls", tls="starttls", require_tls=True, require_auth=True),
            Listen("127.0.0.1:0", "implicit", tls="implicit", require_auth=True),
        ],
        tls=TlsSettings(
            certificate=directory / "server.pem",
            client_certificates="request",
            client_ca=directory / "ca.pem",
        ),
        hostname="mail.example",
    )
    with running(gate):
        ports = [address.port for address in gate.addresses]
        yield Place(
            ports[0],
            ports[1],
            inbox,
            directory / "ca.pem",
            directory / "client.pem",
            directory / "letter.eml",
            context,
        )


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


async def _run(arguments: list[str], content: bytes, directory: Path) -> str:
    program = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": str(directory), "LC_ALL": "C.UTF-8"},
        cwd=directory,
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await program.communicate(content)
    assert program.returncode == 0, said.decode("utf-8", "replace")
    return said.decode("utf-8", "replace")


def run(*arguments: str, place: Place, content: bytes = b"") -> str:
    """Run a program that must succeed; what it says."""
    return asyncio.run(_run(list(arguments), content, place.letter.parent))


# -- The clients ----------------------------------------------------------------------------------


def _smtplib(place: Place, tls: str, mechanism: str) -> None:
    port = place.port(tls)
    secure = tls == "implicit"
    client = (
        smtplib.SMTP_SSL("localhost", port, context=place.context)
        if secure
        else smtplib.SMTP("localhost", port)
    )
    with client:
        if not secure:
            client.starttls(context=place.context)
        client.ehlo()
        client.user, client.password = USER, PASSWORD
        name = f"auth_{mechanism.lower().replace('-', '_')}"
        code, _ = client.auth(
            mechanism, getattr(client, name), initial_response_ok=mechanism != "CRAM-MD5"
        )
        assert code == 235
        client.sendmail(USER, ["bob@example.com"], LETTER)


def _swaks(place: Place, tls: str, mechanism: str) -> None:
    needs("swaks")
    support = run("swaks", "--support", place=place)
    if "=== TLS supported" not in support:
        pytest.skip("swaks has no TLS: libnet-ssleay-perl is not installed")
    run(
        "swaks", "--server", "127.0.0.1", "--port", str(place.port(tls)),
        "--tls" if tls == "starttls" else "--tls-on-connect", "--auth", mechanism,
        "--auth-user", USER, "--auth-password", PASSWORD, "--from", USER,
        "--to", "bob@example.com", "--data", f"@{place.letter}", place=place,
    )  # fmt: skip


def _curl(place: Place, tls: str, mechanism: str) -> None:
    needs("curl")
    scheme = "smtp" if tls == "starttls" else "smtps"
    how = ["--user", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={mechanism}"]
    if mechanism in ("OAUTHBEARER", "XOAUTH2"):
        how = ["--user", USER, "--oauth2-bearer", TOKEN, "--login-options", f"AUTH={mechanism}"]
    if mechanism == "EXTERNAL":
        how = ["--user", USER, "--cert", str(place.certificate), "--login-options", "AUTH=EXTERNAL"]
    run(
        "curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", str(place.authority), *how,
        f"{scheme}://localhost:{place.port(tls)}", "--mail-from", USER,
        "--mail-rcpt", "bob@example.com", "--crlf", "--upload-file", str(place.letter), place=place,
    )  # fmt: skip


def _msmtp(place: Place, tls: str, mechanism: str) -> None:
    needs("msmtp")
    version = run("msmtp", "--version", place=place)
    if f" {mechanism.lower()} " not in version.replace("\n", " "):
        pytest.skip(f"this msmtp knows no {mechanism}")
    how = [f"--tls-cert-file={place.certificate}", f"--tls-key-file={place.certificate}"]
    password = TOKEN if mechanism in ("OAUTHBEARER", "XOAUTH2") else PASSWORD
    run(
        "msmtp", "--file=", "--host=localhost", f"--port={place.port(tls)}", "--tls=on",
        f"--tls-starttls={'on' if tls == 'starttls' else 'off'}",
        f"--tls-trust-file={place.authority}", *(how if mechanism == "EXTERNAL" else []),
        f"--auth={mechanism.lower()}", f"--user={USER}", f"--passwordeval=echo '{password}'",
        f"--from={USER}", "bob@example.com", place=place, content=LETTER,
    )  # fmt: skip


def _gsasl(place: Place, tls: str, mechanism: str) -> None:
    """It only authenticates, and speaks no implicit TLS."""
    needs("gsasl")
    said = run(
        "gsasl", "--smtp", "--connect=localhost:" + str(place.starttls), "--starttls",
        f"--x509-ca-file={place.authority}", f"--mechanism={mechanism}",
        f"--authentication-id={USER}", f"--password={PASSWORD}", "--no-client-first",
        "--quality-of-protection=qop-auth", *([] if mechanism.endswith("PLUS") else ["--no-cb"]),
        place=place,
    )  # fmt: skip
    assert "235 2.7.0" in said or "Client authentication finished (server trusted)" in said
    place.inbox.came.append(mechanism)


NODEMAILER = """
const nodemailer = require(process.argv[2]);
const [port, secure, method, user, secret, ca] = process.argv.slice(3);
const oauth2 = method === "XOAUTH2";
nodemailer.createTransport({
  host: "localhost", port: Number(port), secure: secure === "1", requireTLS: secure !== "1",
  authMethod: method, tls: {ca: require("fs").readFileSync(ca)},
  auth: oauth2 ? {type: "OAuth2", user, accessToken: secret} : {user, pass: secret},
}).sendMail({from: user, to: "bob@example.com", subject: "Hello", text: "How are you?"})
  .then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


def _nodemailer(place: Place, tls: str, mechanism: str) -> None:
    needs("node")
    library = ROOT / "node_modules" / "nodemailer"
    if not library.exists():
        pytest.skip("nodemailer is not installed")
    secret = TOKEN if mechanism == "XOAUTH2" else PASSWORD
    run(
        "node", "-e", NODEMAILER, "--", "-", str(library), str(place.port(tls)),
        "1" if tls == "implicit" else "0", mechanism, USER, secret, str(place.authority),
        place=place,
    )  # fmt: skip


KNOWN: dict[Callable[[Place, str, str], None], tuple[str, ...]] = {
    _smtplib: ("PLAIN", "LOGIN", "CRAM-MD5"),
    _swaks: ("PLAIN", "LOGIN", "CRAM-MD5"),
    _curl: ("PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "EXTERNAL"),
    _msmtp: (
        "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2",
        "EXTERNAL",
    ),
    _gsasl: (
        "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256-PLUS",
    ),
    _nodemailer: ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"),
}  # fmt: skip
EXCHANGES = [
    pytest.param(client, tls, mechanism, id=f"{client.__name__[1:]}-{tls}-{mechanism}")
    for client, mechanisms in KNOWN.items()
    for tls in ("starttls", "implicit")
    for mechanism in mechanisms
    if not (client is _gsasl and tls == "implicit")
]


@pytest.mark.parametrize(("client", "tls", "mechanism"), EXCHANGES)
def test_a_client_authenticates(
    client: Callable[[Place, str, str], None], tls: str, mechanism: str, place: Place
) -> None:
    place.inbox.came.clear()
    client(place, tls, mechanism)
    assert place.inbox.came == [mechanism]


def test_a_wrong_password_is_refused(place: Place) -> None:
    with smtplib.SMTP_SSL("localhost", place.implicit, context=place.context) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as error:
            client.login(USER, "coffee")
        assert error.value.smtp_code == 421  # it tries all mechanisms that it knows, one by one
