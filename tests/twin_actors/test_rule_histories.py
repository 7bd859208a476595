"""Random histories of readings, silences, ticks, acknowledgements and restarts: the alerts are what the rows mean."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin_actors.kettle import ONE, TYPE, State, alerts, asked, hear, kettles, properties, reading, tick
from tests.twin_actors.rule_reference import Fact, Heard, Seen, Swept, Told, alerts_of
from tests.twin_actors.world import START, World, same
from twin_actors.documents import Collection, Document, Priority, Severity
from twin_actors.requests import Acknowledgement
from twin_actors.sinks.memory import MemoryDocuments
from twin_actors.twin import CONNECTION, Escalation, Rule, TwinType

SOON = Escalation(after_seconds=40.0, severity=Severity.WARNING, priority=Priority.HIGH)
LATER = Escalation(after_seconds=100.0, severity=Severity.CRITICAL, priority=Priority.CRITICAL)
RULES = (
    Rule(
        name="hot",
        signal="temperature",
        above=90.0,
        clears_at=80.0,
        for_seconds=20.0,
        severity=Severity.INFO,
        escalations=(SOON, LATER),
        text="Hot.",
    ),
    Rule(name="scale-missing", signal="scale", absent_for=60.0, text="No scale.", escalations=(LATER,)),
    Rule(
        name="silent",
        signal=CONNECTION,
        absent_for=120.0,
        only_while="isHot",
        severity=Severity.INFO,
        escalations=(SOON, LATER),
        escalates_until_cleared=True,
        text="Silent.",
    ),
)


def shown(state: State) -> Mapping[str, Any]:
    """What the kettle shows, and whether it is hot."""
    return {**properties(state), "isHot": state.temperature is not None and state.temperature > 50.0}


QUIET = msgspec.structs.replace(TYPE, rules=RULES, commands=(), features=None, properties=shown)
TYPES: dict[str, TwinType[Any]] = {"kettle": QUIET}


class Versions(MemoryDocuments):
    """Documents that remember how many versions of each there were."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, set[int]] = {}

    async def put(self, collection: Collection, document: Document) -> None:
        """Keep a document."""
        self.versions.setdefault(document.document_id, set()).add(document.version)
        await super().put(collection, document)


_values = st.fixed_dictionaries(
    {}, optional={"temperature": st.sampled_from([20.0, 60.0, 85.0, 95.0, 99.0]), "scale": st.just(1.0)}
)
_reading = st.tuples(st.just("reading"), st.sampled_from([0.0, 0.0, 0.0, 7.0, 150.0]), _values)
_tick = st.tuples(st.just("tick"), st.integers(1, 2))
_other = st.one_of(
    st.tuples(st.just("seen"), st.sampled_from([rule.name for rule in RULES])),
    st.tuples(st.sampled_from(["restart", "again"])),
)
_pause = st.sampled_from([1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 150.0, 310.0])
_hot = st.tuples(st.just("reading"), st.just(0.0), st.just({"temperature": 95.0}))
histories = st.lists(st.tuples(_pause, st.one_of(_reading, _hot, _tick, _tick, _other)), min_size=4, max_size=24)


def taken(world: World) -> float:
    """Return when the mailbox took the newest event, in seconds since the start."""
    return world.events(0)[-1].enqueued_time - START


async def play(history: list[tuple[float, Any]]) -> None:
    """Play a history through the runtime, and compare what apps see with what the rows mean."""
    world = kettles()
    recorded = world.documents = Versions()
    runtime = world.runtime(TYPES)
    await hear(world, runtime, reading(ONE, 0.0, temperature=20.0))
    facts: list[Fact] = [Heard(0.0, taken(world), {"temperature": 20.0})]
    now = 0.0
    for number, (pause, (what, *details)) in enumerate(history):
        now += pause
        match what:
            case "reading":
                delay, values = details
                await hear(world, runtime, reading(ONE, now - delay, **values), at=now)
                facts.append(Heard(now - delay, taken(world), values))
            case "tick":
                await hear(world, runtime, *(tick() for _ in range(details[0])), at=now)
                facts.append(Swept(taken(world)))
            case "seen":
                opened = [one for one in await alerts(world) if one.rule == details[0] and one.cleared is None]
                name = opened[0].alert_id if opened else f"{details[0]}-0"
                request = Acknowledgement(
                    operation_id=f"op-{number}", caller="ann", alert_id=name, requested=START + now
                )
                await hear(world, runtime, asked(ONE, request), at=now)
                facts.append(Seen(details[0]))
            case "restart":
                runtime = world.runtime(TYPES)
            case "again":
                await runtime.deliver(0, world.events(0))
    await hear(world, runtime)
    await compare(world, recorded, facts)
    shard = runtime.shard(0)
    assert shard is not None
    assert same(await world.restored(0), shard)


async def compare(world: World, recorded: Versions, facts: list[Fact]) -> None:
    """Hold what apps see against the reference."""
    expected = [told for rule in RULES for told in alerts_of(rule, facts)]
    seen = sorted(await alerts(world), key=lambda one: int(one.alert_id.rpartition("-")[2]))
    apps = [
        Told(
            one.rule,
            one.raised.timestamp() - START,
            one.severity,
            None if one.cleared is None else one.cleared.timestamp() - START,
            bool(one.acknowledged_by),
            one.escalations,
            len(recorded.versions[one.alert_id]),
        )
        for one in seen
    ]
    meant, found = sorted(expected, key=_plain), sorted(apps, key=_plain)
    assert [_plain(told) for told in found] == [_plain(told) for told in meant]
    # What came about in one batch may be told at once, but never twice.
    assert all(1 <= told.versions <= most.versions for told, most in zip(found, meant, strict=True))
    for rule in RULES:
        mine = [one for one in seen if one.rule == rule.name]
        assert sum(one.cleared is None for one in mine) <= 1
        assert all(one.cleared is not None for one in mine[:-1])


def _plain(told: Told) -> tuple[str, float, str, float, bool, int]:
    """Return an alert without its versions, to the millisecond."""
    cleared = -1.0 if told.cleared is None else round(told.cleared, 3)
    return told.rule, round(told.raised, 3), told.severity.value, cleared, told.is_acknowledged, told.steps


@settings(max_examples=80)
@given(histories)
def test_alerts_are_what_the_rows_mean(history: list[tuple[float, Any]]) -> None:
    """Whatever was heard when, however often the process began anew and batches came again."""
    asyncio.run(play(history))


@pytest.mark.proof
@settings(max_examples=5000)
@given(histories)
def test_alerts_are_what_the_rows_mean_at_length(history: list[tuple[float, Any]]) -> None:
    """The same, in many more histories."""
    asyncio.run(play(history))
