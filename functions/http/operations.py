"""What is asked of twins: commands, manual edits, and the operations that they become."""

import uuid
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Body, Query, Response
from pydantic import ConfigDict, Field, JsonValue

from functions.http import graph
from functions.http.dependencies import (
    Caller,
    OperationId,
    OperationIdPath,
    StatusQuery,
    TwinIdPath,
    UsesModels,
    UsesSides,
)
from functions.http.description import accepted, responses
from functions.http.kept import Kept
from functions.http.paging import Cursor, Limit, Page
from functions.http.sides import Sides
from functions.http.views import OperationView, View
from twin_actors.conflict import VECTOR_PATTERN, parse_vector
from twin_actors.documents import Collection, Source
from twin_actors.journals import partition_count
from twin_actors.models import check_command, check_edit
from twin_actors.requests import CommandRequest, Deletion, EditRequest, Request, submit

router = APIRouter(tags=["operations"])

operations = Kept(Collection.OPERATIONS, OperationView, "operation")


class RequestBody(View):
    """What any request may come with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    operation_id: OperationId | None = None


class CommandBody(RequestBody):
    """What a command is given with."""

    request: JsonValue = Field(default=None, description="By the command's request schema in the model.")
    expires_in_seconds: float = Field(
        default=60.0, ge=1.0, le=86_400.0, description="After which the command is not delivered any more."
    )


@router.post(
    "/twins/{twinId}/commands/{name}",
    status_code=202,
    operation_id="sendCommand",
    responses=accepted(400, 404, 409, 413, 503),
)
async def send_command(
    twin_id: TwinIdPath,
    name: str,
    sides: UsesSides,
    models: UsesModels,
    caller: Caller,
    response: Response,
    body: Annotated[
        CommandBody | None,
        Body(examples=[{"request": 1200.0, "operationId": "slow-down-7", "expiresInSeconds": 30.0}]),
    ] = None,
) -> OperationView:
    """Let the device of a twin do something; the operation tells how far that has come."""
    asked = body or CommandBody()
    row = await graph.twin(sides.graph, twin_id)
    request = check_command(models, row["$metadata"]["$model"], name, asked.request)
    now = sides.clock.now()
    command = CommandRequest(
        operation_id=asked.operation_id or new_operation_id(),
        caller=caller,
        name=name,
        request=request,
        requested=now,
        expires=now + asked.expires_in_seconds,
    )
    return await hand_over(sides, twin_id, command, response)


@router.patch(
    "/twins/{twinId}",
    status_code=202,
    operation_id="editTwin",
    responses=accepted(400, 404, 409, 413, 503),
)
async def edit_twin(
    twin_id: TwinIdPath,
    sides: UsesSides,
    models: UsesModels,
    caller: Caller,
    response: Response,
    changes: Annotated[
        dict[str, bool | int | float | str | None],
        Body(
            media_type="application/merge-patch+json",
            description="A JSON merge patch of writable properties; null takes the person's value away.",
            examples=[{"automaticControl": False}],
        ),
    ],
    operation_id: Annotated[OperationId | None, Query(alias="operationId")] = None,
    source: Annotated[Literal["manual", "simulation"], Query(description="Who sets them.")] = "manual",
    seen: Annotated[
        str | None,
        Query(
            pattern=f"^{VECTOR_PATTERN}$",
            description="The `vector` of the properties as it was read, if it was: their values are replaced then.",
            examples=["sensor:120,manual:3"],
        ),
    ] = None,
) -> OperationView:
    """Set properties by hand or by a simulation; which source is shown, `GET /api/twins/{twinId}` tells."""
    row = await graph.twin(sides.graph, twin_id)
    checked = check_edit(models, row["$metadata"]["$model"], changes)
    edit = EditRequest(
        operation_id=operation_id or new_operation_id(),
        caller=caller,
        changes=checked,
        requested=sides.clock.now(),
        source=Source(source),
        seen=parse_vector(seen) if seen else {},
    )
    return await hand_over(sides, twin_id, edit, response)


@router.delete(
    "/twins/{twinId}",
    status_code=202,
    operation_id="deleteTwin",
    responses=accepted(400, 409, 503),
)
async def delete_twin(
    twin_id: TwinIdPath,
    sides: UsesSides,
    caller: Caller,
    response: Response,
    operation_id: Annotated[OperationId | None, Query(alias="operationId")] = None,
) -> OperationView:
    """Forget a twin, and take it out of the graph with its relationships.

    Take its device away first: one that goes on sending and announces its model makes a new twin.
    """
    request = Deletion(operation_id=operation_id or new_operation_id(), caller=caller, requested=sides.clock.now())
    return await hand_over(sides, twin_id, request, response)


@router.get("/twins/{twinId}/operations", operation_id="listTwinOperations", responses=responses(400, 503))
async def list_twin_operations(
    twin_id: TwinIdPath, sides: UsesSides, status: StatusQuery = None, limit: Limit = 50, cursor: Cursor = ""
) -> Page[OperationView]:
    """List what was asked of a twin."""
    return await operations.page(sides, twin_id, status, limit, cursor)


@router.get("/twins/{twinId}/operations/{operationId}", operation_id="getOperation", responses=responses(400, 404, 503))
async def get_operation(twin_id: TwinIdPath, operation_id: OperationIdPath, sides: UsesSides) -> OperationView:
    """Return how far an operation has come."""
    return await operations.one(sides, twin_id, operation_id)


@router.get("/operations", operation_id="listOperations", responses=responses(400, 503))
async def list_operations(
    sides: UsesSides, status: StatusQuery = None, limit: Limit = 50, cursor: Cursor = ""
) -> Page[OperationView]:
    """List what was asked of all twins."""
    return await operations.page(sides, None, status, limit, cursor)


def new_operation_id() -> str:
    """Return an id for an operation whose caller has none."""
    return uuid.uuid4().hex


async def hand_over(sides: Sides, twin_id: str, request: Request, response: Response) -> OperationView:
    """Send a request to its twin, and tell where its operation is looked up."""
    count = await partition_count(sides.journal)
    document = await submit(twin_id, request, sides.documents, sides.sender, count)
    response.headers["Location"] = f"/api/twins/{quote(twin_id, safe='')}/operations/{request.operation_id}"
    return operations.view(sides, document)
