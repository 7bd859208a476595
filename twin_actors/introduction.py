"""Who is this? A twin heard of for the first time was announced by its device, or stands in the graph."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from twin_actors.clock import Clock
from twin_actors.commit import Twin
from twin_actors.errors import Rejected, Unavailable
from twin_actors.fold import Newcomers
from twin_actors.shard import Shard
from twin_actors.sinks import Absent, Graph, GraphTwin, Refused, Throttled
from twin_actors.telling import Addressed
from twin_actors.turn import new_twin
from twin_actors.twin import TwinType

READS_AT_ONCE = 16
"""A fleet that starts must not use up what the graph takes."""

PATIENCE_SECONDS = 5.0
"""How long one delivery waits for a graph that asks for patience or does not answer."""

FIRST_PAUSE_SECONDS = 0.25

GRAPH_UNAVAILABLE = "graph_unavailable"
"""Why a message for an unknown twin is a dead letter until the graph answers."""


async def introduce(
    strangers: Mapping[str, Sequence[Addressed]],
    graph: Graph,
    clock: Clock,
    types: Mapping[str, TwinType[Any]],
    shard: Shard,
    deadline: float,
) -> Newcomers:
    """Find out who the unknown twins of a batch are.

    Parameters
    ----------
    strangers
        Twin id → its messages, what apps ask of it and other twins tell it.
    graph, clock
    types
        Name → twin type.
    shard
        Of a twin that it has just deleted the graph is not asked: who is there still is leaving.
    deadline
        Until when a graph that does not answer is waited for.
    """
    by_model = {twin_type.model: twin_type for twin_type in types.values()}
    limit = asyncio.Semaphore(READS_AT_ONCE)

    async def one(twin_id: str, envelopes: Sequence[Addressed]) -> Twin | Rejected:
        announced = next((envelope.event.model for envelope in envelopes if envelope.event.model), None)
        async with limit:
            try:
                patient_until = 0.0 if announced in by_model else deadline
                shown = None if twin_id in shard.leaving else await _read(twin_id, graph, clock, patient_until)
            except Refused as error:
                return Rejected("graph_refuses", f"the graph has no twin {twin_id}: {error}")
            except Unavailable as error:
                if announced in by_model:
                    # What the graph says of it is asked when it is to be shown there.
                    twin = new_twin(twin_id, by_model[announced], shard.floor, is_announced=True)
                    return msgspec.structs.replace(twin, is_unmet=True)
                return Rejected(
                    GRAPH_UNAVAILABLE,
                    f"whether there is a twin {twin_id} could not be found out ({error}); "
                    "a message is replayed once it can, a request is to be made anew",
                )
        return _newcomer(twin_id, announced, shown, by_model, shard.floor)

    found = await asyncio.gather(*(one(twin_id, envelopes) for twin_id, envelopes in strangers.items()))
    return dict(zip(strangers, found, strict=True))


async def _read(twin_id: str, graph: Graph, clock: Clock, deadline: float) -> GraphTwin | None:
    """Read a twin, with patience while there is time; None where there is no such twin.

    Raises
    ------
    Refused, Unavailable
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await graph.read(twin_id)
        except Absent:
            return None
        except Unavailable as error:
            wait = error.retry_after_seconds if isinstance(error, Throttled) else pause
            if clock.elapsed() + wait > deadline:
                raise
            await clock.sleep(wait)
            pause *= 2


def _newcomer(
    twin_id: str,
    announced: str | None,
    shown: GraphTwin | None,
    by_model: Mapping[str, TwinType[Any]],
    floor: int,
) -> Twin | Rejected:
    if shown is None and announced is None:
        return Rejected("no_such_twin", f"no twin {twin_id} exists; create it, or let its device announce its model")
    if shown is not None and announced not in {None, shown.model}:
        return Rejected(
            "model_mismatch", f"the device announces {announced}, but twin {twin_id} has model {shown.model}"
        )
    model = announced if shown is None else shown.model
    twin_type = by_model.get(model or "")
    if twin_type is None:
        return Rejected("unknown_model", f"no twin type has model {model}; add a folder in twin_actors/types")
    state_version = floor if shown is None else max(shown.state_version, floor)
    return new_twin(twin_id, twin_type, state_version, is_announced=announced is not None)
