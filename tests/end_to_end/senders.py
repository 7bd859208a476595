"""Senders that remember what they sent, and what of it was acknowledged."""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from azure.iot.device import Message

from local_emulator.event_hubs import HubEvent
from tests.end_to_end.back_end import RATE, body_of, message_id
from tests.end_to_end.history import Sent
from tests.end_to_end.stack import PARTITIONS, PUMP, REPOSITORY, Stack


class Notes:
    """What was sent."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def begin(self, twin_id: str, lane: str) -> Sent:
        """Note a message before it is sent."""
        serial = len(self.sent)
        note = Sent(twin_id, message_id(serial), lane, serial)
        self.sent.append(note)
        return note


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
        event = HubEvent(body_of(note.serial), annotations, {"message-id": note.message_id}, {})
        await stack.event_hubs.publish("mailbox", event, partition_id=lane)
        note.is_acknowledged = True
        await asyncio.sleep(1 / RATE)


async def send_as_device(stack: Stack, notes: Notes, device_id: str, done: asyncio.Event) -> None:
    """Send with the genuine device SDK, through IoT Hub, which acknowledges what the Event Hub has taken."""
    async with stack.device(device_id) as device:
        while not done.is_set():
            note = notes.begin(device_id, "device")
            message = Message(body_of(note.serial), message_id=note.message_id)
            message.content_type, message.content_encoding = "application/json", "utf-8"
            await device.send_message(message)
            note.is_acknowledged = True
            await asyncio.sleep(1 / RATE)


async def send_as_back_end(stack: Stack, notes: Notes, twins: Sequence[str], done: asyncio.Event, seed: int) -> None:
    """Let a back end send, which speaks to Event Hubs itself, and take its notes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.end_to_end.back_end",
        stack.event_hubs.connection_string,
        str(PARTITIONS),
        str(seed),
        *twins,
        stdin=PIPE,
        stdout=PIPE,
        cwd=REPOSITORY,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reading = asyncio.create_task(_take_notes(process.stdout, notes))
    try:
        await asyncio.wait({reading, asyncio.create_task(done.wait())}, return_when=asyncio.FIRST_COMPLETED)
        process.stdin.close()
        await reading
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _take_notes(lines: asyncio.StreamReader, notes: Notes) -> None:
    async for line in lines:
        serial, *address = json.loads(line)
        if address:
            assert notes.begin(*address).serial == serial
        else:
            notes.sent[serial].is_acknowledged = True


@contextlib.asynccontextmanager
async def sending(*senders: Coroutine[Any, Any, None], done: asyncio.Event) -> AsyncIterator[None]:
    """Let senders send while the context is entered; each has finished its last message when it is left."""
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender)
        yield
        done.set()
