"""The app over sides in memory and an emulated graph, called in process."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from functions.http.app import make_app
from local_emulator.digital_twins import DigitalTwins
from tests.functions.http_world import World, make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """What the app stands on."""
    async with DigitalTwins(tmp_path / "graph", https_port=None) as service:
        world = await make_world(service)
        yield world
        await world.graph.close()


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app."""
    transport = httpx.ASGITransport(make_app(world.sides()))
    async with httpx.AsyncClient(transport=transport, base_url="http://app/api/") as client:
        yield client
