"""Reads a partition of an Event Hub by sequence number, through a consumer group of its own."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.amqp import AmqpMessageBodyType
from azure.eventhub.exceptions import EventHubError

from twin_actors.errors import Unavailable
from twin_actors.gaps import HubState
from twin_actors.messages import Event, parse_time

CHUNK = 500
"""Events read before they are folded and committed."""

READ_SECONDS = 30.0

SILENCE_SECONDS = 5.0
"""Events that the hub says it has arrive sooner than this, or the connection is broken."""


class EventHubGapReader:
    """A `GapReader` on an Event Hub.

    Parameters
    ----------
    make_client
        Makes a client of the gap consumer group; one is made for each call, because gaps are rare.
    read_seconds
        What reading one chunk may take; what has arrived by then is folded.
    """

    def __init__(
        self,
        make_client: Any,  # noqa: ANN401  a callable without parameters
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._make_client = make_client
        self._read_seconds = read_seconds

    async def describe(self, partition: int) -> HubState:
        """Return the state of the hub and of one partition."""
        async with self._connected() as client:
            # Each question opens a connection of its own, and takes the SDK half a second.
            hub, ends = await asyncio.gather(
                client.get_eventhub_properties(), client.get_partition_properties(str(partition))
            )
        first, last = _ends(ends)
        identity = f"{hub['eventhub_name']}@{hub['created_at'].isoformat()}"
        return HubState(identity, len(hub["partition_ids"]), first, last)

    async def read(self, partition: int, first: int, last: int) -> list[Event]:
        """Return events from `first` to `last`, at most a chunk."""
        async with self._connected() as client:
            oldest, newest = _ends(await client.get_partition_properties(str(partition)))
            if newest < last:
                # It was there when the trigger delivered what follows it: an old answer is no proof of a loss.
                raise Unavailable(f"partition {partition} says that it ends at {newest}, before {last}")
            first = max(first, oldest)
            if first > last:
                return []
            found = await self._receive(client, partition, first, min(last, first + CHUNK - 1))
        if not found:
            raise Unavailable(
                f"partition {partition}: events from {first} on were not delivered in {SILENCE_SECONDS} s"
            )
        return found

    async def _receive(self, client: EventHubConsumerClient, partition: int, first: int, last: int) -> list[Event]:
        found: list[Event] = []
        done = asyncio.Event()

        async def on_event(_context: object, event: EventData | None) -> None:
            if event is None:
                done.set()
            elif not done.is_set() and event.sequence_number is not None:
                if event.sequence_number <= last:
                    found.append(to_event(event))
                if event.sequence_number >= last:
                    done.set()

        receiving = asyncio.ensure_future(
            client.receive(
                on_event,
                partition_id=str(partition),
                starting_position=first,
                starting_position_inclusive=True,
                max_wait_time=SILENCE_SECONDS,
            )
        )
        finished = asyncio.ensure_future(done.wait())
        try:
            # The client tries again for ever where it may not read, and says nothing.
            await asyncio.wait({receiving, finished}, timeout=self._read_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            finished.cancel()
            receiving.cancel()
            await asyncio.gather(receiving, finished, return_exceptions=True)
        return found

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[EventHubConsumerClient]:
        try:
            async with self._client() as client:
                yield client
        except (EventHubError, AzureError, OSError, TimeoutError) as error:
            raise Unavailable(f"the mailbox cannot be read: {error}") from error

    def _client(self) -> EventHubConsumerClient:
        client: EventHubConsumerClient = self._make_client()
        return client

    async def close(self) -> None:
        """Let go of nothing: each call closes its client."""


def _ends(state: Mapping[str, Any]) -> tuple[int, int]:
    """Return the sequence numbers of the oldest and the newest event of a partition."""
    newest: int = state["last_enqueued_sequence_number"]
    return (newest + 1 if state["is_empty"] else state["beginning_sequence_number"]), newest


def to_event(data: EventData) -> Event:
    """Return what the SDK received in the runtime's own terms."""
    system = {_text(name): value for name, value in (data.system_properties or {}).items()}
    properties = {_text(name): _text(value) for name, value in (data.properties or {}).items()}
    assert data.sequence_number is not None
    assert data.enqueued_time is not None
    return Event(
        sequence_number=data.sequence_number,
        enqueued_time=data.enqueued_time.timestamp(),
        body=_bytes(data),
        device_id=_optional(system.get("iothub-connection-device-id")),
        model=_optional(system.get("dt-dataschema")),
        received_time=_seconds(system.get("iothub-enqueuedtime")),
        created_time=_seconds(system.get("iothub-creation-time-utc")),
        message_id=_optional(system.get("message-id")),
        content_type=_optional(system.get("content-type")),
        properties=properties,
    )


def _bytes(data: EventData) -> bytes:
    """Return the body; an AMQP value or sequence, which no device sends, is no body that can be folded."""
    if data.body_type is not AmqpMessageBodyType.DATA:
        return b""
    return b"".join(data.body)  # type: ignore[arg-type]  # parts of bytes, as the type says


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _optional(value: object) -> str | None:
    return None if value is None else _text(value)


def _seconds(value: object) -> float | None:
    """Return a time as the SDK gives it (milliseconds, text or a date) in seconds since 1970."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, int | float):
        return value / 1000
    seconds = math.nan if value is None else parse_time(_text(value))
    return None if math.isnan(seconds) else seconds
