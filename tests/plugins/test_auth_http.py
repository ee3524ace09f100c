"""Web addresses that know passwords: what is posted, what the answer means, and what trouble is."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
import trustme
from aiohttp import web

from gatepost import (
    Accept,
    Certificate,
    Credentials,
    Defer,
    Deny,
    External,
    Password,
    Proven,
    Site,
    Token,
    Verdict,
)
from gatepost.hooks.loader import Loaded, load
from gatepost.plugins.auth.auth_http import RESPONSE_LIMIT, AuthHttp
from gatepost.testing import a_session, converse

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SITE = Site("mx.example")


def anne() -> Password:
    return Password("anne@example.org", "s3cret", "LOGIN")


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address at which requests are handled."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{runner.addresses[0][1]}/auth?key=hush"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """The address of a server that does what it likes with its one connection."""

    ended = asyncio.Event()

    async def talk_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await talk(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(talk_and_hang_up, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/auth?key=hush"
        await ended.wait()


async def ask(url: str, credentials: Credentials | None = None, **options: Any) -> Verdict | None:
    plugin = AuthHttp(url, **options)
    try:
        return await plugin.auth(a_session(), anne() if credentials is None else credentials)
    finally:
        await plugin.shutdown(SITE)


def answered(
    response: Callable[[], web.StreamResponse],
    credentials: Credentials | None = None,
    **options: Any,
) -> tuple[Verdict | None, list[tuple[web.BaseRequest, Any]]]:
    """The verdict that an answer leads to, and what was posted."""
    requests: list[tuple[web.BaseRequest, Any]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        requests.append((request, json.loads(await request.read())))
        return response()

    async def hold() -> Verdict | None:
        async with serving(answer) as url:
            return await ask(url, credentials, **options)

    return asyncio.run(hold()), requests


def yes() -> web.Response:
    return web.Response(status=204)


# -- What is posted -------------------------------------------------------------------------------


def test_a_password_is_posted_with_all_that_is_known() -> None:
    verdict, ((request, posted),) = answered(yes)
    assert verdict == Accept()
    assert request.method == "POST"
    assert request.path_qs == "/auth?key=hush"
    assert request.headers["Content-Type"] == "application/json"
    assert "Authorization" not in request.headers
    assert posted == {
        "user": "anne@example.org",
        "password": "s3cret",
        "mechanism": "LOGIN",
        "client": "192.0.2.1",
        "hello": "client.example",
        "listener": "mx",
    }


def test_our_token_goes_along() -> None:
    _, ((request, _),) = answered(yes, token="t0ken")
    assert request.headers["Authorization"] == "Bearer t0ken"


def test_a_bearer_token_is_posted_where_that_is_asked_for() -> None:
    token = Token("anne@example.org", "abc", "XOAUTH2")
    verdict, ((_, posted),) = answered(yes, token, tokens=True)
    assert verdict == Accept()
    assert (posted["token"], posted["mechanism"]) == ("abc", "XOAUTH2")
    assert "password" not in posted
    assert answered(yes, token) == (None, [])


@pytest.mark.parametrize(
    "credentials",
    [
        Proven("anne", "SCRAM-SHA-256"),
        External("anne", Certificate("CN=anne", (), "00", b"")),
    ],
)
def test_nothing_else_is_asked_about(credentials: Credentials) -> None:
    assert answered(yes, credentials, tokens=True) == (None, [])


@pytest.mark.parametrize(
    ("tokens", "mechanisms"),
    [(False, {"PLAIN", "LOGIN"}), (True, {"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"})],
)
def test_it_says_what_it_answers_for(tokens: bool, mechanisms: set[str]) -> None:
    plugin = AuthHttp("https://app.example/", tokens=tokens)
    assert set(plugin.mechanisms(a_session(), ("EXTERNAL",))) == {"EXTERNAL"} | mechanisms


def test_odd_letters_arrive_as_they_are() -> None:
    odd = Password('a"\\\r\n\0', "Grüße, 你好 \N{PILE OF POO}")
    _, ((_, posted),) = answered(yes, odd)
    assert (posted["user"], posted["password"]) == (odd.user, odd.password)


# -- What the answer means ------------------------------------------------------------------------


# fmt: off
MEANINGS: list[tuple[int, Verdict | None]] = [
    (200, Accept()), (204, Accept()),
    (201, Defer()), (202, Defer()), (206, Defer()),
    (301, Defer()), (302, Defer()), (307, Defer()),
    (401, Deny()), (403, Deny()),
    (404, None),
    (400, Defer()), (405, Defer()), (407, Defer()), (408, Defer()), (422, Defer()), (429, Defer()),
    (500, Defer()), (502, Defer()), (503, Defer()),
]
# fmt: on


@pytest.mark.parametrize(("status", "expected"), MEANINGS)
def test_the_status_decides(status: int, expected: Verdict | None) -> None:
    assert answered(lambda: web.Response(status=status))[0] == expected


def test_401_may_be_about_our_token() -> None:
    assert answered(lambda: web.Response(status=401), token="t0ken")[0] == Defer()
    assert answered(lambda: web.Response(status=403), token="t0ken")[0] == Deny()


def test_a_redirection_is_not_followed() -> None:
    async def hold() -> None:
        requests: list[web.BaseRequest] = []

        async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
            requests.append(request)
            return yes()

        async def redirect(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": there})

        async with serving(elsewhere) as there, serving(redirect) as url:
            assert await ask(url) == Defer()
        assert requests == []

    asyncio.run(hold())


def user_after(
    response: Callable[[], web.StreamResponse], credentials: Password | Token
) -> tuple[Verdict | None, str]:
    return answered(response, credentials, tokens=True)[0], credentials.user


@pytest.mark.parametrize(
    ("body", "content_type", "user"),
    [
        ('{"user": "Anne"}', "application/json", "Anne"),
        ('{"user": "Anne"}', "Application/JSON; charset=utf-8", "Anne"),
        ('{"user": "b\\u00f6b", "more": [1]}', "application/json", "böb"),
        ('{"user": ""}', "application/json", "anne@example.org"),
        ("{}", "application/json", "anne@example.org"),
        ("OK", "text/plain", "anne@example.org"),
        ('{"user": "Anne"}', "text/plain", "anne@example.org"),
    ],
)
def test_the_application_may_say_what_the_user_is_called(
    body: str, content_type: str, user: str
) -> None:
    def told() -> web.Response:
        return web.Response(body=body.encode(), headers={"Content-Type": content_type})

    assert user_after(told, anne()) == (Accept(), user)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"OK", b"[]", b"null", b'"anne"', b'{"user": null}', b'{"user": 1}',
        b'{"user": ["a"]}', b'{"user": "a\\r\\nb"}', b'{"user": "a\\u0000"}',
        b'{"user": "a\\ud800"}', b'{"user": "\xff"}',
        b'{"user": "' + b"x" * 321 + b'"}', b'{"user": "anne"', b"[" * 50_000,
        b'{"user": "anne", "more": "' + b"x" * RESPONSE_LIMIT + b'"}',
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_no_acceptance(body: bytes) -> None:
    def told() -> web.Response:
        return web.Response(body=body, content_type="application/json")

    assert user_after(told, anne()) == (Defer(), "anne@example.org")


@pytest.mark.parametrize(("user", "expected"), [("anne", Accept()), ("", Defer())])
def test_somebody_must_name_the_user_of_a_token(user: str, expected: Verdict) -> None:
    def told() -> web.Response:
        return web.json_response({"user": user})

    assert user_after(told, Token("", "abc")) == (expected, user)
    assert user_after(yes, Token("", "abc")) == (Defer(), "")


def test_a_client_authenticates() -> None:
    script = """
        S: 220 ...
        C: EHLO client.example
        S: 250 ...
        C: AUTH PLAIN AGFubmUAczNjcmV0
        S: 235 2.7.0 ...
    """

    async def accept(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"user": "anne@example.org"})

    async def hold() -> None:
        async with serving(accept) as url:
            session = await converse([AuthHttp(url)], script, tls=True)
        assert (session.user, session.mechanism) == ("anne@example.org", "PLAIN")

    asyncio.run(hold())


# -- What trouble means ---------------------------------------------------------------------------


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert asyncio.run(ask(url)) == Defer()


# fmt: off
TROUBLE = {
    "it hangs up":                 b"",
    "it breaks off":               b"HTTP/1.1 200 OK\r\n",
    "it speaks another protocol":  b"220 mx.example ESMTP\r\n",
    "its body breaks off":         b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                   b"Content-Length: 100\r\n\r\n{}",
    "fields without end":          b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
}
# fmt: on


@pytest.mark.parametrize("response", TROUBLE.values(), ids=TROUBLE.keys())
def test_an_answer_that_is_none(response: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)

    async def hold() -> Verdict | None:
        async with talking(talk) as url:
            return await ask(url)

    assert asyncio.run(hold()) == Defer()


def test_an_application_that_does_not_answer() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            pass

    async def hold() -> Verdict | None:
        async with talking(wait) as url:
            return await ask(url, wait=0.2)

    assert asyncio.run(hold()) == Defer()


def test_compressed_responses_are_not_unpacked() -> None:
    def bomb() -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=b"no gzip", headers=headers)

    verdict, ((request, _),) = answered(bomb)
    assert request.headers["Accept-Encoding"] == "identity"
    assert verdict == Defer()


@pytest.mark.parametrize("status", [200, 403, 500])
def test_nothing_secret_is_logged(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = '{"user": "s3cret t0ken\\n"}'

    def echo() -> web.Response:
        return web.Response(status=status, text=told, content_type="application/json")

    answered(echo, token="t0ken")
    ours = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("gatepost")
    )
    shown = repr(AuthHttp("https://app.example/?key=hush", token="t0ken"))
    for secret in ("s3cret", "t0ken", "hush"):
        assert secret not in ours
        assert secret not in shown
    assert "127.0.0.1" in ours or status == 403


def test_a_cancelled_question_hangs_up() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        while await reader.read(65_536):
            pass
        ended.set()

    async def hold() -> None:
        async with talking(wait) as url:
            plugin = AuthHttp(url)
            asking = asyncio.ensure_future(plugin.auth(a_session(), anne()))
            await begun.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await ended.wait()
            await plugin.shutdown(SITE)

    asyncio.run(hold())


# -- TLS ------------------------------------------------------------------------------------------


class Tls(NamedTuple):
    context: ssl.SSLContext  #: of the server
    authorities: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return Tls(context, file)


def test_a_certificate_is_verified(tls: Tls) -> None:
    async def accept(request: web.BaseRequest) -> web.StreamResponse:
        return yes()

    async def hold(**options: Any) -> Verdict | None:
        async with serving(accept, tls.context) as url:
            return await ask(url, **options)

    assert asyncio.run(hold()) == Defer()
    assert asyncio.run(hold(verify=False)) == Accept()
    assert asyncio.run(hold(authorities=tls.authorities)) == Accept()


# -- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": ""}, "url"),
        ({"url": "app.example/auth"}, "url"),
        ({"url": "http://app.example/auth"}, "url"),
        ({"url": "https://app.example:0/"}, "url"),
        ({"url": "https://app.example/", "token": "a\r\nX-Evil: 1"}, "token"),
        ({"url": "https://app.example/", "token": "é"}, "token"),
        ({"url": "https://app.example/", "wait": 0}, "wait"),
        ({"url": "https://app.example/", "authorities": "nowhere.pem"}, "authorities"),
    ],
)
def test_options_that_make_no_sense_are_errors(
    options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    outcome = load({"use": "auth_http"} | options, directory=tmp_path, directories=[])
    assert isinstance(outcome, list)
    assert [complaint.key for complaint in outcome] == [named]


@pytest.mark.parametrize(
    "options",
    [
        {"url": "https://app.example/auth"},
        {"url": "http://localhost:8080/auth"},
        {"url": "http://app.internal/auth", "verify": False},
    ],
)
def test_it_loads_from_toml(options: dict[str, Any], tmp_path: Path) -> None:
    table = {"use": "auth_http"} | options
    assert isinstance(load(table, directory=tmp_path, directories=[]), Loaded)
