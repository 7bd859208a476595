"""A wind turbine's frames of 15,000 signals, from the device's SDK to the graph."""

import io
import time
import uuid
from collections.abc import AsyncIterator

import numpy as np
import pyarrow as pa
import pytest
import pytest_asyncio
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

from tests.end_to_end.stack import PARTITIONS, Stack, eventually, running
from twin_actors.commit import Commit, decode
from twin_actors.messages import ARROW

pytestmark = pytest.mark.asyncio(loop_scope="module")

TURBINE = "dtmi:twinfold:WindTurbine;1"
SIGNALS = 15_000
FRAMES = 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """All services with one host of the function app."""
    async with running(tmp_path_factory.mktemp("wide")) as services, services.host("host"):
        yield services


def body_of(values: np.ndarray, moment: float) -> bytes:
    """One row as an Arrow stream."""
    columns = {
        "time": pa.array([moment]),
        "values": pa.FixedSizeListArray.from_arrays(pa.array(values), SIGNALS),
    }
    batch = pa.record_batch(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


async def send(device: IoTHubDeviceClient, body: bytes) -> None:
    """Send a message of bytes, with its content type."""
    message = Message(body, message_id=uuid.uuid4().hex)
    message.content_type = ARROW
    await device.send_message(message)


async def shown(stack: Stack, readings: int) -> dict:
    """Wait until the graph shows that the turbine has folded so many frames."""
    async with stack.graph() as graph:

        async def look() -> dict | None:
            query = "SELECT * FROM DIGITALTWINS T WHERE T.$dtId = 'turbine-1'"
            found = [twin async for twin in graph.query_twins(query)]
            return found[0] if found and found[0].get("readingCount") == readings else None

        return await eventually(look, 60)


async def test_frames_reach_state_graph_and_journal(stack: Stack) -> None:
    """The graph shows what the frames said; the journal has their bytes and little more; a restore has the rest."""
    rows = np.random.default_rng(5).normal(size=(FRAMES, SIGNALS)).astype(np.float32) + 20.0
    rows[-1, :30] = np.nan
    start = time.time() - FRAMES
    bodies = [body_of(row, start + second) for second, row in enumerate(rows)]
    async with stack.device("turbine-1", model=TURBINE) as device:
        for body in bodies[:-1]:
            await send(device, body)
        await shown(stack, FRAMES - 1)
        await send(device, bodies[-1])
        twin = await shown(stack, FRAMES)
    assert twin["badShare"] == pytest.approx(30 / SIGNALS)
    assert twin["quality"] == "suspect"
    assert twin["statisticsEpoch"] == 1

    shards = await stack.settled()
    shard = next(shard for shard in shards if "turbine-1" in shard.twins)
    found = shard.statistics["turbine-1"].columns()
    assert found.number.tolist() == [FRAMES - 1.0] * 30 + [float(FRAMES)] * (SIGNALS - 30)
    # Sums of numbers of size 20 in double precision.
    assert found.mean == pytest.approx(np.nanmean(rows.astype(np.float64), axis=0), rel=1e-13)
    assert found.last[30:].tolist() == rows[-1, 30:].tolist()

    kept: list[bytes] = []
    async with stack.journal() as journal:
        for partition in range(PARTITIONS):
            for path in await journal.names(f"segments/{partition}/"):
                data = await journal.read_segment(path, 0)
                assert data is not None
                before = 0
                for record, end, _ in decode(data, 0, path):
                    if isinstance(record, Commit) and record.accepted.frames:
                        sent = sum(map(len, record.accepted.bodies))
                        assert end - before < sent + 2_000 + 4_000 * len(record.accepted.frames)
                        kept += record.accepted.bodies
                    before = end
    assert kept == bodies
