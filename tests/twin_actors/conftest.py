"""Services that several modules here use."""

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from azure.storage.blob.aio import ContainerClient

from local_emulator.azurite import Azurite
from twin_actors.journals.blob import BlobJournal

_containers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def storage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The connection string of an Azurite that runs as long as the tests."""
    async with Azurite(tmp_path_factory.mktemp("azurite")) as azurite:
        yield azurite.connection_string


@pytest_asyncio.fixture
async def container(storage: str) -> AsyncIterator[ContainerClient]:
    """A container of this test's own."""
    client = ContainerClient.from_connection_string(storage, f"journal-{next(_containers)}", retry_total=0)
    async with client:
        await client.create_container()
        yield client


@pytest_asyncio.fixture
async def blob_journal(container: ContainerClient) -> BlobJournal:
    """A journal in a container of this test's own."""
    return BlobJournal(container)
