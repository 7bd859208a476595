"""Alerts, and their acknowledgement."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Query, Response

from functions.http.dependencies import (
    NAME_PATTERN,
    Caller,
    TwinIdPath,
    TwinIdQuery,
    UsesSides,
)
from functions.http.description import accepted, responses
from functions.http.kept import Kept
from functions.http.operations import RequestBody, hand_over, new_operation_id
from functions.http.paging import Cursor, Limit, Page
from functions.http.views import AlertView, OperationView
from twin_actors.documents import Collection
from twin_actors.requests import Acknowledgement

router = APIRouter(tags=["alerts"])

alerts = Kept(Collection.ALERTS, AlertView, "alert")

AlertIdPath = Annotated[str, Path(alias="alertId", pattern=NAME_PATTERN, description="Of the alert.")]


@router.get("/alerts", operation_id="listAlerts", responses=responses(400, 503))
async def list_alerts(
    sides: UsesSides,
    twin_id: TwinIdQuery = None,
    status: Annotated[Literal["active", "cleared"] | None, Query(description="Of this status only.")] = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Page[AlertView]:
    """List alerts."""
    return await alerts.page(sides, twin_id, status, limit, cursor)


@router.get("/twins/{twinId}/alerts/{alertId}", operation_id="getAlert", responses=responses(400, 404, 503))
async def get_alert(twin_id: TwinIdPath, alert_id: AlertIdPath, sides: UsesSides) -> AlertView:
    """Return an alert with its reason."""
    return await alerts.one(sides, twin_id, alert_id)


@router.post(
    "/twins/{twinId}/alerts/{alertId}/acknowledge",
    status_code=202,
    operation_id="acknowledgeAlert",
    responses=accepted(400, 404, 409, 413, 503),
)
async def acknowledge_alert(
    twin_id: TwinIdPath,
    alert_id: AlertIdPath,
    sides: UsesSides,
    caller: Caller,
    response: Response,
    body: Annotated[RequestBody | None, Body()] = None,
) -> OperationView:
    """Say that somebody has seen an alert."""
    await alerts.one(sides, twin_id, alert_id)
    request = Acknowledgement(
        operation_id=(body and body.operation_id) or new_operation_id(),
        caller=caller,
        alert_id=alert_id,
        requested=sides.clock.now(),
    )
    return await hand_over(sides, twin_id, request, response)
