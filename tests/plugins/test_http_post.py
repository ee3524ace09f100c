"""Web addresses that take mail: what is posted, what the answer means, and what trouble means."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gatepost import Accept, Defer, Deny, Message, Site, Transaction, Verdict
from gatepost.plugins.queue.http_post import (
    FAILED,
    REFUSED,
    RESPONSE_LIMIT,
    TOO_BIG,
    UNREACHABLE,
    HttpPost,
    _base64,
    meaning,
)
from gatepost.testing import a_session, a_transaction
from gatepost.testing.samples import LETTER

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
BOB = ("bob@example.org",)
SITE = Site("mx.example")


class Application:
    """A web application that keeps what it is sent."""

    def __init__(self, answer: Handler | None = None) -> None:
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self._answer = answer

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        body = await request.content.read()
        self.requests.append((request, body))
        if self._answer is not None:
            return await self._answer(request)  # type: ignore[arg-type]
        return web.Response(text="Thank you")


@asynccontextmanager
async def serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """The address at which requests are handled."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        port = runner.addresses[0][1]
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}/mail?key=secret"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listening(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """The address of a server that does what it likes with each connection."""

    async def talk_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(talk_and_hang_up, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def post(url: str, *transactions: Transaction, **options: Any) -> list[Verdict | None]:
    plugin = HttpPost(url, **options)
    try:
        return [await plugin.queue(transaction) for transaction in transactions]
    finally:
        await plugin.shutdown(SITE)


def posted(transaction: Transaction, **options: Any) -> tuple[web.BaseRequest, bytes]:
    """The request that a message becomes."""

    async def hold() -> tuple[web.BaseRequest, bytes]:
        application = Application()
        async with serving(application.handle) as url:
            assert await post(url, transaction, **options) == [Accept()]
        (request,) = application.requests
        return request

    return asyncio.run(hold())


def answered(handler: Handler, message: bytes = LETTER, **options: Any) -> Verdict | None:
    """The verdict that an answer leads to."""

    async def hold() -> Verdict | None:
        async with serving(Application(handler).handle) as url:
            transaction = a_transaction(recipients=BOB, message=message)
            return (await post(url, transaction, **options))[0]

    return asyncio.run(hold())


# -- What is posted -------------------------------------------------------------------------------


def test_raw_is_the_message_with_the_envelope_in_fields() -> None:
    transaction = a_transaction(
        sender='"a,b"@client.example',
        recipients=('"x, y"@example.org', "bob+lists@example.org", "böb@bücher.example"),
        message=LETTER,
    )
    request, body = posted(transaction)
    assert body == LETTER
    assert request.path_qs == "/mail?key=secret"
    assert request.headers["Content-Type"] == "message/rfc822"
    assert request.headers["Content-Length"] == str(len(LETTER))
    assert "Transfer-Encoding" not in request.headers
    assert "Authorization" not in request.headers
    assert request.headers["X-Gatepost-Id"] == transaction.id
    assert request.headers["X-Gatepost-Client"] == "192.0.2.1"
    assert request.headers["X-Gatepost-Hello"] == "client.example"
    assert request.headers["X-Gatepost-Sender"] == "%22a%2Cb%22@client.example"
    assert request.headers["X-Gatepost-Recipients"] == (
        "%22x%2C%20y%22@example.org,bob%2Blists@example.org,b%C3%B6b@b%C3%BCcher.example"
    )


def test_a_notification_has_an_empty_sender() -> None:
    request, _ = posted(a_transaction(sender="", recipients=BOB, message=LETTER))
    assert request.headers["X-Gatepost-Sender"] == ""


def test_what_a_client_says_splits_no_field() -> None:
    session = a_session(hello="evil\r\nX-Gatepost-User: root\x00é")
    request, _ = posted(a_transaction(session, recipients=BOB, message=LETTER))
    assert unquote(request.headers["X-Gatepost-Hello"]) == session.hello
    assert request.headers["X-Gatepost-User"] == ""


def test_json_is_an_object() -> None:
    message = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX: 1\r\nX: 2\r\n\r\n\xff\r\n.\r\n"
    transaction = a_transaction(
        a_session(user="anne"),
        recipients=('"x, y"@example.org', "bob@example.org"),
        message=message,
    )
    request, body = posted(transaction, format="json")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Content-Length"] == str(len(body))
    assert json.loads(body) == {
        "id": transaction.id,
        "client": "192.0.2.1",
        "hello": "client.example",
        "user": "anne",
        "sender": "anne@client.example",
        "recipients": ['"x, y"@example.org', "bob@example.org"],
        "headers": [["Subject", "Grüße"], ["X", "1"], ["X", "2"]],
        "message": base64.b64encode(message).decode(),
    }


@given(st.lists(st.binary()))
def test_any_split_gives_the_same_base64(pieces: list[bytes]) -> None:
    assert b"".join(_base64(pieces)) == base64.b64encode(b"".join(pieces))


@pytest.mark.parametrize("format", ["raw", "json"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 5_000_000])
def test_messages_of_all_sizes_arrive(format: Any, size: int, tmp_path: Path) -> None:
    octets = LETTER + b"x" * size
    transaction = a_transaction(recipients=BOB)
    transaction.message = Message(memory=1000, directory=tmp_path)
    transaction.message.append(octets)
    transaction.message.finish()
    _, body = posted(transaction, format=format)
    assert (body if format == "raw" else base64.b64decode(json.loads(body)["message"])) == octets


def test_a_thousand_recipients_fit_into_json() -> None:
    recipients = tuple(f"{number:060}@example.org" for number in range(1000))
    _, body = posted(a_transaction(recipients=recipients, message=LETTER), format="json")
    assert json.loads(body)["recipients"] == list(recipients)


def test_the_token_goes_along() -> None:
    request, _ = posted(a_transaction(recipients=BOB, message=LETTER), token="s3cret")
    assert request.headers["Authorization"] == "Bearer s3cret"


def key_of(transaction: Transaction) -> str:
    return posted(transaction)[0].headers["Idempotency-Key"]


def test_a_message_that_comes_again_has_the_same_key() -> None:
    first = a_transaction(recipients=("bob@example.org", "carol@example.org"), message=LETTER)
    first.message.headers.prepend("Received", "from here by there; some day")
    again = a_transaction(recipients=("carol@example.org", "bob@example.org"), message=LETTER)
    again.message.headers.prepend("Received", "from here by there; another day")
    assert first.id != again.id
    assert key_of(first) == key_of(again)


@pytest.mark.parametrize(
    "other",
    [
        {"sender": "eve@client.example"},
        {"recipients": ("carol@example.org",)},
        {"message": LETTER + b"."},
        {"message": b"Message-ID: <1@a.example>\r\n" + LETTER},
    ],
)
def test_another_message_has_another_key(other: dict[str, Any]) -> None:
    same: dict[str, Any] = {"recipients": BOB, "message": LETTER}
    assert key_of(a_transaction(**same)) != key_of(a_transaction(**same | other))


# -- What the answer means ------------------------------------------------------------------------


# fmt: off
MEANINGS = [
    (200, Accept()), (201, Accept()), (202, Accept()), (204, Accept()),
    (301, FAILED), (302, FAILED), (304, FAILED), (307, FAILED),
    (400, REFUSED), (403, REFUSED), (404, REFUSED), (406, REFUSED), (410, REFUSED), (422, REFUSED),
    (401, FAILED), (407, FAILED), (408, FAILED), (425, FAILED), (429, FAILED),
    (413, TOO_BIG),
    (500, FAILED), (501, FAILED), (502, FAILED), (503, FAILED), (504, FAILED),
]
# fmt: on


@pytest.mark.parametrize(("status", "expected"), MEANINGS)
def test_the_status_decides(status: int, expected: Verdict) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    assert answered(answer) == expected


def test_every_status_has_a_meaning() -> None:
    verdicts = {status: meaning(status) for status in range(100, 1000)}
    accepting = [status for status, verdict in verdicts.items() if isinstance(verdict, Accept)]
    denying = [status for status, verdict in verdicts.items() if isinstance(verdict, Deny)]
    assert accepting == list(range(200, 300))
    assert denying == sorted(set(range(400, 500)) - {401, 407, 408, 425, 429})


def test_refusals_have_the_codes_that_stand_in_the_manual() -> None:
    assert (REFUSED.code, TOO_BIG.code, TOO_BIG.status) == (554, 552, "5.3.4")
    assert isinstance(FAILED, Defer)
    assert (UNREACHABLE.code, UNREACHABLE.status) == (None, "4.4.1")


def test_a_redirection_is_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    async def hold() -> None:
        elsewhere = Application()

        async def redirect(request: web.Request) -> web.StreamResponse:
            raise web.HTTPTemporaryRedirect(there)

        async with serving(elsewhere.handle) as there, serving(Application(redirect).handle) as url:
            transaction = a_transaction(recipients=BOB, message=LETTER)
            assert await post(url, transaction, token="s3cret") == [FAILED]
        assert elsewhere.requests == []

    asyncio.run(hold())
    assert "307" in caplog.text


def test_the_response_is_heard_within_bounds(caplog: pytest.LogCaptureFixture) -> None:
    async def babble(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text="Out\r\nof\x1b[2Jorder" + "y" * 10_000_000)

    assert answered(babble) == FAILED
    assert "Out  of [2Jorder" in caplog.text
    assert len(caplog.text) < RESPONSE_LIMIT + 500
    assert "secret" not in caplog.text


def test_a_status_counts_even_if_the_response_breaks_off() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nThank")

    async def hold() -> list[Verdict | None]:
        async with listening(break_off) as url:
            return await post(url, a_transaction(recipients=BOB, message=LETTER))

    assert asyncio.run(hold()) == [Accept()]


def test_compressed_responses_are_not_unpacked() -> None:
    async def bomb(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(status=500, headers={"Content-Encoding": "gzip"}, body=b"no gzip")

    assert answered(bomb) == FAILED


def test_cookies_are_not_kept() -> None:
    async def hold() -> None:
        async def bake(request: web.Request) -> web.StreamResponse:
            response = web.Response()
            response.set_cookie("who", "anne")
            return response

        application = Application(bake)
        transactions = [a_transaction(recipients=BOB, message=LETTER) for _ in range(2)]
        async with serving(application.handle) as url:
            await post(url, *transactions)
        assert ["Cookie" in request.headers for request, _ in application.requests] == [False] * 2

    asyncio.run(hold())


# -- What trouble means ---------------------------------------------------------------------------


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        transaction = a_transaction(recipients=BOB, message=LETTER)
        assert asyncio.run(post(url, transaction)) == [UNREACHABLE]


# fmt: off
TROUBLE = [
    ("it hangs up",                 b""),
    ("it breaks off",               b"HTTP/1.1 200"),
    ("it speaks another protocol",  b"220 mx.example ESMTP\r\n"),
    ("a field without end",         b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000),
    ("fields without end",          b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
]
# fmt: on


@pytest.mark.parametrize("response", [row[1] for row in TROUBLE], ids=[row[0] for row in TROUBLE])
def test_an_answer_that_is_none(response: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)

    async def hold() -> list[Verdict | None]:
        async with listening(talk) as url:
            return await post(url, a_transaction(recipients=BOB, message=LETTER))

    assert asyncio.run(hold()) == [UNREACHABLE]


def test_an_application_that_does_not_answer() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass

    async def hold() -> list[Verdict | None]:
        async with listening(wait) as url:
            return await post(url, a_transaction(recipients=BOB, message=LETTER), wait=0.2)

    assert asyncio.run(hold()) == [UNREACHABLE]


def test_an_application_that_answers_before_it_has_read_all() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n")
        await reader.read(1000)

    async def hold() -> list[Verdict | None]:
        async with listening(refuse) as url:
            transaction = a_transaction(recipients=BOB, message=LETTER + b"x" * 10_000_000)
            return await post(url, transaction, wait=10)

    assert asyncio.run(hold()) in ([TOO_BIG], [UNREACHABLE])


def test_a_cancelled_hook_hangs_up() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        while await reader.read(65_536):
            pass
        ended.set()

    async def hold() -> None:
        async with listening(wait) as url:
            plugin = HttpPost(url)
            transaction = a_transaction(recipients=BOB, message=LETTER)
            hook = asyncio.ensure_future(plugin.queue(transaction))
            await begun.wait()
            hook.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hook
            await ended.wait()
            await plugin.shutdown(SITE)

    asyncio.run(hold())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    directory = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -subj /CN=x"
    try:
        subprocess.run([*command.split(), "-days", "2"], cwd=directory, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "certificate", directory / "key")
    return context


@pytest.mark.parametrize(("verify", "expected"), [(True, UNREACHABLE), (False, Accept())])
def test_a_certificate_is_verified(
    verify: bool, expected: Verdict, certificate: ssl.SSLContext
) -> None:
    async def hold() -> list[Verdict | None]:
        async with serving(Application().handle, certificate) as url:
            transaction = a_transaction(recipients=BOB, message=LETTER)
            return await post(url, transaction, verify=verify)

    assert asyncio.run(hold()) == [expected]


def test_nobody_to_deliver_to_is_no_reason_to_accept() -> None:
    assert asyncio.run(HttpPost("http://127.0.0.1:1/").queue(a_transaction(message=LETTER))) is None


def test_connections_are_kept_until_the_end() -> None:
    async def hold() -> None:
        ports: list[int] = []

        async def look(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            ports.append(request.transport.get_extra_info("peername")[1])
            return web.Response(text="Thank you")

        async with serving(Application(look).handle) as url:
            plugin = HttpPost(url)
            for _ in range(3):
                await plugin.queue(a_transaction(recipients=BOB, message=LETTER))
            await plugin.shutdown(SITE)
            await plugin.shutdown(SITE)
            assert len(set(ports)) == 1
            await plugin.queue(a_transaction(recipients=BOB, message=LETTER))
            await plugin.shutdown(SITE)
            assert len(set(ports)) == 2

    asyncio.run(hold())


@pytest.mark.parametrize(
    "options",
    [
        {"url": ""},
        {"url": "example.org/mail"},
        {"url": "ftp://example.org/"},
        {"url": "http://"},
        {"url": "http://example.org:0/"},
        {"url": "http://example.org:99999/"},
        {"url": "http://[::1/"},
        {"url": "http://example.org/", "token": "a\r\nX-Evil: 1"},
        {"url": "http://example.org/", "token": "é"},
        {"url": "http://example.org/", "wait": 0},
    ],
)
def test_options_that_make_no_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"option '(url|token|wait)'|Port out of range|Invalid"):
        HttpPost(**options)
