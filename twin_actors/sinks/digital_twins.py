"""The graph on Azure Digital Twins."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.digitaltwins.core.aio import DigitalTwinsClient

from twin_actors.documents import PropertyValue
from twin_actors.errors import Unanswered, Unavailable
from twin_actors.sinks import Absent, GraphTwin, Refused, Stale, Throttled


class DigitalTwinsGraph:
    """A `Graph` on an instance of Azure Digital Twins.

    Parameters
    ----------
    client
        Made with ``retry_total=0``: the runtime decides what to do with a lost answer.
    """

    def __init__(self, client: DigitalTwinsClient) -> None:
        self._client = client

    async def read(self, twin_id: str) -> GraphTwin:
        """Return a twin."""
        async with _translated(twin_id):
            twin = await self._client.get_digital_twin(twin_id)
        properties = {
            name: value
            for name, value in twin.items()
            if not name.startswith("$") and isinstance(value, bool | int | float | str)
        }
        return GraphTwin(str(twin["$metadata"]["$model"]), str(twin["$etag"]), properties)

    async def create(
        self, twin_id: str, model: str, properties: Mapping[str, PropertyValue], source_time: float = 0.0
    ) -> str:
        """Create a twin that must not exist, and return its ETag."""
        metadata: dict[str, Any] = {"$model": model}
        if source_time:
            metadata |= {name: {"sourceTime": _moment(source_time)} for name in properties}
        async with _translated(twin_id):
            twin = await self._client.upsert_digital_twin(
                twin_id,
                {"$metadata": metadata, **properties},
                match_condition=MatchConditions.IfMissing,
            )
        return str(twin["$etag"])

    async def patch(
        self, twin_id: str, changes: Mapping[str, PropertyValue | None], source_time: float, etag: str
    ) -> str:
        """Set properties of the twin with this ETag, and return its new one."""
        async with _translated(twin_id):
            # The client's own signature hides the answer's ETag; `cls` is azure-core's way to it.
            answer = await self._client.update_digital_twin(  # type: ignore[func-returns-value]
                twin_id,
                _json_patch(changes, source_time),
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                cls=lambda _response, _nothing, headers: headers["ETag"],
            )
        return str(answer)

    async def remove(self, twin_id: str, state_version: int, model: str = "") -> None:
        """Delete a twin with its relationships, unless it shows a later version, or has another model than is named."""
        try:
            found = await self.read(twin_id)
            if found.state_version > state_version or model not in {"", found.model}:
                return
            async with _translated(twin_id):
                await self._remove_relationships(twin_id)
                await self._client.delete_digital_twin(
                    twin_id, etag=found.etag, match_condition=MatchConditions.IfNotModified
                )
        except Absent:
            return
        except (Stale, Refused) as error:  # somebody has just written it, or drawn a relationship
            raise Unavailable(f"{error}; it is read again later") from error

    async def _remove_relationships(self, twin_id: str) -> None:
        """Delete what begins or ends at a twin: the service deletes none that has relationships."""
        ends = [(twin_id, str(one["$relationshipId"])) async for one in self._client.list_relationships(twin_id)]
        ends += [
            (str(one.source_id), str(one.relationship_id))
            async for one in self._client.list_incoming_relationships(twin_id)
        ]
        for source, relationship in ends:
            with contextlib.suppress(ResourceNotFoundError):
                await self._client.delete_relationship(source, relationship)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _json_patch(changes: Mapping[str, PropertyValue | None], source_time: float) -> list[dict[str, Any]]:
    """Return the JSON Patch; ``add`` replaces a value that is there and makes one that is not."""
    operations: list[dict[str, Any]] = []
    moment = _moment(source_time) if source_time else None
    for name, value in changes.items():
        if value is None:
            operations.append({"op": "remove", "path": f"/{name}"})
            continue
        operations.append({"op": "add", "path": f"/{name}", "value": value})
        if moment is not None:
            operations.append({"op": "add", "path": f"/$metadata/{name}/sourceTime", "value": moment})
    return operations


@contextlib.asynccontextmanager
async def _translated(twin_id: str) -> AsyncIterator[None]:
    try:
        yield
    except ResourceNotFoundError as error:
        raise Absent(f"twin {twin_id} is not in the graph") from error
    except (ResourceModifiedError, ResourceExistsError) as error:
        raise Stale(f"twin {twin_id}: {error.message}") from error
    except HttpResponseError as error:
        _raise_by_status(twin_id, error)
    except (AzureError, TimeoutError) as error:
        # `ServiceRequestError` too: the transport raises it where a connection ends after the request was sent.
        raise Unanswered(f"twin {twin_id}: no answer: {error}") from error


def _raise_by_status(twin_id: str, error: HttpResponseError) -> None:
    status = error.status_code or 0
    if status == 429:
        headers: Mapping[str, str] = getattr(error.response, "headers", {})
        wait = headers.get("Retry-After", "1")
        raise Throttled(float(wait) if wait.isdigit() else 1.0) from error
    if status == 412:
        raise Stale(f"twin {twin_id}: {error.message}") from error
    if status in {400, 409}:
        raise Refused(f"twin {twin_id}: {error.message}") from error
    if status in {401, 403}:
        raise Unavailable(f"Azure Digital Twins refuses this identity ({status}): {error.message}") from error
    raise Unanswered(f"twin {twin_id}: HTTP {status}: {error.message}") from error
