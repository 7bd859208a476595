"""The journal in Azure Blob storage: segments are append blobs, objects are block blobs."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob.aio import ContainerClient

from twin_actors.errors import Fenced, PartitionStopped, Unanswered, Unavailable
from twin_actors.journals import ABSENT, Names, Stored

ANSWER_SECONDS = 10
"""How long one call may take before it counts as unanswered."""

# No retries of the SDK's own: whether to send again is the journal's decision.
_OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": ANSWER_SECONDS, "read_timeout": ANSWER_SECONDS}


class BlobJournal:
    """A `Journal` in one container.

    Parameters
    ----------
    container
        Made with ``retry_total=0``, as the two class methods do.
    """

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    @classmethod
    def from_connection_string(cls, connection_string: str, container: str) -> "BlobJournal":
        """Return the journals in a container, reached by connection string."""
        return cls(ContainerClient.from_connection_string(connection_string, container, **_OPTIONS))

    @classmethod
    def from_address(cls, address: str, container: str, credential: AsyncTokenCredential) -> "BlobJournal":
        """Return the journals in a container, reached by identity."""
        return cls(ContainerClient(address, container, credential=credential, **_OPTIONS))

    async def create_container(self) -> None:
        """Make the container unless it exists."""
        async with _writing("the container"):
            with contextlib.suppress(ResourceExistsError):
                await self._container.create_container()

    async def create_segment(self, path: str) -> bool:
        """Make an empty segment; return False where it exists."""
        async with _writing(path):
            try:
                await self._container.get_blob_client(path).create_append_blob(
                    match_condition=MatchConditions.IfMissing
                )
            except (ResourceExistsError, ResourceModifiedError):
                return False
        return True

    async def append(self, path: str, position: int, data: bytes) -> None:
        """Append to a segment that is exactly `position` bytes long."""
        async with _writing(path):
            await self._container.get_blob_client(path).append_block(
                data, length=len(data), appendpos_condition=position
            )

    async def read_segment(self, path: str, start: int) -> bytes | None:
        """Return the bytes of a segment from `start` on; None where there is no such segment."""
        async with _reading(path):
            try:
                stream = await self._container.get_blob_client(path).download_blob(offset=start)
                return bytes(await stream.readall())
            except ResourceNotFoundError:
                return None
            except HttpResponseError as error:
                if error.status_code == 416:  # nothing there yet from `start` on
                    return b""
                raise

    async def read(self, path: str) -> Stored | None:
        """Return an object; None where there is none."""
        async with _reading(path):
            try:
                stream = await self._container.get_blob_client(path).download_blob()
                return Stored(bytes(await stream.readall()), str(stream.properties.etag))
            except ResourceNotFoundError:
                return None

    async def write(self, path: str, data: bytes, only_if: str | None = None) -> str:
        """Replace an object, and return its new tag."""
        async with _writing(path):
            blob = self._container.get_blob_client(path)
            if only_if is None:
                answer = await blob.upload_blob(data, overwrite=True)
            elif only_if == ABSENT:
                answer = await blob.upload_blob(data, overwrite=False)
            else:
                answer = await blob.upload_blob(
                    data, overwrite=True, etag=only_if, match_condition=MatchConditions.IfNotModified
                )
            return str(answer["etag"])

    async def delete(self, path: str) -> None:
        """Delete an object or a segment; one that is absent is fine."""
        async with _reading(path):
            with contextlib.suppress(ResourceNotFoundError):
                await self._container.get_blob_client(path).delete_blob()

    async def names(self, prefix: str) -> list[str]:
        """Return the paths that begin with `prefix`, sorted."""
        async with _reading(prefix):
            try:
                return sorted([name async for name in self._container.list_blob_names(name_starts_with=prefix)])
            except ResourceNotFoundError:  # no worker has ever started
                return []

    async def sizes(self, prefix: str) -> dict[str, int]:
        """Return the paths that begin with `prefix`, and how many bytes each has."""
        async with _reading(prefix):
            try:
                return {str(blob.name): blob.size async for blob in self._container.list_blobs(name_starts_with=prefix)}
            except ResourceNotFoundError:  # no worker has ever started
                return {}

    async def page(self, prefix: str, limit: int, token: str = "") -> Names:
        """Return the next paths that begin with `prefix`, at most `limit`, sorted over all pages."""
        async with _reading(prefix):
            listing = self._container.list_blob_names(name_starts_with=prefix, results_per_page=limit)
            pages: Any = listing.by_page(token)  # its declared type hides the continuation token
            try:
                paths = [name async for name in await anext(pages)]
            except (ResourceNotFoundError, StopAsyncIteration):
                return Names([])
            return Names(paths, pages.continuation_token or "")

    async def close(self) -> None:
        """Let go of connections."""
        await self._container.close()


def _first_line(error: AzureError) -> str:
    """Return what went wrong, without the request ids and XML that follow it."""
    return str(error.message).partition("\n")[0]


@contextlib.asynccontextmanager
async def _writing(path: str) -> AsyncIterator[None]:
    try:
        yield
    except (ResourceExistsError, ResourceModifiedError) as error:
        raise Fenced(f"{path}: {_first_line(error)}") from error
    except ResourceNotFoundError as error:
        raise PartitionStopped(f"{path} does not exist: was the container deleted?") from error
    except HttpResponseError as error:
        if error.status_code == 412:
            raise Fenced(f"{path}: {_first_line(error)}") from error
        # Anything else, a 500 or a time-out of the service included, may have been applied.
        raise Unanswered(f"writing {path}: {_first_line(error)}") from error
    except (AzureError, TimeoutError) as error:
        raise Unanswered(f"writing {path}: {error}") from error


@contextlib.asynccontextmanager
async def _reading(path: str) -> AsyncIterator[None]:
    try:
        yield
    except (AzureError, TimeoutError) as error:
        raise Unavailable(f"reading {path}: {error}") from error
