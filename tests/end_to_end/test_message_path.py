"""From device to graph, through the official SDKs, with everything real in between."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

from tests.end_to_end.stack import PUMP, Stack, Ticker, eventually, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = {"flow": 80.0, "dischargePressure": 350.0, "speed": 1450.0, "suctionPressure": 101.0, "power": 15.0}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """All services."""
    async with running(tmp_path_factory.mktemp("path")) as services:
        yield services


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def ticker(stack: Stack) -> AsyncIterator[Ticker]:
    """One host of the function app."""
    async with stack.host("host", expiry=4.0) as host:
        yield Ticker(host)


async def send(device: IoTHubDeviceClient, body: object, message_id: str | None = None) -> None:
    """Send a message; a body that is no text goes as JSON, NaN and all."""
    message = Message(body if isinstance(body, str) else json.dumps(body), message_id=message_id or uuid.uuid4().hex)
    message.content_type, message.content_encoding = "application/json", "utf-8"
    await device.send_message(message)


async def shown(stack: Stack, twin_id: str, readings: int) -> dict:
    """Wait until the graph shows that a twin has folded so many readings."""
    async with stack.graph() as graph:

        async def look() -> dict | None:
            found = [
                twin async for twin in graph.query_twins(f"SELECT * FROM DIGITALTWINS T WHERE T.$dtId = '{twin_id}'")
            ]
            return found[0] if found and found[0].get("readingCount") == readings else None

        return await eventually(look, 40)


async def test_telemetry_becomes_a_property(stack: Stack) -> None:
    """A device announces its model, sends, and its twin is in the graph with values and their time."""
    moment = datetime.now(UTC).replace(microsecond=0)
    async with stack.device("pump-new") as device:
        await send(device, {**GOOD, "flow": 81.5, "time": moment.isoformat()})
        twin = await shown(stack, "pump-new", 1)
    assert twin["$metadata"]["$model"] == PUMP
    assert twin["lastFlow"] == 81.5
    assert twin["connection"] == "online"
    assert twin["quality"] == "good"
    assert datetime.fromisoformat(twin["lastReadingTime"]) == moment
    assert datetime.fromisoformat(twin["$metadata"]["lastFlow"]["sourceTime"]) == moment


async def test_a_resent_message_counts_once(stack: Stack, ticker: Ticker) -> None:
    """A device that sends a message again under its id has sent it once."""
    async with stack.device("pump-twice") as device:
        await send(device, GOOD, "the-same")
        await send(device, GOOD, "the-same")
        await send(device, GOOD, "another")
        await shown(stack, "pump-twice", 2)
    shards = await stack.settled(ticker=ticker)
    twin = next(shard.twins["pump-twice"] for shard in shards if "pump-twice" in shard.twins)
    assert (twin.reading_count, twin.resent_count) == (2, 1)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("type", {"speed": "fast"}),
        ("unknown", {"colour": 3.0}),
        ("nan", {"speed": float("nan")}),
        ("infinite", {"speed": float("inf")}),
        ("range", {"speed": 99_999.0}),
        ("future", {"time": "2099-01-01T00:00:00Z"}),
        ("past", {"time": "1999-01-01T00:00:00Z"}),
    ],
)
async def test_a_bad_channel_is_flagged_and_the_others_count(stack: Stack, name: str, fault: dict) -> None:
    """What is wrong with one channel lowers the quality; the reading counts, and time goes on."""
    async with stack.device(f"pump-bad-{name}") as device:
        await send(device, {**GOOD, **fault, "flow": 77.0})
        twin = await shown(stack, f"pump-bad-{name}", 1)
    assert twin["quality"] == "suspect"
    assert twin["lastFlow"] == 77.0
    assert abs(datetime.fromisoformat(twin["lastReadingTime"]).timestamp() - datetime.now(UTC).timestamp()) < 300


async def test_what_cannot_be_folded_is_kept_with_its_reason(stack: Stack) -> None:
    """Straight to the hub: no JSON, too large, no such twin, forged; each is listed, shown and replayed."""
    producer = EventHubProducerClient.from_connection_string(
        stack.event_hubs.connection_string, eventhub_name="mailbox"
    )
    telemetry = {"twinfold-kind": "telemetry", "twinfold-twin": "pump-later"}
    sent = {
        "not_json": (b"{broken", telemetry),
        "too_large": (b'{"flow": 1.0, "padding": "' + b"x" * 300_000 + b'"}', telemetry),
        "no_such_twin": (json.dumps(GOOD).encode(), telemetry),
        "forged_device": (json.dumps(GOOD).encode(), {**telemetry, "iothub-connection-device-id": "pump-later"}),
    }
    async with producer:
        for body, properties in sent.values():
            event = EventData(body)
            event.properties = dict(properties)
            await producer.send_event(event, partition_key="pump-later")
    async with stack.device("pump-beside") as device:
        await send(device, GOOD)
        await shown(stack, "pump-beside", 1)

    async def listed() -> dict[str, dict] | None:
        rows = json.loads(await stack.operate("dead-letter", "list", "-o", "json"))
        letters = {row["reason"]: row for row in rows}
        return letters if set(sent) <= set(letters) else None

    letters = await eventually(listed, 40)
    assert letters["too_large"]["bytes"] > 300_000
    lost_twin = letters["no_such_twin"]["id"]
    row = json.loads(await stack.operate("dead-letter", "show", lost_twin, "-o", "json"))
    assert json.loads(row["body"]) == GOOD
    assert "pump-later" in row["detail"]

    async with stack.graph() as graph:  # now the twin exists
        await graph.upsert_digital_twin("pump-later", {"$metadata": {"$model": PUMP}})
    await stack.operate("dead-letter", "replay", lost_twin)
    await shown(stack, "pump-later", 1)
    await stack.operate("dead-letter", "replay", letters["not_json"]["id"])  # is as broken as it was

    async def replayed() -> bool:
        rows = json.loads(await stack.operate("dead-letter", "list", "-o", "json"))
        ids = {row["id"] for row in rows}
        return lost_twin not in ids and letters["not_json"]["id"] not in ids

    await eventually(replayed, 40)
    after = json.loads(await stack.operate("dead-letter", "list", "-o", "json"))
    assert sum(row["reason"] == "not_json" for row in after) == 1


async def test_a_second_host_joins(stack: Stack, ticker: Ticker) -> None:
    """Partitions move to a second host while messages go on, and none is lost or counted twice."""
    async with stack.device("pump-moves") as device:
        for _ in range(20):
            await send(device, GOOD)
        before = [shard.epoch for shard in await stack.shards()]
        async with stack.host("second", expiry=4.0):

            async def moved() -> bool:
                await send(device, GOOD)
                nonlocal count
                count += 1
                epochs = [shard.epoch for shard in await stack.shards()]
                return sum(late > early for late, early in zip(epochs, before, strict=True)) >= 1

            count = 20
            await eventually(moved, 40)
            for _ in range(20):
                await send(device, GOOD)
            await shown(stack, "pump-moves", count + 20)
    await stack.settled(ticker=ticker)
