"""Both graphs keep the contract; the one on Azure Digital Twins tells its errors apart."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.digitaltwins.core.aio import DigitalTwinsClient

from local_emulator.digital_twins import DigitalTwins, Fault
from tests.end_to_end.tokens import TestCredential
from tests.twin_actors.sink_contract import PROMISES, Promise
from tests.twin_actors.world import PROBE, START
from twin_actors.errors import Unanswered, Unavailable
from twin_actors.sinks import Absent, GraphTwin, Refused, Stale, Throttled
from twin_actors.sinks.digital_twins import DigitalTwinsGraph
from twin_actors.sinks.memory import MemoryGraph

MODEL = {
    "@context": "dtmi:dtdl:context;3",
    "@id": PROBE,
    "@type": "Interface",
    "contents": [
        {"@type": "Property", "name": name, "schema": schema}
        for name, schema in (
            ("heard", "long"),
            ("doubled", "double"),
            ("connection", "string"),
            ("stateVersion", "long"),
            ("is_on", "boolean"),
        )
    ],
}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[DigitalTwins]:
    """Azure Digital Twins on loopback."""
    async with DigitalTwins(tmp_path, https_port=None) as running:
        yield running


@pytest.fixture
async def graph(service: DigitalTwins) -> AsyncIterator[DigitalTwinsGraph]:
    """The graph through the genuine client, with the probe's model."""
    client = DigitalTwinsClient(
        service.url, TestCredential(), authentication_policy=SansIOHTTPPolicy(), retry_total=0, read_timeout=1
    )
    await client.create_models([MODEL])
    graph = DigitalTwinsGraph(client)
    yield graph
    await graph.close()


each_promise = pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)


@each_promise
async def test_memory(promise: Promise) -> None:
    """The graph in memory."""
    await promise(MemoryGraph())


@each_promise
async def test_digital_twins(promise: Promise, graph: DigitalTwinsGraph) -> None:
    """The graph on Azure Digital Twins."""
    await promise(graph)


async def test_a_twin_is_removed_with_its_relationships(service: DigitalTwins, graph: DigitalTwinsGraph) -> None:
    """Those that begin at it and those that end there; its neighbours stay."""
    line = {
        "@context": "dtmi:dtdl:context;3",
        "@id": "dtmi:test:Line;1",
        "@type": "Interface",
        "contents": [{"@type": "Relationship", "name": "has"}],
    }
    client = DigitalTwinsClient(
        service.url, TestCredential(), authentication_policy=SansIOHTTPPolicy(), retry_total=0, read_timeout=1
    )
    async with client:
        await client.create_models([line])
        for name in ("one", "two", "three"):
            await graph.create(name, "dtmi:test:Line;1", {})
        for source, target in (("one", "two"), ("two", "three"), ("three", "two")):
            relationship = {"$relationshipName": "has", "$targetId": target}
            await client.upsert_relationship(source, f"{source}-{target}", relationship)
        await graph.remove("two", 0)
        with pytest.raises(Absent):
            await graph.read("two")
        assert [one async for one in client.list_relationships("one")] == []
        assert (await graph.read("three")).model == "dtmi:test:Line;1"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind="status", status=500), Unanswered),
        (Fault(kind="status", status=503), Unanswered),
        (Fault(kind="status", status=429, retry_after=3), Throttled),
        (Fault(kind="status", status=412), Stale),
        (Fault(kind="status", status=404), Absent),
        (Fault(kind="status", status=400), Refused),
        (Fault(kind="status", status=403), Unavailable),
        (Fault(kind="status", status=401), Unavailable),
        (Fault(kind="drop"), Unanswered),
        (Fault(kind="drop-answer"), Unanswered),
        (Fault(kind="delay", delay_seconds=3), Unanswered),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else value.__name__,
)
async def test_errors_of_a_patch(
    service: DigitalTwins, graph: DigitalTwinsGraph, fault: Fault, error: type[Exception]
) -> None:
    """Each means another thing to do."""
    etag = await graph.create("probe-1", PROBE, {"heard": 1})
    service.faults.add(fault)
    with pytest.raises(error) as raised:
        await graph.patch("probe-1", {"heard": 2}, START, etag)
    if isinstance(raised.value, Throttled):
        assert raised.value.retry_after_seconds == 3
    is_done = (await graph.read("probe-1")).properties["heard"] == 2
    assert is_done == (fault.kind == "drop-answer") or fault.kind == "delay"


async def test_what_the_model_does_not_have_is_refused(graph: DigitalTwinsGraph) -> None:
    """Now and later: a property of another type, an unknown one, an unknown model."""
    etag = await graph.create("probe-1", PROBE, {})
    for changes in ({"heard": "text"}, {"unheard_of": 1}):
        with pytest.raises(Refused):
            await graph.patch("probe-1", changes, START, etag)
    with pytest.raises(Refused):
        await graph.create("probe-2", "dtmi:test:Nothing;1", {})


async def test_the_source_time_is_the_readings(service: DigitalTwins, graph: DigitalTwinsGraph) -> None:
    """Of each property that changed."""
    etag = await graph.create("probe-1", PROBE, {"heard": 1, "doubled": 2.0})
    await graph.patch("probe-1", {"heard": 2}, START + 0.25, etag)
    twin = await graph._client.get_digital_twin("probe-1")
    assert twin["$metadata"]["heard"]["sourceTime"].startswith("2023-11-14T22:13:20.25")
    assert "sourceTime" not in twin["$metadata"]["doubled"]
    assert service.url


async def test_nothing_there_is_unanswered() -> None:
    """What became of a request is known from an answer only."""
    graph = DigitalTwinsGraph(
        DigitalTwinsClient(
            "http://127.0.0.1:1", TestCredential(), authentication_policy=SansIOHTTPPolicy(), retry_total=0
        )
    )
    with pytest.raises(Unanswered):
        await graph.read("probe-1")
    await graph.close()


@pytest.mark.parametrize(("said", "shown"), [(7, 7), (7.0, 7), (1e300, -1), (float("nan"), -1), (-9, -1), ("7", -1)])
def test_a_version_that_no_twin_reaches_was_never_shown(said: float | str, shown: int) -> None:
    """Whoever wrote it into the graph: a twin that is met goes on above what the graph shows."""
    assert GraphTwin(model="", properties={"stateVersion": said}, etag="").state_version == shown
