"""Reads a partition of an Event Hub by sequence number, through a consumer group of its own."""

import asyncio
import math
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
"""What reading one chunk may take; what has arrived by then is folded."""

SILENCE_SECONDS = 5.0
"""Events that the hub says it has arrive sooner than this, or the connection is broken."""


class EventHubGapReader:
    """A `GapReader` on an Event Hub.

    Parameters
    ----------
    make_client
        Makes a client of the gap consumer group; one is made for each call, because gaps are rare.
    """

    def __init__(self, make_client: Any) -> None:  # noqa: ANN401  a callable without parameters
        self._make_client = make_client

    async def describe(self, partition: int) -> HubState:
        """Return the state of the hub and of one partition."""
        try:
            async with self._client() as client:
                hub = await client.get_eventhub_properties()
                state = await client.get_partition_properties(str(partition))
        except (EventHubError, AzureError, OSError, TimeoutError) as error:
            raise Unavailable(f"the mailbox cannot be reached: {error}") from error
        last = -1 if state["is_empty"] and state["last_enqueued_sequence_number"] < 0 else None
        last = state["last_enqueued_sequence_number"] if last is None else last
        first = last + 1 if state["is_empty"] else state["beginning_sequence_number"]
        identity = f"{hub['eventhub_name']}@{hub['created_at'].isoformat()}"
        return HubState(identity, len(hub["partition_ids"]), first, last)

    async def read(self, partition: int, first: int, last: int) -> list[Event]:
        """Return events from `first` to `last`, at most a chunk."""
        state = await self.describe(partition)
        if state.last_sequence_number < last:
            # It was there when the trigger delivered what follows it: an old answer is no proof of a loss.
            raise Unavailable(f"partition {partition} says that it ends at {state.last_sequence_number}, before {last}")
        first = max(first, state.first_sequence_number)
        if first > last:
            return []
        last = min(last, first + CHUNK - 1)
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

        await self._receive(partition, first, on_event, done)
        if not found:
            raise Unavailable(
                f"partition {partition}: events from {first} on were not delivered in {SILENCE_SECONDS} s"
            )
        return found

    async def _receive(self, partition: int, first: int, on_event: Any, done: asyncio.Event) -> None:  # noqa: ANN401
        try:
            async with self._client() as client:
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
                # The client tries again for ever where it may not read, and says nothing.
                await asyncio.wait({receiving, finished}, timeout=READ_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                finished.cancel()
                receiving.cancel()
                await asyncio.gather(receiving, finished, return_exceptions=True)
        except (EventHubError, AzureError, OSError, TimeoutError) as error:
            raise Unavailable(f"partition {partition} of the mailbox cannot be read: {error}") from error

    def _client(self) -> EventHubConsumerClient:
        client: EventHubConsumerClient = self._make_client()
        return client

    async def close(self) -> None:
        """Let go of nothing: each call closes its client."""


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
