"""A running service, and the genuine clients for it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core import DigitalTwinsClient
from azure.digitaltwins.core.aio import DigitalTwinsClient as AsyncDigitalTwinsClient

from local_emulator.digital_twins import DigitalTwins


class Background:
    """The service on a thread of its own, for clients that block."""

    def __init__(self, service: DigitalTwins) -> None:
        self.service = service
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.service.__aenter__(), self._loop).result(30)
        return self

    def __exit__(self, *exc_info: object) -> None:
        asyncio.run_coroutine_threadsafe(self.service.__aexit__(None, None, None), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class AnyToken:
    """A credential whose token nobody reads."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Give a token."""
        return AccessToken("emulator", int(time.time()) + 3600)


class AnyAsyncToken(AnyToken):
    """The same, for asynchronous clients."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # type: ignore[override]
        """Give a token."""
        return AnyToken.get_token(self, *scopes, **options)

    async def close(self) -> None:
        """Have nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Have nothing to close."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., DigitalTwins]]:
    """Provide a way to start services, each on state of its own unless told otherwise."""
    running: list[Background] = []

    def start_one(**options: Any) -> DigitalTwins:
        service = DigitalTwins(tmp_path / f"service-{len(running)}", **options)
        background = Background(service)
        background.__enter__()
        running.append(background)
        return service

    yield start_one
    for background in running:
        background.__exit__()


@pytest.fixture
def service(start: Callable[..., DigitalTwins]) -> DigitalTwins:
    """Provide a running service."""
    return start()


@pytest.fixture
def connect() -> Iterator[Callable[[DigitalTwins], DigitalTwinsClient]]:
    """Provide a way to connect the genuine client, without retries."""
    clients: list[DigitalTwinsClient] = []

    def connect_one(service: DigitalTwins) -> DigitalTwinsClient:
        client = DigitalTwinsClient(service.url, AnyToken(), authentication_policy=SansIOHTTPPolicy(), retry_total=0)
        clients.append(client)
        return client

    yield connect_one
    for client in clients:
        client._client.close()


@pytest.fixture
def client(service: DigitalTwins, connect: Callable[[DigitalTwins], DigitalTwinsClient]) -> DigitalTwinsClient:
    """Provide the genuine client of a running service."""
    return connect(service)


@pytest.fixture
async def async_client(service: DigitalTwins) -> AsyncIterator[AsyncDigitalTwinsClient]:
    """Provide the genuine asynchronous client of a running service."""
    async with AsyncDigitalTwinsClient(
        service.url, AnyAsyncToken(), authentication_policy=SansIOHTTPPolicy(), retry_total=0
    ) as running:
        yield running
