"""Senders that remember what they sent, and what of it was acknowledged."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError
from azure.iot.device import Message

from local_emulator.event_hubs import HubEvent
from tests.end_to_end.history import Sent
from tests.end_to_end.stack import PARTITIONS, PUMP, Stack
from twin_actors.messages import KIND, TWIN, Kind

READING = json.dumps({"flow": 80.0, "dischargePressure": 350.0}).encode()
GARBAGE = b"{broken"
RATE = 30
"""Messages a second of each sender; a dead letter among every twenty."""


class Notes:
    """What was sent."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def begin(self, twin_id: str, lane: str) -> Sent:
        """Note a message before it is sent."""
        serial = len(self.sent)
        note = Sent(twin_id, f"message-{serial}", lane, serial)
        self.sent.append(note)
        return note


def body_of(note: Sent) -> bytes:
    """Return what is sent: a reading, seldom no JSON."""
    return GARBAGE if note.serial % 20 == 19 else READING


async def route(stack: Stack, notes: Notes, devices: Sequence[str], done: asyncio.Event) -> None:
    """Send as IoT Hub routes, round robin over partitions: three in four do not reach their twin's home."""
    while not done.is_set():
        number = len(notes.sent)
        lane = str(number % PARTITIONS)
        note = notes.begin(devices[number // PARTITIONS % len(devices)], lane)
        annotations: dict[str, str | int | datetime] = {
            "iothub-connection-device-id": note.twin_id,
            "iothub-enqueuedtime": datetime.now(UTC),
            "dt-dataschema": PUMP,
        }
        event = HubEvent(body_of(note), annotations, {"message-id": note.message_id}, {})
        await stack.event_hubs.publish("mailbox", event, partition_id=lane)
        note.is_acknowledged = True
        await asyncio.sleep(1 / RATE)


async def send_as_device(stack: Stack, notes: Notes, device_id: str, done: asyncio.Event) -> None:
    """Send with the genuine device SDK, through IoT Hub, which acknowledges what the Event Hub has taken."""
    async with stack.device(device_id) as device:
        while not done.is_set():
            note = notes.begin(device_id, "device")
            message = Message(body_of(note), message_id=note.message_id)
            message.content_type, message.content_encoding = "application/json", "utf-8"
            await device.send_message(message)
            note.is_acknowledged = True
            await asyncio.sleep(1 / RATE)


async def send_as_back_end(
    stack: Stack, notes: Notes, twins: Sequence[str], done: asyncio.Event, seeded: random.Random
) -> None:
    """Send with the Event Hubs SDK; what is not acknowledged is sent again under its id, or left at that."""
    again: list[Sent] = []
    while again or not done.is_set():
        client = EventHubProducerClient.from_connection_string(
            stack.event_hubs.connection_string, eventhub_name="mailbox", retry_total=0
        )
        with contextlib.suppress(EventHubError):
            async with client:
                while again or not done.is_set():
                    note = again.pop() if again else _next(notes, twins)
                    again += [note] if seeded.random() < 0.5 else []
                    event = EventData(body_of(note))
                    event.message_id = note.message_id
                    event.properties = {KIND: Kind.TELEMETRY.value, TWIN: note.twin_id}
                    await client.send_event(event, partition_id=note.lane)
                    note.is_acknowledged = True
                    again.clear()
                    await asyncio.sleep(1 / RATE)


def _next(notes: Notes, twins: Sequence[str]) -> Sent:
    number = len(notes.sent)
    return notes.begin(twins[number // PARTITIONS % len(twins)], str(number % PARTITIONS))


@contextlib.asynccontextmanager
async def sending(*senders: Coroutine[Any, Any, None], done: asyncio.Event) -> AsyncIterator[None]:
    """Let senders send while the context is entered; each has finished its last message when it is left."""
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender)
        yield
        done.set()
