"""The pages for machines that watch the server: /metrics, /healthz and /readyz."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from inspect import isawaitable
from typing import TypeAlias

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gatepost.config import SocketAddress
from gatepost.metrics.exposition import CONTENT_TYPE
from gatepost.server.listener import check_that_nobody_has
from gatepost.server.socket_file import SocketFile

#: Clients at a time, and those whom the kernel lets wait; who watches asks seldom, and is brief.
MOST_CLIENTS = 20
#: Seconds from a client's coming to the end of its answer.
TIME = 10.0
#: Seconds that the figures may take to be gathered.
GATHERING = 5.0
#: Seconds that requests under way are given when the site is closed.
FAREWELL = 1.0
#: Octets of a request line, and of a header field, of which there may be a few.
_LINE = 2048
_FIELDS = 64

Metrics: TypeAlias = Callable[[], Awaitable[str] | str]
Page: TypeAlias = Callable[[], Awaitable[web.Response]]


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a fault is ours; a request that is none has been answered, and is not logged."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


log = logging.getLogger(__name__)
log.addFilter(_is_ours)


class _Guarded(web.Server):
    """Takes few clients at a time in, and cuts those off whose time is over."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """A client has come."""
        super().connection_made(handler, transport)
        if len(self.connections) > MOST_CLIENTS:
            transport.abort()
        else:
            asyncio.get_running_loop().call_later(TIME, transport.abort)


class WatchSite:
    """The pages, where they can be fetched."""

    def __init__(
        self, runner: web.ServerRunner, address: SocketAddress, file: SocketFile | None = None
    ) -> None:
        self._runner = runner
        self._file = file  #: of a Unix socket
        self.address = address  #: where it is, with the port that the system chose

    async def close(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()
        if self._file is not None:
            self._file.remove()


async def start_site(
    address: str,
    *,
    metrics: Metrics,
    healthy: Callable[[], bool],
    ready: Callable[[], bool],
) -> WatchSite:
    """Serve `/metrics`, and `/healthz` and `/readyz`, which say 200 or 503.

    `address` is one as in the configuration.  Each connection is good for one request without a
    body.  Raises OSError where the address cannot be had.
    """
    pages: dict[str, Page] = {
        "/metrics": lambda: _metrics(metrics),
        "/healthz": lambda: _state(healthy()),
        "/readyz": lambda: _state(ready()),
    }

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = await _answered(request, pages)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Server"] = "gatepost"
        response.force_close()
        return response

    server = _Guarded(
        answer,
        handler_cancellation=True,
        access_log=None,
        logger=log,
        lingering_time=0,
        max_line_size=_LINE,
        max_field_size=_LINE,
        max_headers=_FIELDS,
    )
    return await _opened(server, SocketAddress.parse(address))


async def _opened(server: web.Server, where: SocketAddress) -> WatchSite:
    runner = web.ServerRunner(server, shutdown_timeout=FAREWELL)
    file: SocketFile | None = None
    async with AsyncExitStack() as undoing:
        await runner.setup()
        undoing.push_async_callback(runner.cleanup)
        if where.path is not None:
            check_that_nobody_has(where.path)
            path = os.fspath(where.path)
            await web.UnixSite(runner, path, backlog=MOST_CLIENTS).start()
            file = SocketFile(where.path)
        else:
            await web.TCPSite(runner, where.host, where.port, backlog=MOST_CLIENTS).start()
            where = where._replace(port=runner.addresses[0][1])
        undoing.pop_all()
    return WatchSite(runner, where, file)


async def _answered(request: web.BaseRequest, pages: dict[str, Page]) -> web.Response:
    page = pages.get(request.path)
    if page is None:
        return web.Response(status=404, text="There is /metrics, /healthz and /readyz\n")
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405, text="GET it\n", headers={"Allow": "GET, HEAD"})
    return await page()


async def _metrics(metrics: Metrics) -> web.Response:
    try:
        async with asyncio.timeout(GATHERING):
            text = metrics()
            if isawaitable(text):
                text = await text
    except TimeoutError:
        return web.Response(status=503, text="The figures take too long\n")
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


async def _state(is_well: bool) -> web.Response:
    return web.Response(status=200 if is_well else 503, text="yes\n" if is_well else "no\n")
