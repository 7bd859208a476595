"""Stands between a worker and its storage, to be there in the instant that matters."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientSession, web
from yarl import URL

from twin_actors.commit import HEADER_BYTES, MAX_FRAME_BYTES, decompress

BODY = web.RequestKey("body", bytes)
"""The bytes of a request, for traps to look at."""

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding"}


@dataclass
class Trap:
    """Springs once, at the first request it matches, or a later one.

    Attributes
    ----------
    matches
        Whether it is this request.
    skip
        So many that match pass before.
    is_lost
        Whether it never reaches the service.
    before
        Done before the request is passed on; it may wait.
    after
        Done once the service has answered; the answer is then lost.
    """

    matches: Callable[[web.Request], bool]
    before: Callable[[], Awaitable[None]] | None = None
    after: Callable[[], None] | None = None
    skip: int = 0
    is_lost: bool = False
    is_sprung: bool = False

    def springs(self, request: web.Request) -> bool:
        """Whether this request is the one."""
        if self.is_sprung or not self.matches(request):
            return False
        self.skip -= 1
        self.is_sprung = self.skip < 0
        return self.is_sprung


def is_append(request: web.Request) -> bool:
    """Whether a request appends to a journal."""
    return request.method == "PUT" and "comp=appendblock" in request.query_string and "/segments/" in request.path


def writes(request: web.Request) -> bool:
    """Whether a request changes anything."""
    return request.method in {"PUT", "DELETE"}


def orders_work(request: web.Request) -> bool:
    """Whether a request commits a work order."""
    return is_append(request) and b"-order-" in bytes(decompress(request[BODY][HEADER_BYTES:], MAX_FRAME_BYTES))


def is_queued(request: web.Request) -> bool:
    """Whether a request puts a message into a queue."""
    return request.method == "POST" and request.path.endswith("/messages")


def keeps_letter(request: web.Request) -> bool:
    """Whether a request delivers a dead letter, the first thing that leaves after a commit."""
    return request.method == "PUT" and "/dead-letters/" in request.path


class StorageProxy:
    """A reverse proxy to a service of Azurite; `traps` spring on requests that pass, whose bytes stand under `BODY`."""

    def __init__(self, target: str) -> None:
        self.traps: list[Trap] = []
        self.target = target
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["StorageProxy"]:
        """Listen while the context is entered."""
        async with ClientSession(auto_decompress=False) as self._session:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._pass)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        request[BODY] = await request.read()
        trap = next((one for one in self.traps if one.springs(request)), None)
        if trap is not None and trap.before is not None:
            await trap.before()
        if trap is not None and trap.is_lost:
            return _hung_up(request)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {"host", "connection"}}
        async with self._session.request(
            request.method,
            URL(self.target + request.raw_path, encoded=True),
            headers=headers,
            data=request[BODY],
            skip_auto_headers=("Content-Type", "Accept", "User-Agent"),
        ) as answer:
            body = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        if trap is not None and trap.after is not None:
            trap.after()
            return _hung_up(request)
        return web.Response(status=answer.status, headers=kept, body=body)


def _hung_up(request: web.Request) -> web.Response:
    """Cut the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
