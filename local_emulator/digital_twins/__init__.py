"""Azure Digital Twins on loopback: models, twins, relationships, queries."""

import asyncio
import ssl
from pathlib import Path
from socket import create_server
from types import TracebackType
from typing import Self

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from local_emulator.certificates import Certificates

from . import limits
from .faults import Fault, Faults
from .protocol import Protocol
from .state import Graph
from .throttle import Throttle

__all__ = ["DigitalTwins", "Fault", "Faults"]

_FILE = "digital_twins.sqlite"


def _large_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Make a request that may be as large as the largest upload of models."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=limits.REQUEST_BYTES)


class DigitalTwins:
    """The service: an async context manager that listens while it is entered.

    Parameters
    ----------
    data_dir
        Where its state is kept.
    host, port
        Where it listens for http; port 0 takes a free one.
    https_port
        Where it listens for https, None for nowhere.
    certificates
        The certificate for https.
    keep_rates
        Whether the service's request rates are kept.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        https_port: int | None = 0,
        certificates: Certificates | None = None,
        keep_rates: bool = False,
    ) -> None:
        self._data_dir = data_dir
        self._host = host
        self._port = port
        self._https_port = https_port
        self._certificates = certificates
        self._keep_rates = keep_rates
        self._graph: Graph | None = None
        self._runner: web.ServerRunner | None = None
        self.faults = Faults()

    async def __aenter__(self) -> Self:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._graph = Graph(self._data_dir / _FILE)
        protocol = Protocol(self._graph, self.faults, Throttle(is_on=self._keep_rates))
        server = web.Server(protocol.respond, request_factory=_large_request)
        self._runner = web.ServerRunner(server, access_log=None)
        await self._runner.setup()
        self._port = await self._listen(self._runner, self._port, None)
        if self._https_port is not None and self._certificates is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(self._certificates.cert_file, self._certificates.key_file)
            self._https_port = await self._listen(self._runner, self._https_port, context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._graph is not None:
            self._graph.close()

    async def _listen(self, runner: web.ServerRunner, port: int, context: ssl.SSLContext | None) -> int:
        listener = create_server((self._host, port))
        await web.SockSite(runner, listener, ssl_context=context).start()
        chosen: int = listener.getsockname()[1]
        return chosen

    @property
    def url(self) -> str:
        """Where it listens for http."""
        return f"http://{self._host}:{self._port}"

    @property
    def https_url(self) -> str:
        """Where it listens for https.

        Raises
        ------
        RuntimeError
            When it has no certificate or was told not to.
        """
        if self._https_port is None or self._certificates is None:
            raise RuntimeError("https needs certificates and a port: pass both to DigitalTwins")
        return f"https://{self._host}:{self._https_port}"
