"""A wide twin type: a loom of six threads that remembers what its frames said, and the bodies that it sends."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tests.twin_actors.world import START, World
from twin_actors.messages import ARROW, Event, Reading
from twin_actors.runtime import Runtime
from twin_actors.shard import Shard
from twin_actors.twin import Channel, Frame, Frames, Turn, TwinType
from twin_actors.wide import Statistics

LOOM = "dtmi:test:Loom;1"
ONE = "loom-1"
THREADS = 6
BREAKS = 13.0
"""A tension at which a loom's turn raises."""


class State(msgspec.Struct, frozen=True):
    """What a loom remembers: of each row (time, late), and of the newest what the statistics said."""

    rows: tuple[tuple[float, bool], ...] = ()
    mean: float = 0.0
    usable: int = 0
    speed: float = 0.0


def receive(state: State, message: Reading | Frame) -> Turn[State]:
    """Hear a frame, or an ordinary reading."""
    if isinstance(message, Frame):
        return _weave(state, message)
    return Turn(msgspec.structs.replace(state, speed=message.values.get("speed", state.speed)))


def _weave(state: State, frame: Frame) -> Turn[State]:
    if BREAKS in frame.sent:
        raise ValueError("a thread is broken")
    rows = (*state.rows, (frame.time, frame.is_late))
    mean = float(np.nanmean(frame.statistics.mean)) if frame.statistics.number.any() else 0.0
    return Turn(msgspec.structs.replace(state, rows=rows, mean=mean, usable=int(np.isfinite(frame.values).sum())))


def properties(state: State) -> Mapping[str, float]:
    """What the graph shows."""
    return {"rows": len(state.rows), "mean": state.mean}


FRAMES = Frames(
    telemetry="tension",
    channels=tuple(Channel(f"thread-{number}", -100.0, 100.0, max_rate=10.0) for number in range(THREADS)),
    time_constant_seconds=60,
)
TYPE: TwinType[State] = TwinType(
    name="loom",
    model=LOOM,
    state=State,
    receive=receive,
    properties=properties,
    channels=(Channel("speed", 0.0, 10.0),),
    frames=FRAMES,
)
TYPES: dict[str, TwinType[Any]] = {"loom": TYPE}


def stream(columns: Mapping[str, pa.Array], parts: int = 1, **options: Any) -> bytes:
    """Return an Arrow stream of columns, in so many record batches."""
    batch = pa.record_batch(dict(columns))
    sink = pa.BufferOutputStream()
    size = max(1, -(-batch.num_rows // parts))
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for start in range(0, max(batch.num_rows, 1), size):
            writer.write_batch(batch.slice(start, size))
    return sink.getvalue().to_pybytes()


def wide(rows: npt.ArrayLike, times: Sequence[float] | None = None, dtype: Any = np.float32, **options: Any) -> bytes:
    """Return the body of a frame message."""
    values = np.asarray(rows, dtype=dtype)
    columns: dict[str, pa.Array] = {
        "values": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    }
    if times is not None:
        columns["time"] = pa.array(times, pa.float64())
    return stream(columns, **options)


def sent(body: bytes, twin_id: str = ONE, message_id: str | None = None) -> Event:
    """Return a device's message, not yet in a partition."""
    return Event(
        sequence_number=0,
        enqueued_time=0.0,
        body=body,
        device_id=twin_id,
        model=LOOM,
        content_type=ARROW,
        message_id=message_id,
    )


def tension(rows: npt.ArrayLike, at: Sequence[float], twin_id: str = ONE) -> Event:
    """Return a frame message of rows at so many seconds after the start."""
    return sent(wide(rows, [START + one for one in at]), twin_id)


async def deliver(world: World, runtime: Runtime, *events: Event) -> Shard:
    """Put events into the only partition, deliver them as one batch, and return the shard."""
    world.mailbox.time = max(world.mailbox.time, world.clock.now())
    put = world.put(0, *events)
    await runtime.deliver(0, put)
    shard = runtime.shard(0)
    assert shard is not None
    return shard


def statistics(shard: Shard, twin_id: str = ONE) -> Statistics:
    """Return what a shard holds of a loom's threads."""
    return shard.statistics[twin_id]


def state(shard: Shard, twin_id: str = ONE) -> State:
    """Return what a loom remembers."""
    return msgspec.msgpack.decode(shard.twins[twin_id].state, type=State)
