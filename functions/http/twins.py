"""Twins: list, one with the provenance of each value, its relationships."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from functions.http import graph
from functions.http.dependencies import TwinIdPath, UsesModels, UsesSides
from functions.http.description import responses
from functions.http.graph import Row, literal, select
from functions.http.paging import Cursor, Limit, Page, from_cursor, to_cursor
from functions.http.problems import Problem
from functions.http.sides import Sides
from functions.http.views import (
    Connection,
    EditView,
    Priority,
    PropertyView,
    RelationshipView,
    TwinSummary,
    TwinView,
)
from twin_actors import documents
from twin_actors.conflict import join, vector_text
from twin_actors.documents import Collection, Edit, Source
from twin_actors.dtdl import is_dtmi
from twin_actors.identity import TWIN_ID_PATTERN
from twin_actors.models import Models

router = APIRouter(prefix="/twins", tags=["twins"])

EDITS_MOST = 1000
"""Of one twin: a model has at most 300 contents."""

SHOWN = (
    "connection",
    "quality",
    "health",
    "remainingUsefulLifeDays",
    "remainingUsefulLifeDaysLower",
    "remainingUsefulLifeDaysUpper",
    "activeAlerts",
    "lastReadingTime",
)
"""Properties of every twin that a list shows as they are."""


@router.get("", operation_id="listTwins", responses=responses(400, 503))
async def list_twins(
    sides: UsesSides,
    models: UsesModels,
    kind: Annotated[
        str | None,
        Query(alias="type", max_length=2048, description="A twin type, or the DTMI of a model; bases count."),
    ] = None,
    connection: Annotated[Connection | None, Query()] = None,
    priority: Annotated[Priority | None, Query(description="Of maintenance.")] = None,
    search: Annotated[
        str | None, Query(pattern=f"^{TWIN_ID_PATTERN}$", description="What the id of the twin contains.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Page[TwinSummary]:
    """List the twins of the graph, those that fit the filters only."""
    conditions: list[str] = []
    if kind is not None:
        conditions.append(f"IS_OF_MODEL({literal(_model(sides, kind))})")
    if connection is not None:
        conditions.append(_equals("connection", literal(connection), or_absent=connection == "unknown"))
    if priority is not None:
        number = documents.Priority[priority.upper()].value
        conditions.append(_equals("maintenancePriority", str(number), or_absent=number == 0))
    if search is not None:
        conditions.append(f"CONTAINS($dtId, {literal(search)})")
    query = select("DIGITALTWINS", *conditions)
    rows, token = await graph.rows(sides.graph, query, limit, from_cursor(cursor, query))
    return Page(items=[summary(models, row) for row in rows], nextCursor=to_cursor(token, query))


def _equals(name: str, value: str, *, or_absent: bool) -> str:
    return f"({name} = {value} OR NOT IS_DEFINED({name}))" if or_absent else f"{name} = {value}"


def _model(sides: Sides, kind: str) -> str:
    """Return the model that a filter names."""
    if kind in sides.registry.by_name:
        return sides.registry.by_name[kind].model
    if is_dtmi(kind):
        return kind
    names = ", ".join(sides.registry.by_name)
    detail = f"type {kind!r} is neither one of this app's ({names}) nor a DTMI"
    raise Problem(400, "unknown-type", "There is no such twin type", detail)


def summary(models: Models, row: Row) -> TwinSummary:
    """Return a twin of the graph as lists show it."""
    model = row["$metadata"]["$model"]
    twin_type = models.type_of(model)
    shown = {name: row[name] for name in SHOWN if row.get(name) is not None}
    return TwinSummary.model_validate(
        {
            "twinId": row["$dtId"],
            "model": model,
            "type": None if twin_type is None else twin_type.name,
            "maintenancePriority": priority_name(row.get("maintenancePriority")),
            **shown,
        }
    )


def priority_name(shown: object) -> str:
    """Return the name of a priority that the graph shows as a number."""
    return documents.Priority(shown).name.lower() if isinstance(shown, int) else "unknown"


@router.get("/{twinId}", operation_id="getTwin", responses=responses(400, 404, 503))
async def get_twin(twin_id: TwinIdPath, sides: UsesSides, models: UsesModels) -> TwinView:
    """Return a twin: each value with its unit, its source and times, and what a person set."""
    row = await graph.twin(sides.graph, twin_id)
    model = row["$metadata"]["$model"]
    kept = await sides.documents.list(Collection.EDITS, twin_id=twin_id, limit=EDITS_MOST)
    edits = [msgspec.json.decode(document.body, type=Edit) for document in kept.documents]
    by_name = {edit.property: edit for edit in edits}
    set_now = {edit.property for edit in edits if edit.value is not None}
    shown = {name for name in row if not name.startswith("$")}
    twin_type = models.type_of(model)
    return TwinView(
        twin_id=twin_id,
        model=model,
        type=None if twin_type is None else twin_type.name,
        quality=row.get("quality"),
        commands=[] if twin_type is None else [command.name for command in twin_type.commands],
        properties={name: _property(models, row, name, by_name.get(name)) for name in sorted(shown | set_now)},
    )


def _property(models: Models, row: Row, name: str, edit: Edit | None) -> PropertyView:
    model = row["$metadata"]["$model"]
    interface = models.interface(model)
    declared = interface.properties.get(name) if interface is not None else None
    metadata: Row = row["$metadata"].get(name, {})
    said = [] if edit is None else [edit, *edit.beside]
    shown = next((one.source for one in said if one.is_shown), Source.SENSOR)
    vectors = [*(one.vector for one in said), {Source.SENSOR: row.get("stateVersion", 0)}]
    is_set = any(one.value is not None for one in said if one.source != Source.SENSOR)
    return PropertyView(
        value=row.get(name),
        unit=None if declared is None else declared.unit,
        source=models.source(model, name) if shown == Source.SENSOR else shown,
        source_time=metadata.get("sourceTime"),
        last_update_time=metadata.get("lastUpdateTime"),
        is_writable=declared is not None and declared.writable,
        edit=EditView.model_validate(edit, from_attributes=True) if is_set else None,
        vector=vector_text(join(vectors)),
    )


@router.get("/{twinId}/relationships", operation_id="listRelationships", responses=responses(400, 404, 503))
async def list_relationships(
    twin_id: TwinIdPath, sides: UsesSides, limit: Limit = 50, cursor: Cursor = ""
) -> Page[RelationshipView]:
    """List the relationships that begin or end at a twin."""
    await graph.twin(sides.graph, twin_id)
    name = literal(twin_id)
    query = select("RELATIONSHIPS", f"($sourceId = {name} OR $targetId = {name})")
    rows, token = await graph.rows(sides.graph, query, limit, from_cursor(cursor, query))
    return Page(items=[_relationship(twin_id, row) for row in rows], nextCursor=to_cursor(token, query))


def _relationship(twin_id: str, row: Row) -> RelationshipView:
    return RelationshipView(
        relationship_id=row["$relationshipId"],
        name=row["$relationshipName"],
        direction="outgoing" if row["$sourceId"] == twin_id else "incoming",
        source_id=row["$sourceId"],
        target_id=row["$targetId"],
        properties={name: value for name, value in row.items() if not name.startswith("$")},
    )
