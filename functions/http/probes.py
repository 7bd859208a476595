"""Whether the app lives, and whether what it stands on answers."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter

from functions.http import graph
from functions.http.dependencies import UsesSides
from functions.http.description import responses
from functions.http.problems import Problem
from functions.http.sides import Sides
from functions.http.views import ProbeView
from twin_actors.documents import Collection
from twin_actors.errors import TwinfoldError
from twin_actors.journals import read_partition_count
from twin_actors.registry import COMMON_MODEL

router = APIRouter(tags=["probes"])

ANSWER_SECONDS = 3.0


@router.get("/live", operation_id="isLive", responses=responses())
async def live() -> ProbeView:
    """Say that the process answers."""
    return ProbeView(status="live")


@router.get("/ready", operation_id="isReady", responses=responses(503))
async def ready(sides: UsesSides) -> ProbeView:
    """Ask every service behind this one."""
    asked = {
        "graph": _graph(sides),
        "documents": sides.documents.get(Collection.OPERATIONS, "ready", "ready"),
        "journal": read_partition_count(sides.journal),
        "mailbox": sides.reader.describe(0),
    }
    answers = await asyncio.gather(*(_fault(what) for what in asked.values()))
    faults = [(name, fault) for name, fault in zip(asked, answers, strict=True) if fault]
    if faults:
        detail = "; ".join(f"{name}: {fault}" for name, fault in faults)
        raise Problem(503, "not-ready", "Not ready", detail, faults=faults, headers={"Retry-After": "5"})
    return ProbeView(status="ready")


async def _graph(sides: Sides) -> None:
    if not await graph.has_model(sides.graph, COMMON_MODEL):
        raise TwinfoldError("the models are not published: python -m twin_actors model publish")


async def _fault(answer: Awaitable[object]) -> str:
    """Return why a service does not answer; empty where it does."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await answer
    except TimeoutError:
        return f"no answer within {ANSWER_SECONDS:g} s"
    except TwinfoldError as error:
        return str(error)
    return ""
