"""The fleet at a glance."""

import heapq
import itertools
from collections import Counter
from typing import get_args

from fastapi import APIRouter

from functions.http import graph
from functions.http.dependencies import UsesModels, UsesSides
from functions.http.description import responses
from functions.http.graph import Row, literal, select
from functions.http.sides import Sides
from functions.http.twins import priority_name, summary
from functions.http.views import Connection, FleetHealth, Priority
from twin_actors.registry import COMMON_MODEL
from twin_actors.twin import RUL

router = APIRouter(prefix="/fleet", tags=["fleet"])

MOST_TWINS = 20_000
"""Looked at for one answer: the query language cannot average or sort, so every twin is read."""

PAGE = 1000
NEXT_TO_FAIL = 10

COLUMNS = ("$dtId", "connection", "health", "maintenancePriority", "activeAlerts", RUL)
QUERY = select(
    "DIGITALTWINS T",
    f"IS_OF_MODEL(T, {literal(COMMON_MODEL)})",
    columns=", ".join(f"T.{name}" for name in COLUMNS),
)
"""Without what else twins show, and its metadata: that is ten times as much."""


@router.get("/health", operation_id="getFleetHealth", responses=responses(503))
async def get_fleet_health(sides: UsesSides, models: UsesModels) -> FleetHealth:
    """Count the twins by maintenance priority and connection; tell mean and worst health, and who fails next."""
    rows, is_complete = await _all(sides)
    priorities: Counter[str] = Counter(priority_name(row.get("maintenancePriority")) for row in rows)
    connections: Counter[str] = Counter(str(row.get("connection", "unknown")) for row in rows)
    health = [float(row["health"]) for row in rows if row.get("health") is not None]
    foreseen = (row for row in rows if row.get(RUL) is not None)
    first = heapq.nsmallest(NEXT_TO_FAIL, foreseen, key=_days)
    return FleetHealth(
        twins=len(rows),
        is_complete=is_complete,
        by_maintenance_priority={name: priorities[name] for name in get_args(Priority)},
        by_connection={name: connections[name] for name in get_args(Connection)},
        mean_health=sum(health) / len(health) if health else None,
        worst_health=min(health, default=None),
        active_alerts=sum(int(row.get("activeAlerts") or 0) for row in rows),
        next_to_fail=[summary(models, row) for row in await _whole(sides, first)],
    )


def _days(row: Row) -> float:
    return float(row[RUL])


async def _whole(sides: Sides, rows: list[Row]) -> list[Row]:
    """Return all of some twins, in their order."""
    if not rows:
        return []
    names = ", ".join(literal(row["$dtId"]) for row in rows)
    found, _ = await graph.rows(sides.graph, select("DIGITALTWINS", f"$dtId IN [{names}]"), NEXT_TO_FAIL)
    return sorted((row for row in found if row.get(RUL) is not None), key=_days)


async def _all(sides: Sides) -> tuple[list[Row], bool]:
    """Return the twins of this app's types, and whether these are all of them."""
    found: list[Row] = []
    token = ""
    for page in itertools.count():
        rows, token = await graph.rows(sides.graph, QUERY, PAGE, token)
        found += rows
        if not token:
            return found, True
        if page == MOST_TWINS // PAGE or len(found) >= MOST_TWINS:
            break
    return found, False
